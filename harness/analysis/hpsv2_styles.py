"""HPSv2's benchmark: the mean score of each of its styles."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.analysis.interval_columns import columns_of, in_order
from harness.analysis.pairing import CELL, NETWORK, choose, missing, require, stop_on
from harness.analysis.statistics import task_mean_interval
from harness.analysis.training_seeds import FIRST_NOTES, interval_of, said, seeds_in
from harness.benchmarks.tasks import STYLES

METRIC = "hpsv2_1"


def table(
    scores: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    metric: str = METRIC,
) -> pd.DataFrame:
    """The mean score of each style, for every model and method.

    Args:
        scores: score rows of this benchmark.
        models, methods: what to show, in this order; all by name if None.
        metric: name of the reward that scored.

    Returns:
        One row per model, method, reward and steps: n_images, ``<metric>_mean``, the plain mean of
        the four styles, and the mean of each style, all with 95 % intervals clustered by meaning.

    Raises:
        FrameError: a method or a style is missing, or methods have other images.
    """
    needed = ["metric", "task", "prompt_id", "prompt_meaning", "image_index", "value"]
    require(scores, [*NETWORK, *needed], "scores")
    faults = missing(scores, models, methods)
    chosen = choose(scores[scores["metric"] == metric], models, methods)
    stop_on(faults + _faults(chosen, metric), "a table of styles")
    rows = []
    for cell, own in chosen.groupby(list(CELL)):
        values, meanings = own["value"].to_numpy(), own["prompt_meaning"].to_numpy()
        total = task_mean_interval(values, own["task"].to_numpy(), meanings, seeds=seeds_in(own))
        row = {**dict(zip(CELL, cell, strict=True)), "n_images": total.n}
        row |= columns_of(total, f"{metric}_mean")
        for style in STYLES:
            of_style = (own["task"] == style).to_numpy()
            found = interval_of(values[of_style], own[of_style])
            row |= columns_of(found, f"{metric}_{style.replace('-', '_')}_mean")
        rows.append(row)
    by = ("model", "steps", "method", "reward")
    made = in_order(pd.DataFrame(rows), by, models, methods)
    made.attrs[FIRST_NOTES] = said(chosen)
    return made


def _faults(scores: pd.DataFrame, metric: str) -> list[str]:
    if scores.empty:
        return [f"no scores of {metric}: name it among the config's judges"]
    strange = sorted(set(scores["task"]) - set(STYLES))
    if strange:
        return [f"tasks {', '.join(strange)} are no styles: {', '.join(STYLES)}"]
    lacking = [style for style in STYLES if style not in set(scores["task"])]
    if lacking:
        return [f"no image of {', '.join(lacking)}"]
    # A picture that one method has and another lacks would shift a mean.
    pictures = scores.groupby(["prompt_id", "image_index"]).size()
    n_networks = len(scores[list(NETWORK)].drop_duplicates())
    gaps = [f"{prompt} {index}" for prompt, index in pictures.index[pictures != n_networks]]
    return [f"not scored for every method: {', '.join(gaps)}"] if gaps else []
