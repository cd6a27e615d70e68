"""From a table's or figure's job to the call of its function."""

from __future__ import annotations

import inspect
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from harness.analysis import published
from harness.analysis.pairing import FrameError, examples
from harness.base.errors import SpecError, prefix
from harness.base.import_strings import resolve
from harness.base.signatures import check_call, signature_of
from harness.experiment.jobs import TableJob
from harness.report.rehearsal import marked
from harness.results import component_versions, frames

#: A parameter of this name gets the files themselves.
FILES = "files"
_Made = TypeVar("_Made")


def call(job: TableJob) -> Any:
    """What the job's target makes of the frames that it names as parameters.

    A table's notes say so where its frames were made by different versions of packages.

    A parameter ``files`` gets the names of all files of the job instead of their rows. Paths of
    images are joined with their frame's folder, so that they lead to the files.

    Raises:
        SpecError: the target is unknown, does not take one of the declared arguments, or needs
            a kind of frame that the job does not list; or frames mix versions of a component.
        FileNotFoundError, ValueError: a frame is missing or broken (:func:`frames.read`), or
            what the target itself says about the frames, with the files that it is about.
    """
    needed = check_ahead(job)
    function = resolve(job.table.target)
    component_versions.check(path for kind in needed for path in job.inputs[kind])
    given: dict[str, Any] = {
        kind: frames.read_images(job.inputs[kind])
        if kind == frames.IMAGES.kind
        else frames.read_all(job.inputs[kind], kind)
        for kind in needed
    }
    if FILES in inspect.signature(function).parameters:
        given[FILES] = job.reads
    try:
        with published.hidden() if job.rehearsal else nullcontext():
            made = function(**given, **job.table.arguments)
    except FrameError as error:
        # The fault is about the files whose folders and names it speaks of most.
        words = set(re.findall(r"\w+", str(error)))
        files = [file for kind in needed for file in job.inputs[kind]]
        hits = [len(words & set(Path(file).with_suffix("").parts)) for file in files]
        about = [file for file, n in zip(files, hits, strict=True) if n == max(hits)]
        raise FrameError(f"{error}\n- see {examples(about)}") from error
    if isinstance(made, pd.DataFrame):
        read = {path: frames.read_provenance(path) for kind in needed for path in job.inputs[kind]}
        said = filter(None, [component_versions.mixed(read)])
        made.attrs["notes"] = [*made.attrs.get("notes", ()), *said]
    return marked(made) if job.rehearsal else made


def check_ahead(job: TableJob) -> list[str]:
    """Check a job before its frames exist; returns the kinds of frames that its function takes.

    Raises:
        SpecError: as :func:`call`, but for what is in the frames, or a needed argument is missing.
    """
    signature_of(job.table.target, job.table.file)
    parameters = inspect.signature(resolve(job.table.target)).parameters
    for kind in job.inputs:
        frames.schema_of(kind)
    kinds = [kind for kind in frames.SCHEMAS if kind in parameters]
    needed = [kind for kind in kinds if job.inputs.get(kind)]
    optional = [kind for kind in kinds if parameters[kind].default is not inspect.Parameter.empty]
    required = [kind for kind in kinds if kind not in needed and kind not in optional]
    if required:
        given = ", ".join(kind for kind in job.inputs if job.inputs[kind]) or "nothing"
        raise SpecError(
            f"{prefix(job.table.file)}{job.table.name!r} is made of {', '.join(kinds)}; "
            f"no files with {', '.join(required)} are given, but {given}"
        )
    what, filled = f"argument of {job.table.target}", {*needed, FILES}
    check_call(job.table.target, job.table.arguments, file=job.table.file, what=what, filled=filled)
    return needed


def make(job: TableJob, kind: type[_Made]) -> _Made:
    """As :func:`call`, and FrameError where the target gives something else than a ``kind``."""
    made = call(job)
    if not isinstance(made, kind):
        given = type(made).__name__
        raise FrameError(f"{job.table.target} returned {given}, not a {kind.__name__}")
    return made
