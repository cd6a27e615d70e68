"""``python -m harness verify RESULTS``: does every number follow from the rows it claims?

Tables are recomputed from the frames that their provenance names, and every format is compared
cell by cell; the rows next to them are compared with the frames. Figures are redrawn, and their PNG
is compared (:mod:`harness.report.figure_diff`). Frames, tables, figures, matched networks and the
gallery are checked against the hashes of what they were made from, and image frames against their
files. What cannot be traced is named: file, row, column.

A results folder chooses neither what code runs nor which files are read: a table's function is the
one that is declared under the table's name here, and paths stay inside the folder.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.pairing import examples
from harness.base.errors import SpecError
from harness.base.safe_paths import below
from harness.experiment.component_files import declared
from harness.experiment.components import Registry
from harness.experiment.jobs import TableJob
from harness.experiment.validation import from_json
from harness.report import figure_diff, formats, table_diff, table_rows
from harness.report.frame_inputs import make
from harness.results import component_versions, frames, provenance
from harness.results.results_folder import REQUIRED, Made, Survey, survey

#: Lines per file, after which differing cells are only counted.
MOST_CELLS = 20
_PLURALS = {"table": "tables", "figure": "figures", "gallery": "galleries", "match": "matches"}
_SORTS = (*_PLURALS.values(), "frames")


class Finding(NamedTuple):
    """Something that is not as it claims to be, or cannot be known."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {' '.join(self.what.split())}"


def run(results: str, components: Path) -> int:
    """Print a line per finding, notes and a summary.

    Args:
        results: the results folder.
        components: the folder where tables and figures are declared.

    Returns:
        The exit code: 0 if every number can be traced, else 1.

    Raises:
        FileNotFoundError: there is no such folder, or nothing in it.
    """
    found = survey(results)
    findings = verify(found, declared(components))
    for line in [*findings, *(f"note: {note}" for note in notes(found))]:
        print(line)
    kinds = Counter(_PLURALS.get(made.kind.split(" ")[0], "frames") for made in found.made)
    counted = ", ".join(f"{kinds[sort]} {sort}" for sort in _SORTS)
    verdict = f"{len(findings)} findings" if findings else "every number can be traced"
    print(f"{counted}: {verdict}")
    return int(bool(findings))


def verify(found: Survey, registry: Registry) -> list[Finding]:
    """Everything about a results folder that does not hold.

    Args:
        found: the folder (:func:`harness.results.results_folder.survey`).
        registry: the declared tables and figures, whose functions may be called.
    """
    if foreign := found.foreign():
        return [Finding(str(found.made[0].results), foreign)]

    @cache
    def hashed(path: Path) -> str:
        _check_links(path)
        return provenance.digest(path)

    broken = {path for path, _ in found.unreadable}
    findings = [Finding(str(path), fault) for path, fault in found.unreadable]
    for made in found.made:
        findings += _origin(made, hashed)
        if made.kind in frames.SCHEMAS:
            findings += _frame(made)
    anew = (("table", _table, "recomputed"), ("rows", _rows, "gathered"))
    for sort, check, done in (*anew, ("figure", _figure, "redrawn")):
        for made in _of(found, sort):
            try:
                for finding in check(made, registry, broken):
                    findings.append(finding)
            except (ValueError, OSError) as error:
                findings.append(Finding(str(made.path), f"cannot be {done}: {error}"))
    return [*findings, *_orphans(found, broken)]


