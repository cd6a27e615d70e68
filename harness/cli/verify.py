"""``python -m harness verify RESULTS``: does every number follow from the rows it claims?

Tables are recomputed from the frames that their provenance names, and every format is compared
cell by cell; the rows beside them are compared with the frames. Figures are redrawn, and their PNG
is compared (:mod:`harness.report.figure_diff`). Frames, tables, figures, matched networks and the
gallery are
checked against the hashes of what they were made from, and image frames against their files. What
cannot be traced is named: file, row, column.
"""

from __future__ import annotations

import csv
import json
import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.pairing import examples
from harness.base.import_strings import SpecError
from harness.experiment.jobs import TableJob, from_json
from harness.report import figure_diff, formats, table_rows
from harness.report.frame_inputs import make
from harness.results import component_versions, frames, provenance
from harness.results.results_folder import REQUIRED, Made, Survey, survey

#: Frames hold every digit, but another build of numpy may sum in another order.
RELATIVE_TOLERANCE = 1e-9
#: Lines per file, after which differing cells are only counted.
MOST_CELLS = 20
#: Where tables' targets may come from: a results folder must not choose what code runs.
TRUSTED = ("harness",)
_DESCRIBES = re.compile(r"version \d+; commit ")
_PLURALS = {"table": "tables", "figure": "figures", "gallery": "galleries", "match": "matches"}
_SORTS = (*_PLURALS.values(), "frames")
_TEXTS = (".csv", ".md", ".tex", ".html")


class Finding(NamedTuple):
    """Something that is not as it claims to be, or cannot be known."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {' '.join(self.what.split())}"


def run(results: str, trust: Sequence[str] = ()) -> int:
    """Print a line per finding, notes and a summary.

    Returns:
        The exit code: 0 if every number can be traced, else 1.

    Raises:
        FileNotFoundError: there is no such folder, or nothing in it.
    """
    found = survey(results)
    findings = verify(found, trust)
    for line in [*findings, *(f"note: {note}" for note in notes(found))]:
        print(line)
    print(_summary(found, findings))
    return int(bool(findings))


def verify(found: Survey, trust: Sequence[str] = ()) -> list[Finding]:
    """Everything about a results folder that does not hold.

    Args:
        found: the folder (:func:`harness.results.results_folder.survey`).
        trust: packages besides the harness whose functions of tables and figures may be called.
    """
    hashed = cache(provenance.digest)
    findings = [Finding(str(path), fault) for path, fault in found.unreadable]
    for made in found.made:
        findings += _provenance(made)
        findings += _inputs(made, hashed)
        if made.kind in frames.SCHEMAS:
            findings += _frame(made)
    trusted = (*TRUSTED, *trust)
    for made in _of(found, "table"):
        findings += _mixed(made, {path for path, _ in found.unreadable})
        findings += _table(made, trusted)
    for made in _of(found, "rows"):
        findings += _rows(made)
    for made in _of(found, "figure"):
        findings += _figure(made, trusted)
    return findings + _orphans(found)


def notes(found: Survey) -> list[str]:
    """What a reader should know though no number is wrong."""
    dirty = [made for made in found.made if made.record.get("dirty")]
    commits = sorted({str(made.record["commit"])[:12] for made in dirty if "commit" in made.record})
    lines = []
    if dirty:
        lines.append(
            f"{len(dirty)} files were made by code with uncommitted changes (commit "
            f"{', '.join(commits)}), e.g. {dirty[0].path}"
        )
    known = {str(made.record["commit"])[:12] for made in found.made if "commit" in made.record}
    if len(known) > 1:
        lines.append(f"files were made by {len(known)} commits: {', '.join(sorted(known))}")
    return lines + _not_redrawn(found)


def _not_redrawn(found: Survey) -> list[str]:
    foreign = [
        made.path for made in _of(found, "figure") if not figure_diff.is_comparable(made.path)
    ]
    if not foreign:
        return []
    drawn_by = sorted({figure_diff.drawn_by(path) or "an unknown program" for path in foreign})
    return [
        f"{len(foreign)} figures were not redrawn, but checked by the hashes of their frames only: "
        f"matplotlib {', '.join(drawn_by)} drew them, here is {matplotlib.__version__}; e.g. "
        f"{foreign[0]}"
    ]


def _summary(found: Survey, findings: Sequence[Finding]) -> str:
    kinds = Counter(_sort_of(made) for made in found.made)
    counted = ", ".join(f"{kinds[sort]} {sort}" for sort in _SORTS)
    verdict = f"{len(findings)} findings" if findings else "every number can be traced"
    return f"{counted}: {verdict}"


def _sort_of(made: Made) -> str:
    return _PLURALS.get(made.kind.split(" ")[0], "frames")


def _provenance(made: Made) -> list[Finding]:
    if not made.record:
        return [Finding(str(made.path), "no provenance: none of its numbers can be traced")]
    lacking = [name for name in REQUIRED if not made.record.get(name)]
    if made.record.get("commit") == "unknown":
        lacking.append("commit")
    if lacking:
        named = ", ".join(dict.fromkeys(lacking))
        return [Finding(str(made.path), f"provenance lacks {named}: cannot be traced")]
    return []


def _inputs(made: Made, hashed: Callable[[Path], str]) -> Iterator[Finding]:
    """Whether what the file was made from is still the same."""
    file, named = str(made.path), _read_by(made)
    for name, recorded in made.record.get("outputs", {}).items():
        path = made.path.with_name(name)
        if not path.exists() or hashed(path) != recorded:
            yield Finding(str(path), "is missing or was changed after it was made")
    lost = [name for name in named if not made.locate(name).exists()]
    unknown = [name for name in named if name not in made.inputs]
    for name in lost:
        yield Finding(file, f"was made from {name}, which is missing")
    if unknown:
        yield Finding(file, f"cannot be traced, for lack of a hash, to {examples(unknown)}")
    for name in [name for name in made.inputs if name not in lost]:
        if hashed(made.locate(name)) != made.inputs[name]:
            yield Finding(file, f"was made from another state of {name}: its SHA-256 differs")


def _read_by(made: Made) -> list[str]:
    """What the job read of other jobs' results, whether or not it was hashed."""
    spec = made.spec
    groups = spec.get("inputs")
    listed = [file for files in groups.values() for file in files] if groups else []
    scored = spec.get("images", [])
    return list(dict.fromkeys([*listed, *scored, *made.inputs]))


