"""Tables: pure functions of frames.

A table function takes the frames that it needs by the names of their kinds (``scores``,
``images``, ``timings``, …: :mod:`harness.results.frames`) and its arguments by keyword, and
returns a DataFrame. It may live in any package; a declaration names it as ``target``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.analysis import published
from harness.analysis.call_times import END_TO_END_MS, GENERATION_MS, whole_calls
from harness.analysis.interval_columns import columns_of, in_order, with_interval
from harness.analysis.pairing import (
    CELL,
    FrameError,
    Integers,
    Paired,
    baselines,
    choose,
    examples,
    missing,
    name_cell,
    pair,
    rank,
    require,
    stop_on,
    without_baseline,
)
from harness.analysis.statistics import (
    NO_INTERVAL,
    bootstrap_interval,
    holm,
    median_interval,
    paired_difference,
    proportion_interval,
    task_mean_interval,
)
from harness.benchmarks.geneval import TASKS

#: The metrics (:data:`harness.results.frames.METRICS`) that tables are made of.
CORRECT, TRAIN, JUDGE = "geneval_correct", "train_reward", "judge_reward"


TABLE1_COLUMNS = (
    *CELL,
    "world",
    "nfe",
    "params_m",
    *with_interval(GENERATION_MS),
    *with_interval(END_TO_END_MS),
    "n_timings",
    "n_images",
    "n_prompts",
    *with_interval("geneval_mean"),
    *(column for task in TASKS for column in with_interval(f"geneval_{task}")),
    *with_interval("gain_over_base", "gain"),
    "p_holm",
    *with_interval("train_reward_mean"),
    *with_interval("judge_reward_mean"),
)
_TIMES = (GENERATION_MS, END_TO_END_MS)
_COST = (*(c for time in _TIMES for c in with_interval(time)), "n_timings", "params_m", "n_params")
_TIMES_NOTE = (
    "generation_ms, from encoded prompts, and end_to_end_ms, from texts: medians of n_timings "
    "calls, per image; their intervals are from order statistics, and there are none below six "
    "timings."
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
) -> pd.DataFrame:
    """GenEval, cost and rewards of every model and method, and the paired gain over the base.

    Args:
        scores: score rows of one benchmark, with all three metrics for each image.
        images: the image rows that were scored.
        timings: timing rows of every model and method.
        models, methods: what to show, in this order, each method for each model; None shows
            all, by name and the baseline first.
        baseline: the method that gains are measured against, image by image.
        batch_size: the timings to show; None takes the largest that was timed.

    Returns:
        One row per model, method, reward and steps, with :data:`TABLE1_COLUMNS`, and where the
        benchmark is the paper's the published numbers beside ours
        (:func:`harness.analysis.published.beside`). GenEval is in [0, 1], its mean the plain one
        of the six
        tasks; intervals are at 95 %, clustered by prompt (:mod:`harness.analysis.statistics`);
        p_holm is
        that of no gain, corrected for all gains of the table; generation_ms and end_to_end_ms are
        medians per image of n_timings calls, their intervals from order statistics and missing
        below six; params_m in millions.

    Raises:
        FrameError: a method or its baseline is missing, two methods have different images, a
            score is missing, double or not finite, an image belongs to no GenEval task, or a
            timing is missing. One message names all of it.
    """
    shown = None if methods is None else [*methods, baseline]
    paired, faults = _pair(scores, models, shown, images, baseline)
    faults += without_baseline(paired.cells, baseline)
    costs, cost_faults = _costs(paired.cells, timings, batch_size)
    stop_on([*faults, *cost_faults], "table1")
    nfe = images.groupby(list(CELL), as_index=False)["nfe"].mean()
    against = baselines(paired.cells, baseline)
    measured = pd.DataFrame([_measures(paired, cell, base) for cell, base in enumerate(against)])
    table = pd.concat([paired.cells, costs, measured], axis=1).merge(nfe, on=list(CELL))
    kept = choose(table, None, methods)
    order = [rank(kept["model"], models), kept["steps"]]
    order += [rank(kept["method"], methods or [baseline]), kept["reward"]]
    made = in_order(kept, order).assign(world=published.world(paired.benchmark))
    made["p_holm"] = holm(made["p_holm"].where(made["method"] != baseline).to_list())
    best = ["geneval_mean", *(f"geneval_{task}" for task in TASKS), "gain_over_base"]
    best += ["train_reward_mean", "judge_reward_mean"]
    table = finished(made[list(TABLE1_COLUMNS)], "table1", paired.benchmark, best)
    table.attrs["notes"] = [_TIMES_NOTE, *table.attrs["notes"]]
    return table


def finished(table: pd.DataFrame, name: str, benchmark: str, best: Sequence[str]) -> pd.DataFrame:
    """A table with published numbers beside ours, and what its files say below it.

    Args:
        table: as for :func:`harness.analysis.published.beside`.
        name: of the published table.
        benchmark: whose images it is about.
        best: columns, higher is better, in which each model's best value is marked.
    """
    table = published.beside(table, name, benchmark)
    table.attrs = {
        "notes": published.notes(table, benchmark),
        "best": dict.fromkeys(best, "highest"),
    }
    return table


def sweep(
    scores: pd.DataFrame,
    *,
    values: Mapping[str, float | None],
    parameter: str = "learning_rate",
    models: Sequence[str] | None = None,
) -> pd.DataFrame:
    """GenEval and rewards against a hyper-parameter, for choosing it on validation prompts.

    Args:
        scores: score rows of one benchmark, with all three metrics for each image.
        values: method -> its value of the parameter; None for a method without it, like base.
        parameter: name of the parameter, which becomes a column; empty where methods or steps are
            compared and no parameter.
        models: the models to show, in this order; all by name if None.

    Returns:
        One row per model, method, reward and steps, by rising value, those without one first:
        what identifies it, the value, n_images, n_prompts, geneval_mean, train_reward_mean and
        judge_reward_mean, each with its 95 % interval.

    Raises:
        FrameError: a method is missing, or as in :func:`table1`.
    """
    if not values:
        raise FrameError("sweep: values are empty, must say each method's value")
    paired, faults = _pair(scores, models, list(values), None, None)
    stop_on(faults, "sweep")
    measured = pd.DataFrame([_measures(paired, cell, None) for cell in paired.cells.index])
    numbers = {name: np.nan if value is None else float(value) for name, value in values.items()}
    settings = [paired.cells["method"].map(numbers).rename(parameter)] if parameter else []
    table = pd.concat([paired.cells, *settings, measured], axis=1)
    order = [rank(table["model"], models), table["steps"]]
    order += [*(setting.fillna(-np.inf) for setting in settings), table["method"]]
    of_tasks = [column for task in TASKS for column in with_interval(f"geneval_{task}")]
    table = in_order(table, order).drop(columns=of_tasks)
    table.attrs = {"notes": published.notes(table, paired.benchmark)}
    return table


def curve(
    training: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    reward: str | None = None,
) -> pd.DataFrame:
    """Rewards of the validation prompts during training.

    Args:
        training: training rows; those of kind ``validation`` are used.
        models, methods: what to show, in this order; all by name if None.
        reward: the training reward to show; all if None.

    Returns:
        Rows with model, method, reward, step, sorted by these, and for each value that was
        measured its column ``validation_<name>``, NaN where a training did not measure it.

    Raises:
        FrameError: there is no such training, or a value is double or not finite.
    """
    key = ["model", "method", "reward", "step"]
    require(training, [*key, "kind", "name", "value"], "training")
    rows = training[training["kind"] == "validation"]
    faults = missing(rows, models, methods)
    known = sorted(rows["reward"].unique())
    if reward is not None and reward not in known:
        faults.append(f"no training on reward {reward!r} (there: {', '.join(known) or 'none'})")
    rows = choose(rows, models, methods)
    rows = rows if reward is None else rows[rows["reward"] == reward]
    faults += _double_or_broken(rows, [*key, "name"])
    if rows.empty and not faults:
        faults.append("training has no validation rows")
    stop_on(faults, "curve")
    wide = rows.pivot(index=key, columns="name", values="value").sort_index(axis=1)
    table = wide.add_prefix("validation_").rename_axis(columns=None).reset_index()
    order = [rank(table["model"], models), rank(table["method"], methods)]
    return in_order(table, [*order, table["reward"], table["step"]])


def _pair(
    scores: pd.DataFrame,
    models: Sequence[str] | None,
    methods: Sequence[str] | None,
    images: pd.DataFrame | None,
    baseline: str | None,
) -> tuple[Paired, list[str]]:
    """The chosen rows laid out, with all that is wrong with them as GenEval results."""
    require(scores, CELL, "scores")
    if images is not None:
        require(images, (*CELL, "nfe"), "images")
    faults = missing(scores[list(CELL)].drop_duplicates(), models, methods)
    chosen = choose(scores, models, methods)
    if chosen.empty:
        stop_on(faults, "a table")
    if images is not None:
        images = choose(images, models, methods)
    paired, found = pair(chosen, (CORRECT, TRAIN, JUDGE), images, baseline)
    return paired, faults + found + not_geneval(paired)


def not_geneval(paired: Paired) -> list[str]:
    """What keeps scores from being verdicts of one benchmark with GenEval's tasks, a line each."""
    pictures = paired.pictures
    faults = []
    benchmarks = sorted(pictures["benchmark"].unique())
    if len(benchmarks) > 1:
        faults.append(f"one benchmark per table, these are {', '.join(benchmarks)}")
    strange = sorted(set(pictures["task"]) - set(TASKS))
    if strange:
        faults.append(f"tasks {', '.join(strange)} are none of GenEval's: {', '.join(TASKS)}")
    homes = pictures[["prompt_id", "task"]].drop_duplicates()
    double = sorted(homes["prompt_id"][homes["prompt_id"].duplicated()].unique())
    if double:
        faults.append(f"prompts in more than one task: {examples([repr(name) for name in double])}")
    correct = paired.scores.get(CORRECT)
    if correct is None:
        return faults
    for index, values in enumerate(correct):
        name = name_cell(paired.cells.iloc[index])
        given = values[np.isfinite(values)]
        odd = given[(given != 0) & (given != 1)]
        faults += [f"{name}: {CORRECT} is {odd[0]:g}, must be 0 or 1"] if len(odd) else []
        seen = set(pictures["task"][~np.isnan(values)])
        absent = [task for task in TASKS if task not in seen]
        faults += [f"{name}: no image of task {', '.join(absent)}"] if absent else []
    return faults