def notes(found: Survey) -> list[str]:
    """What a reader should know though no number is wrong."""
    dirty = [made for made in found.made if made.record.get("dirty")]
    lines = []
    if dirty:
        lines.append(
            f"{len(dirty)} files were made by code with uncommitted changes (commit "
            f"{', '.join(Survey(dirty, []).commits())}), e.g. {dirty[0].path}"
        )
    if len(known := found.commits()) > 1:
        lines.append(f"files were made by {len(known)} commits: {', '.join(known)}")
    lines += _mixed_versions(found)
    drawn = [made.path for made in _of(found, "figure")]
    undrawn = [path for path in drawn if not figure_diff.is_comparable(path)]
    if undrawn:
        drawn_by = sorted({figure_diff.drawn_by(path) or "an unknown program" for path in undrawn})
        lines.append(
            f"{len(undrawn)} figures were not redrawn, but checked by the hashes of their frames "
            f"only: matplotlib {', '.join(drawn_by)} drew them, here is {matplotlib.__version__}; "
            f"e.g. {undrawn[0]}"
        )
    return lines


def _mixed_versions(found: Survey) -> Iterator[str]:
    """Tables and figures whose frames were made by different versions of packages."""
    records = {made.path.resolve(): made.record for made in found.made}
    for made in (*_of(found, "table"), *_of(found, "figure")):
        # A file whose place is unknown is a finding.
        with suppress(SpecError):
            read = {name: records.get(made.locate(name).resolve(), {}) for name in _named(made)}
            if said := component_versions.mixed(read, with_files=True):
                yield f"{made.path}: {said}"


def _origin(made: Made, hashed: Callable[[Path], str]) -> Iterator[Finding]:
    """Whether the file says where it comes from, and whether all of that is still the same."""
    file, read = str(made.path), _read_by(made)
    lacking = [name for name in REQUIRED if not made.record.get(name)]
    if made.record.get("commit") == "unknown":
        lacking.append("commit")
    if not made.record:
        yield Finding(file, "no provenance: none of its numbers can be traced")
    elif lacking:
        named = ", ".join(dict.fromkeys(lacking))
        yield Finding(file, f"provenance lacks {named}: cannot be traced")
    try:
        outputs = below(made.path.parent, made.outputs, file)
        inputs = {name: made.locate(name) for name in read}
        for output, recorded in zip(outputs, made.outputs.values(), strict=True):
            if not Path(output).exists() or hashed(Path(output)) != recorded:
                yield Finding(output, "is missing or was changed after it was made")
        for name, path in inputs.items():
            if not path.exists():
                yield Finding(file, f"was made from {name}, which is missing")
            elif name in made.inputs and hashed(path) != made.inputs[name]:
                yield Finding(file, f"was made from another state of {name}: its SHA-256 differs")
    except (ValueError, OSError) as error:
        yield Finding(file, f"cannot be traced: {error}")
        return
    if unknown := [name for name in read if name not in made.inputs]:
        yield Finding(file, f"cannot be traced, for lack of a hash, to {examples(unknown)}")


def _check_links(path: Path) -> None:
    """Check that a file is no link out of its folder, and that a folder holds none."""
    below(path.parent, [path.name], path.parent)
    below(path, [str(file.relative_to(path)) for file in path.rglob("*")], path)


def _read_by(made: Made) -> list[str]:
    """What the job read of other jobs' results, whether or not it was hashed."""
    images = made.spec.get("images")
    listed = [*_named(made), *(images if isinstance(images, list) else ()), *made.inputs]
    return list(dict.fromkeys(file for file in listed if isinstance(file, str)))


def _named(made: Made) -> dict[str, str]:
    """The files that a table's or figure's job names -> their kind of frame."""
    groups = made.spec.get("inputs")
    named = groups.items() if isinstance(groups, dict) else ()
    listed = ((kind, files) for kind, files in named if isinstance(files, list))
    return {str(file): kind for kind, files in listed for file in files}


def _frame(made: Made) -> Iterator[Finding]:
    try:
        rows = frames.read(made.path, made.kind)
        if made.kind == frames.IMAGES.kind:
            paths = map(Path, below(made.path.parent, rows["path"], made.path))
            lost = [str(path.relative_to(made.path.parent)) for path in paths if not path.is_file()]
            if lost:
                what = f"{len(lost)} of {len(rows)} image files are missing: {examples(lost)}"
                yield Finding(str(made.path), what)
    except (ValueError, OSError) as error:
        yield Finding(str(made.path), str(error))


