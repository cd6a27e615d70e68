"""The first page of a results folder: its answer, and the way to everything else that was made.

``index.html`` and what the terminal says at the end of a run are functions of the folder's files
alone. Links and pictures are relative, so that the folder can be moved as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from harness.analysis import published
from harness.analysis.costs import BUSY, GENERATION, N_DISTURBED, NFE
from harness.analysis.interval_columns import CI_HIGH, CI_LOW, with_interval
from harness.base.atomic_files import write_text
from harness.base.errors import SpecError
from harness.report import formats, rehearsal
from harness.report.pages import render
from harness.results import frames
from harness.results.results_folder import Made, survey

#: Beside the folders of results.
PAGE = "index.html"
#: The table that has the answer, and the figures that show it: quality against time, and images.
_ANSWER, _FIGURE, _GRID = "table1", "pareto", "grid"
_GAIN = with_interval("gain_over_base", "gain")
_CAPTION = "What each method gains, and what it costs"
_GALLERY = "every image beside its rivals from the same noise"
#: Heading -> the kind of file below it, in the order of the page.
_SECTIONS = {"Tables": "table", "Figures": "figure", "Images": "gallery", "Origin": "page"}


class Entry(NamedTuple):
    """Something that was made: what it shows, and the file to open below the results folder."""

    kind: str
    name: str
    label: str
    place: str

    @classmethod
    def of(cls, made: Made) -> Entry | None:
        """What a file shows; None of what is no table, figure, page or gallery."""
        kind, _, name = made.kind.partition(" ")
        if kind not in _SECTIONS.values():
            return None
        path = made.path.with_suffix(".html") if kind == "table" else made.path
        if kind == "gallery":
            path = made.path.with_name("index.html")
        table = made.spec.get("table")
        label = table.get("label") if isinstance(table, dict) else ""
        own = path.stem if kind == "figure" else name or kind
        return cls(kind, own, str(label or _GALLERY), path.relative_to(made.results).as_posix())


def run(results: str | Path) -> None:
    """Write the first page of a results folder, and print the answer.

    Raises:
        FileNotFoundError: there is no such folder, or nothing in it.
        ValueError: its table 1 cannot be read, or another layout of the harness wrote it.
    """
    root, found = Path(results), survey(results)
    if foreign := found.foreign():
        raise SpecError(f"{root}: {foreign}")
    answer = answer_of(root)
    write_text(root / PAGE, page(root, found.made, answer))
    for line in in_terminal(root, answer):
        print(line)


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """Table 1 in the order of its questions: benchmark, gain and p, rewards, cost.

    Args:
        table: table 1 of any benchmark, as it is stored.

    Returns:
        Its rows but for those that are only published; of its columns model, method, what else
        tells rows apart, the benchmark's mean, the gain over the base and its p value, the means of
        rewards, passes of the backbone and ms per image; intervals follow their columns.
    """
    if published.SOURCE_COLUMN in table:
        table = table[table[published.SOURCE_COLUMN] != published.PRINTED]
    each = table.groupby(["model", "method"])
    telling = [name for name in ("reward", "steps") if (each[name].nunique() > 1).any()]
    means = [name for name in map(str, table) if name.endswith("_mean")]
    ours = [name for mean in means[:1] for name in with_interval(mean)] + [*_GAIN, "p_holm"]
    for measure in (*means[1:], NFE.name, GENERATION.name):
        ours += with_interval(measure)
    names = [rehearsal.COLUMN, "model", "method", *telling, *ours]
    return table[[name for name in names if name in table]]


def page(root: Path, made: Iterable[Made], answer: pd.DataFrame | None) -> str:
    """The first page as HTML.

    Args:
        root: the results folder.
        made: what lies in it, with its provenance.
        answer: its table 1, if there is one.
    """
    entries = list(filter(None, map(Entry.of, made)))
    sections = []
    for heading, kind in _SECTIONS.items():
        listed = sorted(e for e in entries if e.kind == kind)
        sections += [(heading, listed)] if listed else []
    notes = ""
    if answer is not None and (root / "tables" / f"{_ANSWER}.md").is_file():
        notes = (root / "tables" / f"{_ANSWER}.md").read_text(encoding="utf-8")
    paragraphs = [paragraph.strip() for paragraph in notes.split("\n\n")]
    first = "" if answer is None else f"{_GRID}_{answer['model'].iloc[0]}"
    pictures = [e for name in (_FIGURE, first) for e in entries if e.name == name]
    return render(
        "front.html",
        title="Results",
        tables=[] if answer is None else [formats.as_table(headline(answer), _CAPTION)],
        # The headline has no marks.
        notes=[p for p in paragraphs if p and not p.startswith("|") and p != formats.BEST],
        pictures=pictures,
        sections=sections,
    )


def in_terminal(root: Path, answer: pd.DataFrame | None) -> Iterator[str]:
    """The answer in lines of about a hundred characters: of intervals those of the benchmark and
    the gain alone."""
    if answer is not None:
        table = headline(answer)
        measures = [name for name in map(str, table) if name.endswith("_mean")]
        kept = {*_GAIN, *(name for mean in measures[:1] for name in with_interval(mean))}
        bounds = [n for n in map(str, table) if n.endswith((CI_LOW, CI_HIGH)) and n not in kept]
        yield formats.for_people(table.drop(columns=bounds)).to_string(index=False)
    if answer is not None and (answer.get(N_DISTURBED.name, pd.Series()) > 0).any():
        yield f"{BUSY}: {root / 'tables' / _ANSWER}.md names them."
    yield f"All of it: {root / PAGE}"


def answer_of(root: Path) -> pd.DataFrame | None:
    """Table 1, if it was made."""
    file = root / "tables" / f"{_ANSWER}.parquet"
    return frames.read_any(file) if file.is_file() else None