def _measures(paired: Paired, cell: int, base: int | None) -> dict[str, float]:
    correct = paired.scores[CORRECT][cell]
    have = ~np.isnan(correct)
    tasks, prompts = (codes_of(paired.pictures[name][have]) for name in ("task", "prompt_id"))
    mean = task_mean_interval(correct[have], tasks, prompts)
    row: dict[str, float] = {"n_images": mean.n, "n_prompts": mean.clusters}
    row |= columns_of(mean, "geneval_mean")
    for task in TASKS:
        of_task = (paired.pictures["task"][have] == task).to_numpy()
        share = proportion_interval(correct[have][of_task], prompts[of_task])
        row |= columns_of(share, f"geneval_{task}")
    if base is not None:
        other = paired.scores[CORRECT][base][have]
        gain = paired_difference(correct[have], other, tasks, prompts)
        row |= columns_of(gain, "gain_over_base", "gain")
        # Still to be corrected, together with the other rows'.
        row["p_holm"] = gain.p_value
    for metric in (TRAIN, JUDGE):
        reward = bootstrap_interval(paired.scores[metric][cell][have], prompts)
        row |= columns_of(reward, f"{metric}_mean")
    return row


def codes_of(names: pd.Series[str]) -> Integers:
    """Numbers instead of names, in sorted order."""
    # Numbers are a hundred times faster to group by than names.
    return pd.factorize(names, sort=True)[0].astype(np.int64)


