"""Methods at equal seconds: what each reaches within a multiple of the base's time.

At equal numbers of images or passes a method with a gradient seems cheaper than it is, and one that
scores images costs nothing for that. Here a method has the seconds that its whole call takes,
rewards and gradients inside, and a search is shown with as much work as they allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.analysis import published
from harness.analysis.call_times import GENERATION_MS
from harness.analysis.columns import Column
from harness.analysis.costs import (
    BACKWARD_PASSES,
    GENERATION,
    N_DISTURBED,
    N_TIMINGS,
    NFE,
    REWARD_CALLS,
    notes,
)
from harness.analysis.gains import CORRECT, metrics_of, scored, stem_of, tabulate
from harness.analysis.interval_columns import CI_HIGH, CI_LOW
from harness.analysis.pairing import CELL, FrameError, Paired, require
from harness.analysis.tables import compared
from harness.analysis.training_seeds import FIRST_NOTES
from harness.experiment.variants import Variant

#: Budgets, as multiples of the base's time.
BUDGETS = (1, 2, 4, 8, 16, 32, 64)
FAMILY, BUDGET = "family", "budget"


def equal_seconds(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    budgets: Sequence[float] = BUDGETS,
    batch_size: int | None = None,
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The benchmark and rewards of every method at equal seconds.

    A method that is there with several amounts of work (``best_of_n:n=2``, ``best_of_n:n=4``) is
    one family. At each budget it is shown with the largest amount that fits, whatever that earns:
    a choice by the scores would favour methods with many amounts.

    Args:
        budgets: multiples of the baseline's generation time, above 0.

    Other arguments, and errors, as for :func:`harness.analysis.tables.table1`.

    Returns:
        Per model and budget a row for each family that fits: what identifies it, ``family``,
        ``budget``, ``budget_ms`` per image, generation_ms with its interval, nfe, reward_calls,
        backward_passes, n_images, n_prompts, the benchmark's mean, its gain over the base and the
        means of rewards; ``over_best``, how far its mean of the benchmark is above that of the best
        family there (0 for that one, below it for others), paired image by image, with its
        interval; and ``is_level``, whether that interval holds 0. A time fits if its interval
        reaches into the budget's, which is the multiple of the base's.

    Raises:
        FrameError: a budget is not above 0, or as said.
    """
    if faulty := [budget for budget in budgets if not budget > 0]:
        raise FrameError(f"equal seconds: budget {faulty[0]!r} must be above 0")
    require(images, ("reward_calls", "backward_passes"), "images")
    metrics = metrics_of(scores, metric, judges)
    columns = [_OF_FAMILY, GENERATION, N_TIMINGS, N_DISTURBED, NFE, REWARD_CALLS, BACKWARD_PASSES]
    # Which value is a model's best says nothing where budgets differ; over_best does.
    columns += [replace(c, best="", versus=None) for c in scored(metrics, gain=True)]
    frames = {"scores": scores, "images": images, "timings": timings}
    shown = (models, None if methods is None else [baseline, *methods], baseline, batch_size)
    paired, whole = compared("methods at equal seconds", columns, metrics, frames, *shown)
    fitting = (_fitting(own, baseline, budgets) for _, own in whole.groupby("model", sort=False))
    table = _over_best(pd.DataFrame([row for rows in fitting for row in rows]), paired, metric)
    table.attrs[FIRST_NOTES] = whole.attrs[FIRST_NOTES]
    amounts = whole.groupby(FAMILY, sort=False)["method"].unique()
    tried = "; ".join(", ".join(own) for own in amounts if len(own) > 1)
    said = [
        *notes(table),
        "A budget is a multiple of the base's generation_ms, and a family is shown with the most "
        f"work that fits it, whatever that earns. Amounts that were tried: {tried or 'one each'}.",
        "over_best: less the mean of the best family of that budget, paired on the same noise. "
        "That one was chosen and measured on the same images, which flatters it a little.",
    ]
    made = published.finished(table, "", paired.benchmark, columns, said)
    made.attrs["columns"] |= _MEANINGS
    return made


_MEANINGS = {
    BUDGET: {"meaning": "multiple of the base's generation time"},
    "budget_ms": {"meaning": "that multiple, per image", "unit": "ms"},
    "over_best": {"meaning": "mean less that of the best family of the budget, image by image"},
    "is_level": {"meaning": "whether the interval of over_best holds 0"},
}
_OF_FAMILY = Column(
    FAMILY,
    lambda c: Variant.parse(c.identity("method")).name,
    "the method, whatever its amount of work",
)


def _fitting(
    own: pd.DataFrame, baseline: str, budgets: Sequence[float]
) -> Iterator[Mapping[str, Any]]:
    """For each budget the row of each family of a model that does the most work within it."""
    (base,) = own[own["method"] == baseline].to_dict("records")
    least = own[f"{GENERATION_MS}{CI_LOW}"].fillna(own[GENERATION_MS])
    high = base[f"{GENERATION_MS}{CI_HIGH}"]
    most = base[GENERATION_MS] if pd.isna(high) else high
    for budget in budgets:
        fits = own[least <= budget * most]
        last = fits.sort_values(GENERATION_MS).groupby(FAMILY, sort=False).tail(1)
        budget_ms = budget * base[GENERATION_MS]
        for row in last.sort_index().to_dict("records"):
            first = {"model": row["model"], BUDGET: budget, "budget_ms": budget_ms}
            yield {**first, FAMILY: row[FAMILY], **row}


def _over_best(table: pd.DataFrame, paired: Paired, metric: str) -> pd.DataFrame:
    """The table with each family's difference to the best one of its budget."""
    mean = f"{stem_of(metric)}_mean"
    best = table.groupby(["model", BUDGET])[mean].transform("idxmax")
    key = list(CELL)
    gaps = {}
    for method in table.loc[best.unique(), "method"].unique():
        column = Column("over_best", lambda c: c.gain(metric, by_task=True))
        gaps[method] = tabulate(paired, [column], str(method)).set_index(key)
    found = [
        gaps[table.loc[top, "method"]].loc[tuple(row)]
        for top, row in zip(best, table[key].to_numpy(dtype=object), strict=True)
    ]
    gap = pd.DataFrame([row.to_dict() for row in found], index=table.index)
    low, high = gap[f"over_best{CI_LOW}"], gap[f"over_best{CI_HIGH}"]
    return table.join(gap).assign(is_level=(low <= 0) & (high >= 0))
