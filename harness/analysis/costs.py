"""What a cell's timings say: columns that tables share, and faults of the timings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from harness.analysis.call_times import END_TO_END_MS, GENERATION_MS, whole_calls
from harness.analysis.columns import Column
from harness.analysis.pairing import CELL, Paired, double_or_broken, examples, name_cell, require
from harness.analysis.statistics import Interval, median_interval
from harness.results.stage_names import STEADY

NOTE = (
    "generation_ms, from encoded prompts, and end_to_end_ms, from texts: medians of n_timings "
    "calls, per image; their intervals are from order statistics, and there are none below six "
    "timings. n_disturbed of these calls were made while other work slowed a fixed piece of work "
    f"by more than {STEADY:.0%}."
)

#: What is wrong with some times of a table, before their rows.
BUSY = "Times of a busy machine, which are too large where that holds for half of the calls or more"


def notes(table: pd.DataFrame) -> tuple[str, ...]:
    """What is said below a table of times: how they were taken, and which are too large."""
    if N_DISTURBED.name not in table or not (table[N_DISTURBED.name] > 0).any():
        return (NOTE,)
    busy = table[table[N_DISTURBED.name] > 0]
    each = [
        f"{row['model']} {row['method']} ({row[N_DISTURBED.name]:.0f} of {row['n_timings']:.0f})"
        for row in busy.to_dict("records")
    ]
    return (NOTE, f"{BUSY}: {examples(list(dict.fromkeys(each)))}.")


def n_disturbed(calls: pd.DataFrame) -> float:
    """How many calls other work slowed down; NaN for those of before that was measured."""
    known = calls["slowdown"].dropna() if "slowdown" in calls else calls.iloc[:0]
    return float((known.to_numpy() > STEADY).sum()) if len(known) else math.nan


def _timed(of: Callable[[pd.DataFrame], Any], else_: Any = math.nan) -> Callable[[Any], Any]:
    """What a cell's timings say; images that other tools made have none: nobody timed them here."""
    return lambda c: of(c.rows["timings"]) if "timings" in c.rows else else_


def _median_time(name: str, start: str) -> Column:
    none = Interval(math.nan, math.nan, math.nan, 0, 0)
    median = _timed(lambda timings: median_interval(timings[name]), none)
    return Column(name, median, f"median time of an image from {start}", "ms")


def _per_image(name: str, meaning: str) -> Column:
    return Column(name, lambda c: c.rows["images"][name].mean(), f"{meaning} per image")


GENERATION = _median_time(GENERATION_MS, "encoded prompts")
END_TO_END = _median_time(END_TO_END_MS, "texts")
NFE = _per_image("nfe", "backbone passes")
REWARD_CALLS = _per_image("reward_calls", "images scored")
BACKWARD_PASSES = _per_image("backward_passes", "gradients")
N_TIMINGS = Column("n_timings", _timed(len, 0), "calls that were timed")
N_DISTURBED = Column(
    "n_disturbed", _timed(n_disturbed), "calls that were timed while other work slowed the machine"
)
PARAMS = Column(
    "params_m",
    _timed(lambda timings: timings["params_m"].iloc[0]),
    "parameters of the whole pipeline and of what is trained for the method",
    "millions",
)
#: What the paper prints as parameters.
BACKBONE_PARAMS = Column(
    "backbone_params_m",
    _timed(lambda timings: timings["backbone_params_m"].iloc[0]),
    "parameters of the backbone and of what is trained for the method",
    "millions",
)
PEAK_MEMORY = Column(
    "peak_memory_mib",
    _timed(lambda timings: timings["peak_memory_mib"].max()),
    "largest of all calls",
    "MiB",
)


def at_batch_size(timings: pd.DataFrame, batch_size: int | None) -> pd.DataFrame:
    """The timings of one batch size; None takes the largest that was timed."""
    require(timings, (*CELL, "batch_size"), "timings", may_be_empty=True)
    size = timings["batch_size"].max() if batch_size is None else batch_size
    return timings[timings["batch_size"] == size]


def timed_at(
    timings: pd.DataFrame, paired: Paired, batch_size: int | None
) -> tuple[pd.DataFrame, list[str]]:
    """The cells' whole calls at a batch size, and a line for each cell without or unlike ones.

    Images of other tools have none.
    """
    cells = paired.cells[~paired.are_foreign]
    own = whole_calls(timings).merge(cells, on=list(CELL))
    rows = at_batch_size(own, batch_size)
    sizes = ", ".join(map(str, sorted(own["batch_size"].unique()))) or "none"
    size = own["batch_size"].max() if batch_size is None else batch_size
    at = "" if pd.isna(size) else f" at batch size {size} (timed: {sizes})"
    n_params = rows.groupby(list(CELL))["params_m"].nunique()
    faults = []
    for index in cells.index:
        n = n_params.get(tuple(cells.loc[index, list(CELL)]))
        if n is None:
            faults.append(f"{name_cell(cells.loc[index])}: no timing{at}")
        elif n > 1:
            faults.append(f"{name_cell(cells.loc[index])}: params_m differs")
    threads = sorted(rows["threads"].unique())
    if len(threads) > 1:
        faults.append(f"timings on {', '.join(map(str, threads))} threads cannot be compared")
    for time in (GENERATION_MS, END_TO_END_MS):
        faults += double_or_broken(rows, [*CELL, "repeat"], time)
    return rows, faults