def _costs(
    cells: pd.DataFrame, timings: pd.DataFrame, batch_size: int | None
) -> tuple[pd.DataFrame, list[str]]:
    """Times, n_timings and params_m of each cell, and what is wrong with its timings."""
    rows = whole_calls(timings).merge(cells, on=list(CELL))
    sizes = ", ".join(map(str, sorted(rows["batch_size"].unique()))) or "none"
    size = rows["batch_size"].max() if batch_size is None else batch_size
    rows = rows[rows["batch_size"] == size]
    found = [
        dict(zip(CELL, who, strict=True)) | _cost(of_cell)
        for who, of_cell in rows.groupby(list(CELL))
    ]
    costs = cells.merge(pd.DataFrame(found, columns=[*CELL, *_COST]), on=list(CELL), how="left")
    names = [name_cell(cells.loc[index]) for index in cells.index]
    at = "" if pd.isna(size) else f" at batch size {size} (timed: {sizes})"
    faults = [f"{names[i]}: no timing{at}" for i in costs.index[costs["n_params"].isna()]]
    faults += [f"{names[i]}: params_m differs" for i in costs.index[costs["n_params"] > 1]]
    threads = sorted(rows["threads"].unique())
    if len(threads) > 1:
        faults.append(f"timings on {', '.join(map(str, threads))} threads cannot be compared")
    for time in _TIMES:
        faults += _double_or_broken(rows, [*CELL, "repeat"], time)
    return costs[list(_COST)].drop(columns="n_params"), faults


def _cost(calls: pd.DataFrame) -> dict[str, float]:
    """The columns :data:`_COST` from the calls of one method."""
    cost: dict[str, float] = {}
    for time in _TIMES:
        ms = calls[time].to_numpy(dtype=np.float64)
        # What is not finite is found and named after this.
        finite = ms[np.isfinite(ms)]
        cost |= columns_of(median_interval(finite) if len(finite) else NO_INTERVAL, time)
    params = calls["params_m"]
    sizes = {"params_m": params.iloc[0], "n_params": params.nunique()}
    return {**cost, "n_timings": len(calls), **sizes}


def _double_or_broken(rows: pd.DataFrame, key: Sequence[str], column: str = "value") -> list[str]:
    """A line each for rows with the same key, and for values that are no finite number."""
    faults = []
    for bad, what in (
        (rows.duplicated(list(key)), "more than one row"),
        (~np.isfinite(rows[column].astype(float)), f"{column} is not a finite number"),
    ):
        first = rows[bad][list(key)].head(3).itertuples(index=False, name=None)
        names = [" ".join(str(part) for part in row) for row in first]
        faults += [f"{what}: {examples(names, int(bad.sum()))}"] if names else []
    return faults
