"""How a table's stored file differs from one that was made anew, cell by cell or line by line."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from harness.results import frames

#: Frames hold every digit, but another build of numpy may sum in another order.
RELATIVE_TOLERANCE = 1e-9
#: Formats of a table that are texts.
TEXTS = (".csv", ".md", ".tex", ".html")


def differences(stored: Path, anew: Path) -> Iterator[str]:
    """A line per cell, or of a text that is no table per line, in which two files differ."""
    is_markdown = stored.suffix == ".md"
    if read := {".parquet": frames.read_any, ".csv": _csv, ".md": _pipes}.get(stored.suffix):
        yield from _cells(read(stored), read(anew))
    if is_markdown or not read:
        rest = [
            [line for line in _lines(path) if not (is_markdown and line.startswith("|"))]
            for path in (stored, anew)
        ]
        for number, (was, now) in enumerate(zip_longest(*rest, fillvalue=""), start=1):
            if was != now:
                yield f"line {number}: {_word(was)}, recomputed {_word(now)}"


def _cells(stored: pd.DataFrame, anew: pd.DataFrame) -> Iterator[str]:
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
                words = [value for value in anew.iloc[row] if isinstance(value, str) and value]
                named = [word for word in words if not re.match(r"[-+\d.\N{EN DASH}*]", word)]
                place = f"row {row + 1} ({' '.join(named)}), column {name}"
                yield f"{place}: {_word(was)}, recomputed {_word(now)}"


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
