"""Which share of a search's gain other methods have: "half of what Best-of-50 gains".

A share of two gains that are measured on the same prompts and noise has Fieller's (1954) interval:
all shares at which the gain, less that share of the search's gain, is not told from 0. It is that
of a paired difference, so clusters, tasks and training seeds enter as they do everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq  # type: ignore[import-untyped]

from harness.analysis import published
from harness.analysis.cluster_robust import check_length, numbers_of, quantile, task_mean
from harness.analysis.columns import Column
from harness.analysis.controls import gain
from harness.analysis.gains import (
    CORRECT,
    Cell,
    correct,
    gain_over_base,
    lay_out,
    metrics_of,
    seed_sd,
    sizes,
    tabulate,
)
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import CELL, choose, require, stop_on
from harness.analysis.seed_variance import with_seeds
from harness.analysis.statistics import NO_INTERVAL, Interval


def recovered_gain(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The gains of every method, and the shares of each search's gain that they are.

    Args:
        scores: score rows of one benchmark, with every metric for each image.
        images: the image rows that were scored. A search is what asks the reward for its images.
        models, methods, baseline, metric, judges: as for :func:`harness.analysis.tables.table1`.

    Returns:
        One row per model, method, reward and steps but for the baseline: sizes, gain_over_base of
        the benchmark's mean with its interval and p_holm, its standard deviation over training
        seeds, gains of the rewards, and ``share_of_<search>``, the gain over the search's, with
        Fieller's 95 % interval. The search has the row's own reward. The interval is missing where
        the search's gain is not told from 0, and the share where it is the search's own or another
        tool's images are in it.

    Raises:
        FrameError: as for :func:`harness.analysis.tables.table1`.
    """
    require(images, (*CELL, "reward_calls"), "images")
    metrics = metrics_of(scores, metric, judges)
    shown = None if methods is None else [*methods, baseline]
    paired, faults = lay_out(scores, metrics, models, shown, images, baseline)
    stop_on(faults, "recovered gains")
    calls = choose(images, models, methods).groupby("method")["reward_calls"].max()
    ordered = [name for name in methods or list(calls.index) if calls.get(name, 0) > 0]
    columns = [
        *sizes(metric),
        gain_over_base(metric),
        seed_sd("gain", metric, gain=True),
        *(replace(gain(name, metric), p_value="") for name in metrics.rewards),
        *(_share_of(search, metric) for search in ordered),
    ]
    table = correct(tabulate(paired, columns, baseline), baseline)
    first_notes = dict(table.attrs)
    table = in_order(
        table[table["method"] != baseline], ("model", "steps", "method", "reward"), models, methods
    )
    table.attrs |= first_notes
    notes = [
        "share_of_…: the gain over the base as a share of that search's gain, in the mean that "
        "gain_over_base is of; the interval is Fieller's, of a ratio of paired gains."
    ]
    return published.finished(table, "", paired.benchmark, columns, notes)


def share_interval(
    gains: npt.ArrayLike,
    others: npt.ArrayLike,
    tasks: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    seeds: npt.ArrayLike | None = None,
) -> Interval:
    """What share of one gain another is, both on the same prompts and noise.

    Args:
        gains: [n] finite numbers, each an image's gain over the baseline.
        others: [n] the gains of the other method on the same images.
        tasks, clusters, level, seeds: as for :func:`harness.analysis.statistics.paired_difference`.

    Returns:
        The ratio of the plain means over tasks and Fieller's interval; NaN bounds where the other
        gain's own t interval does not lie above 0, since any share would then do.

    Raises:
        ValueError: as for :func:`harness.analysis.statistics.paired_difference`.
    """
    own, theirs = numbers_of(gains, "gains"), numbers_of(others, "others")
    check_length(len(theirs), len(own), "others")

    def bound(share: float, sign: int) -> float:
        left = own - share * theirs
        total, freedom = with_seeds(*task_mean(left, tasks, clusters), left, tasks, seeds)
        if math.isnan(total.variance):
            return math.nan
        return total.mean + sign * quantile(freedom, level) * math.sqrt(total.variance)

    whole = task_mean(own, tasks, clusters)[0]
    total, freedom = with_seeds(*task_mean(theirs, tasks, clusters), theirs, tasks, seeds)
    ratio = whole.mean / total.mean if total.mean else math.nan
    unknown = Interval(ratio, math.nan, math.nan, len(own), whole.clusters)
    reach = quantile(freedom, level) * math.sqrt(total.variance)
    # Not so where the variance is NaN, either.
    if not total.mean > reach:
        return unknown
    low, high = (_crossing(bound, ratio, sign) for sign in (-1, 1))
    return unknown if math.isnan(low + high) else unknown._replace(low=low, high=high)


def _crossing(bound: Callable[[float, int], float], ratio: float, sign: int) -> float:
    """The share on one side of the ratio at which that bound of what is left over is 0."""
    step, inner = 0.25, bound(ratio, sign)
    while True:
        outer = bound(ratio + sign * step, sign)
        if math.isnan(inner) or math.isnan(outer):
            return math.nan
        if inner * outer <= 0:
            return float(brentq(bound, ratio, ratio + sign * step, args=(sign,)))
        step *= 2
        if step > 1e9:
            # The other gain, with its training seeds, is not told from 0 after all.
            return math.nan


def _share_of(search: str, metric: str) -> Column:
    """The column with the share of a search's gain."""

    def share(cell: Cell) -> Interval:
        cells = cell.paired.cells
        alike = [cells[name] == cell.identity(name) for name in CELL if name != "method"]
        found = cells.index[np.logical_and.reduce([*alike, cells["method"] == search])].tolist()
        if found == [cell.index] or not _are_paired(cell, found):
            return NO_INTERVAL
        own = cell.gains_beside(found[0], metric)
        return share_interval(*own[:4], seeds=own.seeds)

    said = f"gain over the base, as a share of that of {search}"
    return Column(f"share_of_{search}", share, said, form="measured")


def _are_paired(cell: Cell, others: list[int]) -> bool:
    """Whether there is one other cell, from the same noise, with the same networks or with one."""
    if len(others) != 1 or not (cell.is_paired and replace(cell, base=others[0]).is_paired):
        return False
    own, theirs = (set(cell.paired.seeds_of(index)) for index in (cell.index, others[0]))
    return len(theirs) < 2 or bool(own and own <= theirs)
