"""The paper's tables 2, 5, 6, 8, 9 and 10: one benchmark against sampling steps, or LoRA rank.

Pure functions of frames. All show which images they are made of as ``runs``: method -> its
sampling steps. They differ in what they measure on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.analysis import published
from harness.analysis.columns import Column
from harness.analysis.costs import NFE
from harness.analysis.gains import (
    CORRECT,
    Metrics,
    correct,
    gain_over_base,
    lay_out,
    mean,
    metrics_of,
    scored,
    sizes,
    tabulate,
)
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import CELL, FrameError, missing, rank, require, stop_on
from harness.experiment.variants import Variant

Runs = Mapping[str, Sequence[int]]
Ranks = Mapping[str, Mapping[str, int]]


def geneval(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    printed_as: str,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks | None = None,
    baseline: str = "base",
    metric: str = CORRECT,
    departures: Sequence[str] = (),
) -> pd.DataFrame:
    """GenEval of methods at their sampling steps: tables 2, 8, 9 and 10.

    Args:
        scores: score rows of one benchmark.
        images: the image rows that were scored.
        printed_as: the paper's table that this one is compared with.
        runs: method -> its sampling steps: exactly the rows, methods in this order, variants of a
            LoRA rank by their rank.
        models: the models to show, in this order.
        ranks: model -> method -> LoRA rank of what is trained for it; others have none.
        baseline: the method that gains are measured against, at the same steps, image by image.
        metric: the benchmark's own.
        departures: what keeps printed numbers away (:func:`harness.analysis.published.finished`).

    Returns:
        One row per model, method and steps: what identifies it, world, lora_rank, nfe, n_images,
        n_prompts, geneval_mean in [0, 1] with its 95 % interval, gain_over_base with its own and
        p_holm, and published numbers where there are any
        (:func:`harness.analysis.published.beside`).

    Raises:
        FrameError: a run or its baseline is missing, or a score is missing, double, not finite or
            no verdict of GenEval's. One message names all of it.
    """
    metrics = metrics_of(scores, metric, ())._replace(rewards=())
    columns = scored(metrics, gain=True)
    shown = (printed_as, runs, models, ranks, baseline)
    return _table(scores, images, metric, columns, *shown, departures)


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
    departures: Sequence[str] = (),
) -> pd.DataFrame:
    """T2I-CompBench's categories by sampling steps: table 5; arguments of :func:`geneval`.

    Args:
        metric: the metric of the scores, in [0, 1]; each of the benchmark's tasks is a column,
            ``t2i_compbench_<task>``, and has a gain, ``gain_<task>``, and a ``p_holm_<task>``.
    """
    columns = sizes(metric)
    for task in metrics_of(scores, metric, ()).tasks:
        gain = Column(
            f"gain_{task}",
            lambda c, task=task: c.gain(metric, task),  # type: ignore[misc]
            f"mean {metric} of {task} less the baseline's, image by image",
            best="highest",
            p_value=f"p_holm_{task}",
            versus=lambda c, task=task: c.gain(metric, task),  # type: ignore[misc]
        )
        columns += [mean(f"t2i_compbench_{task}", metric, task), gain]
    shown = (printed_as, runs, models, ranks, baseline)
    return _table(scores, images, metric, columns, *shown, departures)


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
    departures: Sequence[str] = (),
) -> pd.DataFrame:
    """DPG-Bench by sampling steps: table 6; arguments of :func:`geneval`.

    Args:
        metric: the metric of the scores, in [0, 100]; its mean over images has its name, so that
            only what counts as the published scorer does has published numbers next to it.
    """
    columns = [*sizes(metric), mean(metric, metric), gain_over_base(metric, by_task=False)]
    shown = (printed_as, runs, models, ranks, baseline)
    return _table(scores, images, metric, columns, *shown, departures)


def _table(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    metric: str,
    columns: Sequence[Column],
    printed_as: str,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks | None,
    baseline: str,
    departures: Sequence[str],
) -> pd.DataFrame:
    require(scores, (*CELL, "metric"), "scores")
    require(images, (*CELL, "nfe"), "images")
    named = {(method, count) for method, counts in runs.items() for count in counts}
    of_runs = []
    for frame in (scores, images):
        is_run = [run in named for run in zip(frame["method"], frame["steps"], strict=True)]
        is_shown = frame["model"].isin(list(models)) & np.array(is_run, dtype=bool)
        of_runs.append(frame[is_shown])
    chosen, made = of_runs
    faults = _missing(chosen[list(CELL)].drop_duplicates(), runs, models)
    if chosen.empty:
        raise FrameError("\n- ".join(["scores hold none of the runs:", *faults]))
    paired, found = lay_out(chosen, Metrics(metric, (), ()), None, None, made, baseline)
    stop_on([*faults, *found], printed_as)
    whole = [
        published.WORLD,
        Column(
            "lora_rank",
            lambda c: (ranks or {}).get(c.identity("model"), {}).get(c.identity("method"), pd.NA),
            "rank of the LoRA that was trained",
        ),
        NFE,
        *columns,
    ]
    table = tabulate(paired, whole, baseline, {"images": images})
    table = correct(table, baseline).astype({"lora_rank": "Int64"})
    # As text, a rank of 32 would stand before one of 4.
    names, known = ([Variant.parse(m).name for m in given] for given in (table["method"], runs))
    by = ("model", rank(pd.Series(names), known), table["lora_rank"].fillna(0), "method", "steps")
    table = in_order(table, by, models, list(runs))
    return published.finished(table, printed_as, paired.benchmark, whole, (), departures)


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
