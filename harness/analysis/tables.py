"""What methods earn and cost: table 1, every method, and sweeps of an argument.

Tables are pure functions of frames. A table function takes the frames that it needs by the names
of their kinds (``scores``, ``images``, ``timings``, …: :mod:`harness.results.frames`) and its
arguments by keyword, and returns a DataFrame. It may live in any package; a declaration names it
as ``target``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import published
from harness.analysis.columns import Column
from harness.analysis.controls import gain, over_best
from harness.analysis.costs import (
    BACKBONE_PARAMS,
    BACKWARD_PASSES,
    END_TO_END,
    GENERATION,
    N_DISTURBED,
    N_TIMINGS,
    NFE,
    PARAMS,
    PEAK_MEMORY,
    REWARD_CALLS,
    notes,
    timed_at,
)
from harness.analysis.gains import (
    CORRECT,
    Metrics,
    correct,
    lay_out,
    metrics_of,
    scored,
    tabulate,
)
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import (
    CELL,
    PICTURE,
    SEED,
    FrameError,
    Paired,
    choose,
    require,
    stop_on,
)


def table1(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    batch_size: int | None = None,
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
    departures: Sequence[str] = (),
) -> pd.DataFrame:
    """The benchmark, cost and rewards of every model and method, and the gain over the base.

    Args:
        scores: score rows of one benchmark, with every metric for each image.
        images: the image rows that were scored.
        timings: timing rows of every model and method.
        models, methods: what to show, in this order, each method for each model; None shows
            all, by name and the baseline first.
        baseline: the method that gains are measured against, image by image.
        batch_size: the timings to show; None takes the largest that was timed.
        metric, judges: the benchmark's metric, and rewards next to the training reward
            (:func:`harness.analysis.gains.metrics_of`).
        departures: what keeps printed numbers away (:func:`harness.analysis.published.finished`).

    Returns:
        One row per model, method, reward and steps, and where the benchmark is the paper's the
        published numbers next to ours (:func:`harness.analysis.published.beside`). GenEval is in
        [0, 1], its mean the plain one of the six tasks; ``gain_<reward>`` are the paired
        gains of the training reward and of the judges; intervals are at 95 %, clustered by meaning
        (:mod:`harness.analysis.statistics`); p_holm is that of no gain, corrected for all gains of
        the table; generation_ms and end_to_end_ms are medians per image of n_timings calls, their
        intervals from order statistics and missing below six. In millions, params_m counts the
        whole pipeline and backbone_params_m, which the paper prints, the backbone, both with what
        is trained for the method.

    Raises:
        FrameError: a method or its baseline is missing, two methods have different images, a
            score is missing, double or not finite, an image belongs to no GenEval task, or a
            timing is missing. One message names all of it.
    """
    metrics = metrics_of(scores, metric, judges)
    columns = [published.WORLD, NFE, BACKBONE_PARAMS, PARAMS, GENERATION, END_TO_END, N_TIMINGS]
    columns += [N_DISTURBED]
    columns += [*scored(metrics, each_task=True, gain=True), *_reward_gains(metrics)]
    frames = {"scores": scores, "images": images, "timings": timings}
    shown = (models, methods, baseline, batch_size)
    return _compared("table1", columns, metrics, frames, *shown, departures)


def methods(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    trajectories: pd.DataFrame | None = None,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    batch_size: int | None = None,
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What every method earns and costs.

    Args:
        trajectories: trajectory rows of the methods that search.

    Other arguments, and errors, as for :func:`table1`.

    Returns:
        One row per model, method, reward and steps: table 1 without its tasks, and with
        reward_calls and backward_passes per image; peak_memory_mib, the largest of the shown
        timings, NaN where none was recorded; and failed_attempts, those of reward_calls that gave
        no image to score, mean per image: answers of a language model, say, without a new prompt
        in them. NaN without trajectories.
    """
    require(images, ("reward_calls", "backward_passes"), "images")
    require(timings, ("peak_memory_mib",), "timings")
    metrics = metrics_of(scores, metric, judges)
    columns = [GENERATION, END_TO_END, N_TIMINGS, N_DISTURBED, NFE, REWARD_CALLS, BACKWARD_PASSES]
    columns += [PEAK_MEMORY, BACKBONE_PARAMS, PARAMS, *scored(metrics, gain=True)]
    columns += _reward_gains(metrics)
    frames = {"scores": scores, "images": images, "timings": timings}
    if trajectories is not None:
        require(trajectories, (*CELL, *PICTURE, "value"), "trajectories")
        frames["trajectories"] = trajectories

    def failed(cell: Any) -> float:
        if trajectories is None:
            return math.nan
        rows = cell.rows.get("trajectories")
        if rows is None:
            # What makes no attempts fails in none.
            return 0.0
        image = [rows[name] for name in (SEED, *PICTURE)]
        return float(rows["value"].isna().groupby(image, dropna=False).sum().mean())

    columns += [Column("failed_attempts", failed, "attempts without an image, per image")]
    return _compared("", columns, metrics, frames, models, methods, baseline, batch_size)


