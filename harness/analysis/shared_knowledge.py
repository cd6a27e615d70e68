"""What a judge knows of the reward beyond the benchmark's verdict, which both should know.

A judge that shares the reward's mistakes rises with whatever pleases the reward. Two numbers say
how much it shares: the correlation of both over images, and the same after taking out the task and
the verdict, by which two rewards agree that are right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis.bootstrap import draws
from harness.analysis.columns import Column, described
from harness.analysis.gains import CORRECT, TRAIN
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import CELL, SEED, choose, missing, require, stop_on
from harness.analysis.statistics import Interval
from harness.analysis.training_seeds import numbered

#: Share of the resamples outside a 95 % interval on either side.
_TAIL = 0.025
Floats = npt.NDArray[np.float64]


def judges(
    scores: pd.DataFrame,
    *,
    judges: Sequence[str],
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    metric: str = CORRECT,
) -> pd.DataFrame:
    """How far each judge and the reward agree on the images of each model and method.

    Args:
        scores: score rows of one benchmark, with verdicts, training reward and judges.
        judges: metrics of the judges.
        models, methods: what to show, in this order; all by name if None.
        metric: the benchmark's verdict, 1 or 0.

    Returns:
        One row per model, method, reward, steps and judge: n_images; ``correlation`` of reward and
        judge; ``partial_correlation``, that of what is left of both after subtracting their means
        over images of the same task and verdict; both with the bounds of 95 % intervals from a
        bootstrap over meanings, images of all trainings together; and the areas under the ROC curve
        of both against the verdict, ``reward_auc`` and ``judge_auc``, means over tasks in which
        both verdicts occur.

    Raises:
        FrameError: a method, an image or a score is missing.
    """
    identity = [*CELL, SEED, "task", "prompt_id", "prompt_meaning", "image_index"]
    require(scores, [*identity, "metric", "value"], "scores")
    faults = missing(scores, models, methods)
    wanted = [metric, TRAIN, *judges]
    chosen = choose(scores[scores["metric"].isin(wanted)], models, methods)
    wide = numbered(chosen).pivot(index=identity, columns="metric", values="value").reset_index()
    for name in wanted:
        lacking = wide if name not in wide else wide[wide[name].isna()]
        faults += [f"{len(lacking)} images have no {name}"] if len(lacking) else []
    stop_on(faults, "a table of judges")
    rows = [
        {**dict(zip(CELL, cell, strict=True)), "judge": judge, **_row(own, judge, metric)}
        for cell, own in wide.groupby(list(CELL))
        for judge in judges
    ]
    table = in_order(pd.DataFrame(rows), ("model", "method", "reward", "steps"), models, methods)
    table.attrs["columns"] = described(_COLUMNS)
    return table


class _Pair(NamedTuple):
    """A cell's images: [n, 2] training reward and judge, the same without the means of task and
    verdict, and [n] the meanings of their prompts, verdicts and tasks."""

    both: Floats
    left: Floats
    meanings: npt.NDArray[np.intp]
    verdicts: Floats
    tasks: npt.NDArray[np.object_]


_COLUMNS = (
    Column("n_images", lambda p: len(p.both)),
    Column(
        "correlation",
        lambda p: correlation(p.both, p.meanings),
        "of the training reward and the judge over images",
    ),
    Column(
        "partial_correlation",
        lambda p: correlation(p.left, p.meanings),
        "after taking out task and verdict",
    ),
    Column(
        "reward_auc",
        lambda p: area(p.both[:, 0], p.verdicts, p.tasks),
        "of the training reward against the verdict",
    ),
    Column(
        "judge_auc",
        lambda p: area(p.both[:, 1], p.verdicts, p.tasks),
        "of the judge against the verdict",
    ),
)


def _row(images: pd.DataFrame, judge: str, metric: str) -> dict[str, Any]:
    """The numbers of one cell's images."""
    both = images[[TRAIN, judge]].to_numpy(dtype=np.float64)
    means = images.groupby(["task", metric])[[TRAIN, judge]].transform("mean").to_numpy()
    meanings = pd.factorize(images["prompt_meaning"])[0]
    pair = _Pair(both, both - means, meanings, *(images[n].to_numpy() for n in (metric, "task")))
    return {name: value for column in _COLUMNS for name, value in column.cells(pair).items()}


def correlation(pair: Floats, clusters: npt.NDArray[np.intp]) -> Interval:
    """Pearson's correlation with percentiles of a bootstrap that draws whole clusters.

    Args:
        pair: [n, 2] values.
        clusters: [n] in [0, number of clusters).

    Returns:
        The interval; NaN where a side does not vary.
    """
    x, y = (pair - pair.mean(axis=0)).T
    # Sums of each cluster; those of a resample are sums of the drawn clusters'.
    sums = np.stack(
        [np.bincount(clusters, weights=v) for v in (np.ones_like(x), x, y, x * x, y * y, x * y)]
    )
    n_clusters = sums.shape[1]
    drawn = draws(n_clusters, seed=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.quantile(_pearson(drawn @ sums.T), [_TAIL, 1 - _TAIL])
        centre = float(_pearson(sums.sum(axis=1)[None])[0])
    return Interval(centre, float(low), float(high), len(pair), n_clusters)


def _pearson(sums: Floats) -> Floats:
    """Of rows of n, sum x, sum y, sum x^2, sum y^2, sum xy."""
    n, x, y, xx, yy, xy = sums.T
    found: Floats = (n * xy - x * y) / np.sqrt((n * xx - x**2) * (n * yy - y**2))
    return found


def area(values: Floats, verdicts: Floats, tasks: npt.NDArray[np.object_]) -> float:
    """The area under the ROC curve, the mean over tasks that have both verdicts; NaN if none has.

    Args:
        values: [n], higher for images that should be right.
        verdicts: [n], 1 or 0.
        tasks: [n].
    """
    found = []
    for task in np.unique(tasks):
        own = tasks == task
        right = verdicts[own] == 1
        n_right, n_wrong = int(right.sum()), int((~right).sum())
        if n_right and n_wrong:
            ranks = pd.Series(values[own]).rank().to_numpy()[right].sum()
            found.append((ranks - n_right * (n_right + 1) / 2) / (n_right * n_wrong))
    return float(np.mean(found)) if found else math.nan
