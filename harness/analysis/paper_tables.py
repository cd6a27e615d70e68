"""The paper's tables 2, 5, 6, 8, 9 and 10: one benchmark against sampling steps, or LoRA rank.

Pure functions of frames, like those of :mod:`harness.analysis.tables`. All show which images they
are made of as ``runs``: method -> its sampling steps. They differ in what they measure on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.analysis import published
from harness.analysis.interval_columns import columns_of, in_order
from harness.analysis.pairing import (
    CELL,
    Flags,
    FrameError,
    Integers,
    Paired,
    baselines,
    missing,
    pair,
    rank,
    require,
    stop_on,
    without_baseline,
)
from harness.analysis.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    paired_difference,
    task_mean_interval,
)
from harness.analysis.tables import (
    CORRECT,
    codes_of,
    finished,
    not_geneval,
)
from harness.experiment.components import RANK_INFIX

Runs = Mapping[str, Sequence[int]]
Ranks = Mapping[str, Mapping[str, int]]


class Measure(NamedTuple):
    """One column of scores, with its interval and its gain over the baseline.

    Attributes:
        column: its name.
        ending: of the gain's columns, where a table has several measures.
        tasks: the tasks whose images count; None for all.
        is_task_mean: whether it is the plain mean of the tasks' means, or the mean of all images.
    """

    column: str
    ending: str = ""
    tasks: tuple[str, ...] | None = None
    is_task_mean: bool = False


def geneval(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    printed_as: str,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks | None = None,
    baseline: str = "base",
) -> pd.DataFrame:
    """GenEval of methods at their sampling steps: tables 2, 8, 9 and 10.

    Args:
        scores: score rows of one benchmark with GenEval's verdicts.
        images: the image rows that were scored.
        printed_as: the paper's table that this one is compared with.
        runs: method -> its sampling steps: exactly the rows, methods in this order, variants of a
            LoRA rank by their rank.
        models: the models to show, in this order.
        ranks: model -> method -> LoRA rank of what is trained for it; others have none.
        baseline: the method that gains are measured against, at the same steps, image by image.

    Returns:
        One row per model, method and steps: what identifies it, world, lora_rank, nfe, n_images,
        n_prompts, geneval_mean in [0, 1] with its 95 % interval, gain_over_base with its own and
        p_holm, and published numbers where there are any
        (:func:`harness.analysis.published.beside`).

    Raises:
        FrameError: a run or its baseline is missing, or a score is missing, double, not finite or
            no verdict of GenEval's. One message names all of it.
    """
    measures = [Measure("geneval_mean", is_task_mean=True)]
    return _table(scores, images, CORRECT, measures, printed_as, runs, models, ranks, baseline)


def compbench(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    metric: str,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks | None = None,
    baseline: str = "base",
    printed_as: str = "table5",
) -> pd.DataFrame:
    """T2I-CompBench's categories by sampling steps: table 5; arguments of :func:`geneval`.

    Args:
        metric: the metric of the scores, in [0, 1]; each of the benchmark's tasks is a column,
            ``t2i_compbench_<task>``, and has a gain, ``gain_<task>``, and a ``p_holm_<task>``.
    """
    require(scores, ("task",), "scores")
    tasks = sorted(scores["task"].unique())
    measures = [Measure(f"t2i_compbench_{task}", f"_{task}", (task,)) for task in tasks]
    return _table(scores, images, metric, measures, printed_as, runs, models, ranks, baseline)


def dpg(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    metric: str,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks | None = None,
    baseline: str = "base",
    printed_as: str = "table6",
) -> pd.DataFrame:
    """DPG-Bench by sampling steps: table 6; arguments of :func:`geneval`.

    Args:
        metric: the metric of the scores, in [0, 100]; its mean over images has its name, so that
            only what counts as the published scorer does has published numbers beside it.
    """
    measures = [Measure(metric)]
    return _table(scores, images, metric, measures, printed_as, runs, models, ranks, baseline)


def _table(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    metric: str,
    measures: Sequence[Measure],
    printed_as: str,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks | None,
    baseline: str,
) -> pd.DataFrame:
    paired, faults = _laid_out(scores, images, metric, runs, models, baseline)
    stop_on(faults, printed_as)
    against = baselines(paired.cells, baseline)
    measured = pd.DataFrame(
        [_row(paired, metric, measures, cell, base) for cell, base in enumerate(against)]
    )
    _correct(measured, measures, paired.cells["method"] == baseline)
    spent = images.groupby(list(CELL), as_index=False)["nfe"].mean()
    table = paired.cells.merge(spent, on=list(CELL))
    table.insert(len(CELL), "lora_rank", _ranks(table, ranks or {}))
    table.insert(len(CELL), "world", published.world(paired.benchmark))
    table = pd.concat([table, measured], axis=1)
    best = [name for m in measures for name in (m.column, _gain(m)[0])]
    ordered = in_order(table, _order(table, models, runs))
    return finished(ordered, printed_as, paired.benchmark, best)


def _order(table: pd.DataFrame, models: Sequence[str], runs: Runs) -> list[pd.Series[Any]]:
    # As text, a rank of 32 would stand before one of 4.
    families = table["method"].map(lambda name: name.partition(RANK_INFIX)[0])
    return [
        rank(table["model"], models),
        rank(families, [name.partition(RANK_INFIX)[0] for name in runs]),
        table["lora_rank"].fillna(0),
        rank(table["method"], list(runs)),
        table["steps"],
    ]


def _laid_out(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    metric: str,
    runs: Runs,
    models: Sequence[str],
    baseline: str,
) -> tuple[Paired, list[str]]:
    """The runs' rows laid out, with all that is wrong with them."""
    require(scores, (*CELL, "metric"), "scores")
    require(images, (*CELL, "nfe"), "images")
    chosen, made = (_of_runs(frame, runs, models) for frame in (scores, images))
    faults = _missing(chosen[list(CELL)].drop_duplicates(), runs, models)
    if chosen.empty:
        raise FrameError("\n- ".join(["scores hold none of the runs:", *faults]))
    paired, found = pair(chosen, [metric], made, baseline)
    faults += found + without_baseline(paired.cells, baseline)
    if metric == CORRECT:
        faults += not_geneval(paired)
    several = sorted(paired.pictures["benchmark"].unique())
    if metric != CORRECT and len(several) > 1:
        faults.append(f"one benchmark per table, these are {', '.join(several)}")
    return paired, faults


