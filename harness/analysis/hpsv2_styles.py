"""HPSv2's benchmark: the mean score of each of its styles."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.analysis.interval_columns import columns_of, in_order
from harness.analysis.pairing import CELL, choose, missing, require, stop_on
from harness.analysis.statistics import mean_interval, task_mean_interval
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
        the four styles, and the mean of each style, all with 95 % intervals clustered by prompt.

    Raises:
        FrameError: a method or a style is missing, or methods have other images.
    """
    require(scores, [*CELL, "metric", "task", "prompt_id", "image_index", "value"], "scores")
    faults = missing(scores, models, methods)
    chosen = choose(scores[scores["metric"] == metric], models, methods)
    stop_on(faults + _faults(chosen, metric), "a table of styles")
    rows = []
    for cell, own in chosen.groupby(list(CELL)):
        values, prompt_ids = own["value"].to_numpy(), own["prompt_id"].to_numpy()
        total = task_mean_interval(values, own["task"].to_numpy(), prompt_ids)
        row = {**dict(zip(CELL, cell, strict=True)), "n_images": total.n}
        row |= columns_of(total, f"{metric}_mean")
        for style in STYLES:
            of_style = (own["task"] == style).to_numpy()
            found = mean_interval(values[of_style], prompt_ids[of_style])
            row |= columns_of(found, f"{metric}_{style.replace('-', '_')}_mean")
        rows.append(row)
    by = ("model", "steps", "method", "reward")
    return in_order(pd.DataFrame(rows), by, models, methods)


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
    n_cells = len(scores[list(CELL)].drop_duplicates())
    gaps = [f"{prompt} {index}" for prompt, index in pictures.index[pictures != n_cells]]
    return [f"not scored for every method: {', '.join(gaps)}"] if gaps else []