def _reward_gains(metrics: Metrics) -> list[Column]:
    """The gains of all rewards with their intervals, and without p values: the family that Holm's
    method corrects is that of the benchmark's gains."""
    return [replace(gain(name, metrics.main), p_value="") for name in metrics.rewards]


def _compared(
    printed_as: str,
    columns: Sequence[Column],
    metrics: Metrics,
    frames: Mapping[str, pd.DataFrame],
    models: Sequence[str] | None,
    methods: Sequence[str] | None,
    baseline: str,
    batch_size: int | None,
    departures: Sequence[str] = (),
) -> pd.DataFrame:
    """The table of some columns, with published numbers if it is printed."""
    shown = (models, methods, baseline, batch_size)
    paired, table = compared(printed_as or "a table of methods", columns, metrics, frames, *shown)
    said = notes(table)
    return published.finished(table, printed_as, paired.benchmark, columns, said, departures)


def compared(
    what: str,
    columns: Sequence[Column],
    metrics: Metrics,
    frames: Mapping[str, pd.DataFrame],
    models: Sequence[str] | None,
    methods: Sequence[str] | None,
    baseline: str,
    batch_size: int | None,
) -> tuple[Paired, pd.DataFrame]:
    """The images of methods and their baseline laid out, and a table of some columns; arguments and
    errors, which name ``what``, are those of :func:`table1`."""
    shown = None if methods is None else [*methods, baseline]
    paired, faults = lay_out(frames["scores"], metrics, models, shown, frames["images"], baseline)
    timings, untimed = timed_at(frames["timings"], paired, batch_size)
    stop_on([*faults, *untimed], what)
    table = tabulate(paired, columns, baseline, {**frames, "timings": timings})
    by = ("model", "steps", "method", "reward")
    table = in_order(choose(table, None, methods), by, models, methods or [baseline])
    return paired, correct(table, baseline)


def sweep(
    scores: pd.DataFrame,
    *,
    values: Mapping[str, float | None],
    parameter: str = "learning_rate",
    models: Sequence[str] | None = None,
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The benchmark and rewards against an argument, for choosing it on validation prompts.

    Args:
        scores: score rows of one benchmark, with every metric for each image.
        values: method -> its value of the argument; None for a method without it, like base.
        parameter: name of the argument, which becomes a column; empty where methods or steps are
            compared and no argument.
        models: the models to show, in this order; all by name if None.
        metric, judges: as for :func:`table1`.

    Returns:
        One row per model, method, reward and steps, by rising value, those without one first:
        what identifies it, the value, n_images, n_prompts, the means of the benchmark
        (geneval_mean) and of every reward, each with its 95 % interval, and for each the paired
        difference from the model's best setting by the benchmark, ``over_best_<measure>``, with its
        interval and ``p_holm_over_best_<measure>``: what a choice among settings rests on.

    Raises:
        FrameError: a method is missing, or as in :func:`table1`.
    """
    if not values:
        raise FrameError("sweep: values are empty, must say each method's value")
    metrics = metrics_of(scores, metric, judges)
    paired, faults = lay_out(scores, metrics, models, list(values))
    stop_on(faults, "sweep")
    numbers = {name: math.nan if value is None else float(value) for name, value in values.items()}
    setting = Column(parameter, lambda c: numbers[c.identity("method")], "of the method")
    columns = [*([setting] if parameter else []), *scored(metrics), *over_best(metrics)]
    table = correct(tabulate(paired, columns, best_by=metric), "")
    settings = [table[parameter].fillna(-np.inf)] if parameter else []
    table = in_order(table, ("model", "steps", *settings, "method"), models)
    return published.finished(table, "", paired.benchmark, columns)


def ablation(
    scores: pd.DataFrame,
    *,
    baseline: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What each change of a method is worth: paired gains over the method without it.

    Args:
        scores: score rows of one benchmark, with every metric for each image.
        baseline: the unchanged method.
        models, methods: what to show, in this order; all by name if None.
        metric, judges: as for :func:`table1`.

    Returns:
        One row per model and method, the baseline first: what identifies it, sizes, the means of
        the benchmark and of every reward, and the gains ``gain_<measure>`` over the baseline on the
        same images with their 95 % intervals and ``p_holm_<measure>``, corrected for all gains of
        the table.

    Raises:
        FrameError: as in :func:`table1`.
    """
    metrics = metrics_of(scores, metric, judges)
    paired, faults = lay_out(scores, metrics, models, methods, None, baseline)
    stop_on(faults, "an ablation")
    columns = [*scored(metrics), *(gain(name, metric) for name in metrics.names)]
    table = correct(tabulate(paired, columns, baseline), baseline)
    is_changed = table["method"].ne(baseline)
    table = in_order(table, ("model", "steps", is_changed, "method"), models, methods)
    return published.finished(table, "", paired.benchmark, columns)