def _of_runs(frame: pd.DataFrame, runs: Runs, models: Sequence[str]) -> pd.DataFrame:
    chosen = np.zeros(len(frame), dtype=bool)
    for method, counts in runs.items():
        is_run = (frame["method"] == method) & frame["steps"].isin(list(counts))
        chosen |= is_run.to_numpy(dtype=bool)
    return frame[chosen & frame["model"].isin(list(models)).to_numpy()]


def _missing(cells: pd.DataFrame, runs: Runs, models: Sequence[str]) -> list[str]:
    """A line for each run that has no rows; names that are nowhere are unknown ones."""
    faults = missing(cells, models, list(runs))
    have = set(zip(cells["model"], cells["method"], cells["steps"], strict=True))
    named = {(model, method) for model, method, _ in have}
    return faults + [
        f"no rows of method {method!r} for model {model!r} at steps {steps}"
        for model, method in ((model, method) for model in models for method in runs)
        for steps in runs[method]
        if (model, method) in named and (model, method, steps) not in have
    ]


def _row(
    paired: Paired, metric: str, measures: Sequence[Measure], cell: int, base: int | None
) -> dict[str, float]:
    values = paired.scores[metric][cell]
    have = ~np.isnan(values)
    prompts = paired.pictures["prompt_id"]
    row: dict[str, float] = {"n_images": int(have.sum()), "n_prompts": prompts[have].nunique()}
    for measure in measures:
        rows = have & _in_tasks(paired, measure.tasks)
        groups = _groups(paired, rows, measure)
        own = values[rows]
        row |= columns_of(_value(own, *groups, measure), measure.column)
        if base is not None:
            other = paired.scores[metric][base][rows]
            gain = paired_difference(own, other, *groups)
            row |= columns_of(gain, *_gain(measure))
            row[f"p_holm{measure.ending}"] = gain.p_value
    return row


def _in_tasks(paired: Paired, tasks: Sequence[str] | None) -> Flags:
    names = paired.pictures["task"]
    chosen: Flags = (names.isin(list(tasks)) if tasks else names.notna()).to_numpy()
    return chosen


def _groups(paired: Paired, rows: Flags, measure: Measure) -> tuple[Integers, Integers]:
    """The task and the prompt of each image, by number; one task where tasks do not count."""
    prompts = codes_of(paired.pictures["prompt_id"][rows])
    tasks = codes_of(paired.pictures["task"][rows])
    return (tasks if measure.is_task_mean else np.zeros_like(prompts)), prompts


def _value(values: Any, tasks: Integers, prompts: Integers, measure: Measure) -> Interval:
    if measure.is_task_mean:
        return task_mean_interval(values, tasks, prompts)
    return bootstrap_interval(values, prompts)


def _gain(measure: Measure) -> tuple[str, str]:
    """The name of a measure's gain, and the stem of its bounds."""
    return (f"gain{measure.ending}" if measure.ending else "gain_over_base"), (
        f"gain{measure.ending}"
    )


def _correct(measured: pd.DataFrame, measures: Sequence[Measure], of_base: pd.Series[bool]) -> None:
    """Correct the p values of all gains together; the baseline's own is no test."""
    names = [f"p_holm{measure.ending}" for measure in measures]
    raw = measured[names].copy()
    raw.loc[of_base.to_numpy()] = np.nan
    measured[names] = np.reshape(holm(raw.to_numpy().ravel().tolist()), raw.shape)


def _ranks(cells: pd.DataFrame, ranks: Ranks) -> pd.Series[Any]:
    pairs = zip(cells["model"], cells["method"], strict=True)
    found = [ranks.get(model, {}).get(method) for model, method in pairs]
    return pd.Series(found, index=cells.index, dtype="Int64")
