"""The job of a verb, from the command line or from a file.

On the command line a user says what shall run. A file may come from somebody else: it names only
code that the component files and configs of this checkout name, and places below this folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError, unknown
from harness.base.own_code import shipped
from harness.experiment import jobs
from harness.experiment.component_files import KINDS, declared
from hypernoise.text_files import read_text

_TARGET = re.compile(r"[\w.]+:[^\W\d]\w*")


def job_of(verb: str, given: str, workflows: Path = Path("workflows")) -> Any:
    """The job that a JSON object says, or the file of a path.

    Args:
        workflows: the folder of the component files and configs, for a job of a file.

    Raises:
        SpecError: the JSON is no job of the verb; or a file names code that nothing in
            ``workflows`` names, or a place that is not below the working directory.
        FileNotFoundError: it is no JSON object and no file either, or there is no ``workflows``.
    """
    if given.lstrip().startswith("{"):
        return jobs.load_job(verb, given)
    if not Path(given).is_file():
        raise FileNotFoundError(f"job file {given} is missing")
    job = jobs.load_job(verb, read_text(given))
    fields = asdict(job)
    for place in _texts([fields[name] for name in jobs.place_names() & fields.keys()]):
        if os.path.isabs(place) or os.path.normpath(place).startswith(".."):
            raise SpecError(f"{given} names {place!r}, which is outside of this folder")
    workflows = shipped(workflows)
    registry = declared(workflows)
    components = [spec for kind in KINDS for spec in getattr(registry, kind).values()]
    named = {text for spec in components for text in _texts(asdict(spec))}
    for config in workflows.rglob("*.yaml"):
        named.update(_TARGET.findall(read_text(config)))
    for target in filter(_TARGET.fullmatch, _texts(fields)):
        if target not in named:
            fault = unknown(
                f"target of {workflows}", target, filter(_TARGET.fullmatch, named), given
            )
            raise SpecError(
                f"{fault}. A job that you trust can be given as JSON on the command line"
            )
    return job


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, as far down as it goes; keys count."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