def _table(made: Made, registry: Registry, broken: Container[Path]) -> Iterator[Finding]:
    """Components that a table has in two versions, and how it differs from one made anew."""
    try:
        paths = [made.locate(named) for named in _read_by(made)]
        # What is missing or broken is said of the frame itself.
        component_versions.check(path for path in paths if path.is_file() and path not in broken)
    except SpecError as error:
        yield Finding(str(made.path), str(error))
    job = _job(made, registry)
    table = make(job, pd.DataFrame)
    with tempfile.TemporaryDirectory() as folder:
        for path in formats.write(table, Path(folder) / made.path.stem, job):
            stored = made.path.with_name(made.path.stem + path.suffix)
            _check_links(stored)
            if not stored.is_file():
                yield Finding(str(stored), "is missing")
                continue
            lines = list(table_diff.differences(stored, path))
            if (more := len(lines) - MOST_CELLS) > 0:
                lines[MOST_CELLS:] = [f"and {more} more differences"]
            yield from (Finding(str(stored), line) for line in lines)


def _rows(made: Made, registry: Registry, broken: Container[Path]) -> Iterator[Finding]:
    """Whether the rows next to a table are those of the frames that it names."""
    named = ((kind, file, made.locate(file)) for file, kind in _named(made).items())
    if not frames.read_any(made.path).equals(table_rows.gather(named).to_pandas()):
        yield Finding(str(made.path), "holds other rows than the frames that it names")


def _figure(made: Made, registry: Registry, broken: Container[Path]) -> Iterator[Finding]:
    """How a figure differs from one that is drawn anew."""
    pdf = made.path.with_suffix(".pdf")
    if not pdf.is_file():
        yield Finding(str(pdf), "is missing")
    # A note names those that are not comparable.
    if figure_diff.is_comparable(made.path):
        figure = make(_job(made, registry), Figure)
        with tempfile.TemporaryDirectory() as folder:
            for line in figure_diff.differences(made.path, figure, Path(folder)):
                yield Finding(str(made.path), line)


def _job(made: Made, registry: Registry) -> TableJob:
    """The job of a table or figure, with the declared function and its inputs where they are now.

    Raises:
        SpecError: no such table is declared here, or in another version.
    """
    job = from_json(json.dumps(made.spec), TableJob)
    name = job.table.name
    # A set of images that has no table of its own has a table of its scores.
    is_of_set = name not in registry.tables and job.table.sets == (name,)
    spec = registry.find(registry.tables, "table", "sweep" if is_of_set else name)
    if spec.version != job.table.version:
        raise SpecError(
            f"it is version {job.table.version} of {spec.name}, {spec.file} declares {spec.version}"
        )
    moved = {
        kind: tuple(str(made.locate(file)) for file in files) for kind, files in job.inputs.items()
    }
    named = replace(spec, name=name, arguments=job.table.arguments)
    return replace(job, table=named, inputs=moved)


def _orphans(found: Survey, broken: Iterable[Path]) -> Iterator[Finding]:
    """Texts of tables without the parquet that would say where they come from."""
    made = [item.path for item in _of(found, "table")]
    results = {item.results for item in found.made}
    folders = {path.parent for path in made} | {folder / "tables" for folder in results}
    # No number of a measurement is on the page that says where they come from.
    pages = [folder / "tables" / "provenance.html" for folder in results]
    known = {path.with_suffix("") for path in (*made, *broken, *pages)}
    texts = [path for folder in folders for path in folder.glob("*")]
    for path in sorted(texts):
        if path.suffix in table_diff.TEXTS and path.with_suffix("") not in known:
            what = "no parquet with provenance next to it: none of its numbers can be traced"
            yield Finding(str(path), what)


def _of(found: Survey, sort: str) -> Sequence[Made]:
    """The files of a sort of kinds: every table, every figure."""
    return [made for made in found.made if made.kind.startswith(f"{sort} ")]