def _frame(made: Made) -> list[Finding]:
    try:
        rows = frames.read(made.path, made.kind)
    except (ValueError, OSError) as error:
        return [Finding(str(made.path), str(error))]
    if made.kind != frames.IMAGES.kind:
        return []
    lost = [name for name in rows["path"] if not (made.path.parent / name).is_file()]
    if not lost:
        return []
    what = f"{len(lost)} of {len(rows)} image files are missing: {examples(lost)}"
    return [Finding(str(made.path), what)]


def _mixed(made: Made, broken: Container[Path]) -> list[Finding]:
    """Components that the table's frames have in two versions."""
    paths = [made.locate(named) for named in _read_by(made)]
    try:
        # What is missing or broken is said of the frame itself.
        component_versions.check(path for path in paths if path.is_file() and path not in broken)
    except SpecError as error:
        return [Finding(str(made.path), str(error))]
    return []


def _table(made: Made, trusted: Sequence[str]) -> list[Finding]:
    """A table made anew, and what of the stored one differs."""
    file = str(made.path)
    try:
        job = _job(made, trusted)
        table = make(job, pd.DataFrame)
    except (ValueError, OSError) as error:
        return [Finding(file, f"cannot be recomputed: {error}")]
    findings = _limited(file, _differing_cells(frames.read_any(made.path), table))
    with tempfile.TemporaryDirectory() as folder:
        anew = formats.write(table, Path(folder) / made.path.stem, job)
        for path in anew:
            stored = made.path.with_name(made.path.stem + path.suffix)
            if path.suffix in _TEXTS and stored.is_file():
                findings += _limited(str(stored), _differing_text(stored, path))
            elif path.suffix in _TEXTS:
                findings.append(Finding(str(stored), "is missing"))
    return findings


def _rows(made: Made) -> list[Finding]:
    """Whether the rows beside a table are those of the frames that it names."""
    inputs = made.spec.get("inputs", {})
    named = [(kind, file) for kind, files in inputs.items() for file in files]
    try:
        anew = table_rows.gather((kind, file, made.locate(file)) for kind, file in named)
    except (ValueError, OSError) as error:
        return [Finding(str(made.path), f"cannot be gathered: {error}")]
    if frames.read_any(made.path).equals(anew.to_pandas()):
        return []
    return [Finding(str(made.path), "holds other rows than the frames that it names")]


def _figure(made: Made, trusted: Sequence[str]) -> list[Finding]:
    """A figure drawn anew, and how the stored one differs."""
    file, pdf = str(made.path), made.path.with_suffix(".pdf")
    findings = [] if pdf.is_file() else [Finding(str(pdf), "is missing")]
    if not figure_diff.is_comparable(made.path):
        # A note says so.
        return findings
    try:
        job = _job(made, trusted)
        figure = make(job, Figure)
        with tempfile.TemporaryDirectory() as folder:
            lines = list(figure_diff.differences(made.path, figure, Path(folder)))
    except (ValueError, OSError) as error:
        lines = [f"cannot be redrawn: {error}"]
    return findings + [Finding(file, line) for line in lines]


