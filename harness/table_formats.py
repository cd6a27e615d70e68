"""A table as files: csv and parquet with every digit, md, tex and html for people.

A column ``..._ci_low`` and the ``..._ci_high`` after it are the 95 % interval of the column just
before them. For people the three become one, ``0.792 [0.76, 0.82]``; an interval that is a point
says nothing and is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from harness import frames, provenance
from harness.jobs import TableJob

_LOW, _HIGH = "_ci_low", "_ci_high"
_MISSING = "\N{EN DASH}"
_DTYPES: Mapping[str, frames.Dtype] = {"i": "int64", "u": "int64", "f": "float64", "b": "bool"}
_INTERVALS = "Intervals in brackets: 95 %, images of one prompt taken as one cluster."
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    _MISSING: "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5em; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .6em; }
th, td { padding: .3em .7em; text-align: left; white-space: nowrap; }
th { border-bottom: 2px solid #222; vertical-align: bottom; }
.number { text-align: right; }
tr.group td { border-top: 1px solid #999; }
tbody tr:hover { background: #eef4fa; }
.scroll { overflow-x: auto; }
p { color: #555; max-width: 60em; }
"""


def write(table: pd.DataFrame, out: str | Path, job: TableJob) -> list[Path]:
    """Write ``out`` + .csv, .md, .tex, .html and .parquet, each in one go; folders are made.

    Provenance is in the parquet's metadata, and in words under the md and html and as a comment
    in the tex; the csv stays plain, so that everything can read it.

    Returns:
        The files.

    Raises:
        ValueError: the table has no rows.
    """
    if table.empty:
        raise ValueError(f"table {job.table.name!r} has no rows")
    origin = _origin(job)
    texts = {
        ".csv": table.to_csv(index=False, lineterminator="\n"),
        ".md": markdown(table, origin),
        ".tex": latex(table, origin),
        ".html": page(table, job.table.name, origin),
    }
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in texts.items():
        _write_text(_with(out, suffix), text)
    columns = tuple(_column(name, table[name]) for name in table.columns)
    schema = frames.Schema(f"table {job.table.name}", columns)
    frames.write(table, _with(out, ".parquet"), schema, job)
    return [_with(out, suffix) for suffix in (*texts, ".parquet")]


def for_people(table: pd.DataFrame) -> pd.DataFrame:
    """The table in words: numbers rounded, each interval beside its value, gaps as a dash."""
    columns = list(table.columns)
    cells: dict[str, list[str]] = {}
    for name, after in zip(columns, [*columns[1:], ""], strict=True):
        if name.endswith((_LOW, _HIGH)):
            continue
        form = _form(name, table[name])
        texts = [_MISSING if pd.isna(value) else form(value) for value in table[name]]
        if after.endswith(_LOW):
            high = after.removesuffix(_LOW) + _HIGH
            texts = list(map(_beside, texts, table[name], table[after], table[high]))
        cells[name] = texts
    return pd.DataFrame(cells, dtype="str")


def markdown(table: pd.DataFrame, origin: str) -> str:
    """A pipe table, and below it what the intervals are and where it comes from."""
    texts = for_people(table)
    marks = ["--:" if _is_number(table[name]) else ":--" for name in texts.columns]
    rows = [list(texts.columns), marks, *texts.to_numpy().tolist()]
    lines = ["| " + " | ".join(_in_pipes(cell) for cell in row) + " |" for row in rows]
    return "\n\n".join(["\n".join(lines), *_notes(table, origin)]) + "\n"


