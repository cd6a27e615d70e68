"""HTML pages that stand alone: their style and script are inside, nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path

from harness.base.atomic_files import write_text


def template(name: str) -> str:
    """A file that ships with the package, in ``templates``."""
    return resources.files("harness.report").joinpath("templates", name).read_text(encoding="utf-8")


def document(title: str, body: str) -> str:
    """A whole page; its tables can be sorted by a click, or a key, on a column's head.

    Args:
        title: plain text.
        body: HTML; a table with head and body for each thing to be sorted.
    """
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n'
        f"<style>\n{template('table.css')}</style>\n{body}"
        f"<script>\n{template('table.js')}</script>\n</html>\n"
    )


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A sortable table of plain text."""
    return table_of_rows(caption, table_row("th", head), [table_row("td", row) for row in rows])


def table_of_rows(caption: str, head: str, body: Sequence[str]) -> str:
    """A sortable table of rows that are HTML already (:func:`table_row`)."""
    return (
        f'<div class="scroll">\n<table>\n<caption>{escape(caption)}</caption>\n'
        f"<thead>\n{head}</thead>\n<tbody>\n{''.join(body)}</tbody>\n</table>\n</div>\n"
    )


def table_row(
    tag: str, cells: Sequence[str], attributes: Sequence[str] = (), of_row: str = ""
) -> str:
    """A row of plain text.

    Args:
        tag: ``th`` or ``td``.
        attributes: HTML inside each cell's tag, with a space before it; none without.
        of_row: the same of the row's tag.
    """
    parts = zip(attributes or [""] * len(cells), cells, strict=True)
    inside = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in parts)
    return f"<tr{of_row}>{inside}</tr>\n"


def write(text: str, out: str | Path) -> Path:
    """Write a page as ``out`` + .html; returns the file."""
    path = Path(f"{out}.html")
    write_text(path, text)
    return path