def _job(made: Made, trusted: Sequence[str]) -> TableJob:
    """The job of a table or figure with its inputs where they are now."""
    job = from_json(json.dumps(made.spec), TableJob)
    package = job.table.target.partition(":")[0].partition(".")[0]
    if package not in trusted:
        raise SpecError(
            f"its target {job.table.target} is outside {', '.join(trusted)}; "
            f"--trust {package} lets it run"
        )
    if made.home is None:
        raise SpecError(f"its job wrote it to {job.out}, so where its inputs are is unknown")
    moved = {
        kind: tuple(str(made.locate(file)) for file in files) for kind, files in job.inputs.items()
    }
    return replace(job, inputs=moved)


def _limited(file: str, faults: Iterable[str]) -> list[Finding]:
    lines = list(faults)
    shown = [Finding(file, line) for line in lines[:MOST_CELLS]]
    more = len(lines) - len(shown)
    return shown + ([Finding(file, f"and {more} more differences")] if more else [])


def _differing_cells(stored: pd.DataFrame, anew: pd.DataFrame) -> Iterator[str]:
    if list(stored.columns) != list(anew.columns) or len(stored) != len(anew):
        yield (
            f"has {len(stored)} rows and columns {', '.join(stored.columns)}; recomputed it has "
            f"{len(anew)} and {', '.join(anew.columns)}"
        )
        return
    for row in range(len(anew)):
        for name in anew.columns:
            was, now = stored[name].iloc[row], anew[name].iloc[row]
            if not _same(was, now):
                yield f"{_place(anew, row, name)}: {_word(was)}, recomputed {_word(now)}"


def _differing_text(stored: Path, anew: Path) -> Iterator[str]:
    if stored.suffix == ".csv":
        return _differing_cells(_csv(stored), _csv(anew))
    if stored.suffix == ".md":
        return _differing_markdown(stored, anew)
    return _differing_lines(_lines(stored), _lines(anew))


def _differing_markdown(stored: Path, anew: Path) -> Iterator[str]:
    yield from _differing_cells(_pipes(stored), _pipes(anew))
    words = [[line for line in _lines(path) if not line.startswith("|")] for path in (stored, anew)]
    yield from _differing_lines(*words)


def _differing_lines(stored: Sequence[str], anew: Sequence[str]) -> Iterator[str]:
    for number in range(max(len(stored), len(anew))):
        pair = [lines[number] if number < len(lines) else "" for lines in (stored, anew)]
        # Commit, machine and versions are those of the time of making.
        if pair[0] != pair[1] and not all(_DESCRIBES.search(line) for line in pair):
            yield f"line {number + 1}: {_word(pair[0])}, recomputed {_word(pair[1])}"


def _orphans(found: Survey) -> list[Finding]:
    """Texts of tables without the parquet that would say where they come from."""
    folders = {made.path.parent for made in found.made if made.kind.startswith("table ")}
    folders |= {made.results / "tables" for made in found.made[:1]}
    texts = [path for folder in folders for path in folder.glob("*") if path.suffix in _TEXTS]
    known = {path.with_suffix("") for path, _ in found.unreadable}
    known |= {made.path.with_suffix("") for made in _of(found, "table")}
    what = "no parquet with provenance beside it: none of its numbers can be traced"
    # No number of a measurement is on the page that says where they come from.
    known |= {made.results / "tables" / "provenance" for made in found.made[:1]}
    return [Finding(str(path), what) for path in sorted(texts) if path.with_suffix("") not in known]


def _of(found: Survey, sort: str) -> list[Made]:
    """The files of a sort of kinds: every table, every figure."""
    return [made for made in found.made if made.kind.startswith(f"{sort} ")]


def _same(one: Any, other: Any) -> bool:
    if _is_nothing(one) or _is_nothing(other):
        return _is_nothing(one) and _is_nothing(other)
    try:
        numbers = float(one), float(other)
    except (TypeError, ValueError):
        return str(one) == str(other)
    return math.isclose(*numbers, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)


def _is_nothing(value: Any) -> bool:
    # NA first: it has no truth value when it is compared.
    return bool(pd.isna(value)) or bool(value == "")


def _place(table: pd.DataFrame, row: int, column: str) -> str:
    """Where a cell is: the row's number from 1 and its words, and the column."""
    words = [str(value) for value in table.iloc[row] if isinstance(value, str) and value]
    named = [word for word in words if not re.match(r"[-+\d.\N{EN DASH}*]", word)]
    return f"row {row + 1} ({' '.join(named)}), column {column}"


def _word(value: Any) -> str:
    return "nothing" if _is_nothing(value) else str(value)[:120]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file))
    return _texts(head, rows)


def _pipes(path: Path) -> pd.DataFrame:
    rows = [line for line in _lines(path) if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    return _texts(cells[0], cells[2:]) if cells else pd.DataFrame()


def _texts(head: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    # A row that is too short or too long must not be mended.
    columns = {
        name: [row[i] if i < len(row) else "" for row in rows] for i, name in enumerate(head)
    }
    extra = [" ".join(row[len(head) :]) for row in rows]
    return pd.DataFrame(columns | ({"(extra)": extra} if any(extra) else {}), dtype="str")
