"""A gain next to its controls: what it must not come from.

- **Reward swap.** A method that was given another reward, one that no prompt asks for, must not
  gain by the measures that count. If it does, whatever moves the images makes them "better".
- **Prompt swap.** The same images, scored against another prompt
  (:mod:`harness.stages.prompt_swaps`). Better alignment does not transfer to it; what pleases a
  scorer regardless of the prompt does.
- **Judge.** A reward that nothing was trained on or searched for.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.analysis.columns import Column, described
from harness.analysis.gains import (
    CORRECT,
    Cell,
    Metrics,
    correct,
    metrics_of,
    sizes,
    stem_of,
    tabulate,
)
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import (
    CELL,
    choose,
    missing,
    pair,
    require,
    stop_on,
    without_baseline,
)
from harness.analysis.references import compared
from harness.analysis.statistics import Difference
from harness.analysis.training_seeds import FIRST_NOTES, said
from harness.results.frames import SWAPPED

#: The chance of any false claim among a table's gains.
ALPHA = 0.05


def controls(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    swapped_reward: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every gain over the baseline, the same against swapped prompts, and of swapped rewards.

    Args:
        scores: score rows of one benchmark; of each image the measures, the same measures against
            swapped prompts, and the swapped reward under its own name.
        images: the image rows that were scored.
        swapped_reward: name of the reward that no prompt asks for.
        models, methods: what to show, in this order; all by name if None.
        baseline: the method that gains are measured against, image by image.
        metric, judges: the measures: the benchmark's, and rewards next to the training reward
            (:func:`harness.analysis.gains.metrics_of`).

    Returns:
        One row per model, method, reward and steps but for the baseline, methods with their own
        reward first: n_images, n_prompts, and the gains ``gain_<measure>``,
        ``gain_<measure>_swapped`` and ``gain_<swapped_reward>``, each with the bounds of its 95 %
        interval, clustered by meaning. The benchmark's is the plain mean of its tasks' gains,
        others are means over images. ``survives_holm`` names the gains, each with its sign, that
        keep excluding 0 when all intervals of the table have to hold together at 95 % (Holm 1979).

    Raises:
        FrameError: a method, its baseline, an image or a score is missing, double or not finite.
            One message names all of it.
    """
    require(scores, (*CELL, "metric"), "scores")
    require(images, CELL, "images")
    shown = None if methods is None else [*methods, baseline]
    faults = missing(scores, models, shown)
    known = metrics_of(scores[scores["metric"] != swapped_reward], metric, judges).names
    scores, images = (choose(frame, models, shown) for frame in (scores, images))
    if scores.empty:
        stop_on(faults, "the controls")
    measures = [*known, *(name + SWAPPED for name in known), swapped_reward]
    paired, found = pair(scores, measures, images, baseline)
    stop_on([*faults, *found, *without_baseline(paired.cells, baseline)], "the controls")
    columns = [*sizes(metric), *(gain(name, metric) for name in measures)]
    table = correct(tabulate(paired, columns, baseline), baseline)
    table = table[table["method"] != baseline].reset_index(drop=True)
    p_values = [name for name in table.columns if name.startswith("p_holm_")]
    stems = [name.removeprefix("p_holm_") for name in p_values]
    table["survives_holm"] = [
        " ".join(
            ("+" if row[f"gain_{stem}"] > 0 else "-") + stem
            for stem in stems
            if row[f"p_holm_{stem}"] < ALPHA
        )
        for row in table.to_dict("records")
    ]
    is_swapped = table["reward"].eq(swapped_reward)
    by = ("model", is_swapped, "method", "steps")
    table = in_order(table.drop(columns=p_values), by, models, methods)
    table.attrs["columns"] = described(columns)
    table.attrs[FIRST_NOTES] = said(paired.networks) + paired.notes()
    return table


def gain(measure: str, metric: str) -> Column:
    """The column of a measure's gain; that of the benchmark's metric is the mean of its tasks'."""
    by_task, stem = measure.removesuffix(SWAPPED) == metric, stem_of(measure)
    return Column(
        f"gain_{stem}",
        lambda c: c.gain(measure, by_task=by_task),
        f"{measure} less the baseline's, image by image",
        p_value=f"p_holm_{stem}",
    )


def over_best(metrics: Metrics) -> list[Column]:
    """For each metric the paired difference from the row of the model that is best by the
    benchmark's, for choosing among settings: the interval of a choice is that of a difference."""

    def of(metric: str) -> Column:
        def difference(cell: Cell) -> Difference:
            best = cell.index if cell.best is None else cell.best
            return compared(cell, best, lambda c: c.gain(metric, by_task=metric == metrics.main))

        stem = stem_of(metric)
        said = f"{metric} less that of the model's best row by {metrics.main}, image by image"
        return Column(f"over_best_{stem}", difference, said, p_value=f"p_holm_over_best_{stem}")

    return [of(metric) for metric in metrics.names]
