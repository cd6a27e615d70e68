"""HTML pages that stand alone: their style and script are inside, nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.base.atomic_files import write_text
from harness.experiment.jobs import TableJob
from harness.results import provenance
from harness.results.results_folder import with_record


class Cell(NamedTuple):
    """A cell of a table: plain text, and attributes of its element; None gives none."""

    text: str
    attributes: Mapping[str, str | None] = {}


class Row(NamedTuple):
    """A row of a table, and attributes of its element."""

    cells: Sequence[Cell]
    attributes: Mapping[str, str | None] = {}


class Table(NamedTuple):
    """A table that can be sorted by a click, or a key, on a column's head."""

    caption: str
    head: Sequence[Cell]
    rows: Sequence[Row]


def plain(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of plain text."""
    lines = [Row([Cell(text) for text in row]) for row in rows]
    return Table(caption, [Cell(text) for text in head], lines)


def tables_page(
    title: str,
    tables: Sequence[Table],
    *,
    heading: str = "",
    notes: Sequence[str] = (),
    settings: str = "",
) -> str:
    """A whole page of tables, with paragraphs and settings, as they were written, below them."""
    said = {"heading": heading, "notes": notes, "settings": settings}
    return render("tables.html", title=title, tables=tables, **said)


def render(template: str, **values: Any) -> str:
    """A file of ``templates``, filled in; values are escaped as the place asks."""
    return _templates().get_template(template).render(**values)


def write(text: str, out: str | Path, job: TableJob) -> Path:
    """Write a page as ``out`` + .html, with its provenance at its end; returns the file."""
    path = Path(f"{out}.html")
    write_text(path, with_record(text, provenance.collect(f"page {job.table.name}", job)))
    return path


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    # Compact, in the given order, and without numbers that are none in JSON.
    compact = {"separators": (",", ":"), "allow_nan": False, "sort_keys": False}
    environment.policies["json.dumps_kwargs"] = compact
    return environment
