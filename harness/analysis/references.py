"""Rows of a table against the best one of their model, paired on the same prompts and noise.

Whether a setting is as good as the best one is no question of their own intervals: both were
measured on the same prompts and noises, whose luck they share, so the interval of their difference
is narrower, and it is also the best one's own uncertainty that counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from harness.analysis.columns import Column
from harness.analysis.pairing import CELL
from harness.analysis.statistics import Difference

#: Where a table's ``attrs`` say which rows are the best of their model, or differ from it by
#: nothing that is known: column -> values of :data:`harness.analysis.pairing.CELL`, as texts.
TIED = "tied"


def best_of_each_model(cells: Sequence[Any], values: Sequence[float]) -> list[int | None]:
    """For each cell the index of its model's cell with the highest value; None without one."""
    models = [cell.identity("model") for cell in cells]
    known = [index for index, value in enumerate(values) if not math.isnan(value)]
    best: dict[str, int] = {}
    for index in sorted(known, key=values.__getitem__):
        best[models[index]] = index
    return [best.get(model) for model in models]


def compared(cell: Any, other: int, versus: Callable[[Any], Difference]) -> Difference:
    """How much a cell exceeds another one of its table, paired; of itself there is no test.

    Args:
        versus: the gain of a cell over its baseline.
    """
    if cell.index == other:
        return versus(replace(cell, base=other))._replace(p_value=math.nan)
    seeds, others = (set(cell.paired.seeds_of(index)) for index in (cell.index, other))
    if len(others) < 2 or (seeds and seeds <= others):
        return versus(replace(cell, base=other))
    if len(seeds) < 2 or others <= seeds:
        # The other one has networks of more training seeds: it is paired with this one.
        found = versus(replace(cell, index=other, base=cell.index))
        return found._replace(mean=-found.mean, low=-found.high, high=-found.low)
    # Each has a seed that the other lacks, so that nothing is matched.
    return Difference(math.nan, math.nan, math.nan, math.nan, 0, 0)


def tied(cells: Sequence[Any], columns: Sequence[Column]) -> dict[str, list[tuple[str, ...]]]:
    """Which cells hold the best value of their model, or tie with the one that does.

    Args:
        cells: :class:`harness.analysis.gains.Cell`, all of one table.
        columns: its columns; those count that say how two cells are compared.

    Returns:
        Column -> the cells' model, method, reward and steps: of the best and of those whose paired
        difference from it, in the column's own measure, holds 0 in its 95 % interval. A gain ties
        only with one over the same baseline.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for column in columns:
        if column.versus is None or not column.best:
            continue
        made = [column.of(cell) for cell in cells]
        sign = 1.0 if column.best == "highest" else -1.0
        best = best_of_each_model(cells, [sign * value.mean for value in made])
        own = found[column.name] = []
        for cell, value, top in zip(cells, made, best, strict=True):
            if top is None or (isinstance(value, Difference) and cell.base != cells[top].base):
                continue
            difference = compared(cell, top, column.versus)
            if cell.index == top or difference.low <= 0 <= difference.high:
                own.append(tuple(str(cell.identity(name)) for name in CELL))
    return found