def latex(table: pd.DataFrame, origin: str) -> str:
    r"""A ``tabular`` that needs the booktabs package, with a rule between models."""
    texts = for_people(table)
    shape = "".join("r" if _is_number(table[name]) else "l" for name in texts.columns)
    notes = (*_notes(table, origin), r"Needs \usepackage{booktabs}.")
    lines = [f"% {note}" for note in notes]
    lines += [rf"\begin{{tabular}}{{{shape}}}", r"\toprule", _tex_row(list(texts.columns))]
    for starts, row in zip(_starts(table), texts.to_numpy().tolist(), strict=True):
        lines += [r"\midrule"] * starts + [_tex_row(row)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def page(table: pd.DataFrame, title: str, origin: str) -> str:
    """A self-contained HTML page, as Snakemake's report shows it."""
    texts = for_people(table)
    kinds = [' class="number"' if _is_number(table[name]) else "" for name in texts.columns]
    head = _html_row("th", kinds, [name.replace("_", " ") for name in texts.columns], "")
    body = [
        _html_row("td", kinds, row, ' class="group"' if starts else "")
        for starts, row in zip(_starts(table), texts.to_numpy().tolist(), strict=True)
    ]
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in _notes(table, origin))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>'
        f'\n<style>{_STYLE}</style>\n<div class="scroll">\n<table>\n'
        f"<caption>{escape(title)}</caption>\n<thead>\n{head}</thead>\n<tbody>\n{''.join(body)}"
        f"</tbody>\n</table>\n</div>\n{notes}</html>\n"
    )


def _form(name: str, values: pd.Series[Any]) -> Callable[[Any], str]:
    """How a column's numbers are rounded; its name tells the unit."""
    if not _is_number(values) or pd.api.types.is_integer_dtype(values):
        return str
    if name.endswith("_ms"):
        return _three_digits
    if name.startswith("gain"):
        return lambda value: f"{value:+z.3f}" if value else "0.000"
    measured = name.startswith("geneval") or name.endswith("_mean")
    # Settings and counts are short as they are; zeros behind them would feign a measurement.
    if not measured and all(float(f"{value:.3g}") == value for value in values.dropna()):
        return lambda value: f"{value:.6g}"
    return lambda value: f"{value:z.3f}"


def _three_digits(value: float) -> str:
    decimals = sum(abs(value) < limit for limit in (100, 10, 1))
    return f"{value:.{decimals}f}"


def _beside(text: str, value: float, low: float, high: float) -> str:
    if text == _MISSING or low == value == high:
        return text
    sign = "+" if text[0] in "+-" else ""
    return f"{text} [{_bound(low, sign)}, {_bound(high, sign)}]"


def _bound(value: float, sign: str) -> str:
    if pd.isna(value):
        return _MISSING
    # Whether an interval excludes 0 has to survive rounding.
    rounded = f"{value:{sign}.2f}"
    return f"{value:{sign}.1g}" if value and not float(rounded) else rounded


def _is_number(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _starts(table: pd.DataFrame) -> list[bool]:
    """Whether a row is the first one of its value in the first column."""
    first = table.iloc[:, 0]
    return [bool(changes) for changes in first.ne(first.shift())]


def _notes(table: pd.DataFrame, origin: str) -> list[str]:
    has_intervals = any(str(name).endswith(_LOW) for name in table.columns)
    return [_INTERVALS, origin] if has_intervals else [origin]


def _origin(job: TableJob) -> str:
    commit, hardware, packages = provenance.commit(), provenance.hardware(), provenance.packages()
    state = " with uncommitted changes" if commit["dirty"] else ""
    return (
        f"{job.table.name}, version {job.table.version}; commit {commit['commit'][:12]}{state}; "
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB; "
        f"torch {packages['torch']}, diffusers {packages['diffusers']}."
    )


def _column(name: str, values: pd.Series[Any]) -> frames.Column:
    dtype = _DTYPES.get(values.dtype.kind, "string")
    return frames.Column(name, dtype, "", "", may_be_missing=True)


def _in_pipes(text: str) -> str:
    return text.replace("|", r"\|")


def _tex_row(cells: list[str]) -> str:
    escaped = ["".join(_TEX.get(character, character) for character in cell) for cell in cells]
    return " & ".join(escaped) + r" \\"


def _html_row(tag: str, kinds: list[str], cells: list[str], row_class: str) -> str:
    parts = zip(kinds, cells, strict=True)
    inside = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in parts)
    return f"<tr{row_class}>{inside}</tr>\n"


def _with(out: Path, suffix: str) -> Path:
    # Not with_suffix: a name like "steps1.5" must keep its dot.
    return out.with_name(out.name + suffix)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
