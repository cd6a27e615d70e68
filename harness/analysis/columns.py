"""Columns of tables, each declared once: what it says, how it is computed and how it is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from harness.analysis.interval_columns import columns_of
from harness.analysis.statistics import Difference, Interval

#: Pattern of a column's name -> how its numbers are printed (:mod:`harness.report.formats`).
FORMS = {
    "*_published": "as_printed",
    "p_holm*": "p_value",
    "*_ms": "three_digits",
    "gain*": "signed",
    "over_best*": "signed",
    "geneval*": "measured",
    "*_mean": "measured",
}


@dataclass(frozen=True)
class Column:
    """One column, and the two of its interval where it has one.

    Attributes:
        name: of the column.
        of: what stands in it, from a cell (:class:`harness.analysis.gains.Cell`): a number or a
            text, or an interval, whose bounds follow as ``<stem>_ci_low`` and ``<stem>_ci_high``.
        meaning: in words.
        unit: of its numbers, e.g. ``"ms"``.
        best: ``"highest"`` or ``"lowest"`` where each model's best value is marked.
        versus: by how much a cell exceeds its baseline in the column's measure, image by image; it
            tells which values tie with the best one (:func:`harness.analysis.references.tied`).
        stem: of the bounds' names; the column's name if empty.
        form: how its numbers are printed, a value of :data:`FORMS`; by its name if empty.
        p_value: the name of a further column, with the p value of a difference.
    """

    name: str
    of: Callable[[Any], Any]
    meaning: str = ""
    unit: str = ""
    best: str = ""
    stem: str = ""
    form: str = ""
    p_value: str = ""
    versus: Callable[[Any], Difference] | None = None

    def cells(self, cell: Any) -> Mapping[str, Any]:
        """Everything that the column puts into the row of a cell."""
        found = self.of(cell)
        if not isinstance(found, (Interval, Difference)):
            return {self.name: found}
        row = columns_of(found, self.name, self.stem)
        if isinstance(found, Difference) and self.p_value:
            row[self.p_value] = found.p_value
        return row


def described(columns: Iterable[Column]) -> dict[str, dict[str, str]]:
    """What a table's ``attrs`` say of its columns: name -> unit, meaning, best and form."""
    said = ("unit", "meaning", "best", "form")
    return {column.name: {name: getattr(column, name) for name in said} for column in columns}


def form_of(name: str) -> str:
    """How a column is printed by its name; empty where the name says nothing."""
    return next((form for pattern, form in FORMS.items() if fnmatch(name, pattern)), "")
