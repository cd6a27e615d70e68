"""A gain beside its controls: what it must not come from.

- **Reward swap.** A method that was given another reward, one that no prompt asks for, must not
  gain by the measures that count. If it does, whatever moves the images makes them "better".
- **Prompt swap.** The same images, scored against another prompt
(:mod:`harness.stages.prompt_swaps`). Better
  alignment does not transfer to it; what pleases a scorer regardless of the prompt does.
- **Judge.** A reward that nothing was trained on or searched for.

Pure functions of frames, like those of :mod:`harness.analysis.tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.analysis.interval_columns import columns_of, in_order
from harness.analysis.pairing import (
    CELL,
    Floats,
    Integers,
    Paired,
    baselines,
    choose,
    missing,
    pair,
    rank,
    require,
    stop_on,
    without_baseline,
)
from harness.analysis.statistics import Difference, holm, paired_difference
from harness.analysis.tables import CORRECT, JUDGE, TRAIN
from harness.results.frames import SWAPPED

#: What a gain is measured by -> its name in columns.
MEASURES = {CORRECT: "geneval", TRAIN: "train_reward", JUDGE: "judge_reward"}
#: The chance of any false claim among a table's gains.
ALPHA = 0.05


class Gain(NamedTuple):
    """A cell's gain over the baseline, by the measure that ``column`` names."""

    cell: int
    column: str
    gain: Difference
    survives: bool


def controls(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    swapped_reward: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
) -> pd.DataFrame:
    """Every gain over the baseline, the same against swapped prompts, and of swapped rewards.

    Args:
        scores: score rows of one benchmark; of each image the measures, the same measures against
            swapped prompts, and the swapped reward under its own name.
        images: the image rows that were scored.
        swapped_reward: name of the reward that no prompt asks for.
        models, methods: what to show, in this order; all by name if None.
        baseline: the method that gains are measured against, image by image.

    Returns:
        One row per model, method, reward and steps but for the baseline, methods with their own
        reward first: n_images, n_prompts, and the gains ``gain_<measure>``,
        ``gain_<measure>_swapped`` and ``gain_<swapped_reward>``, each with the bounds of its 95 %
        interval, clustered by prompt. GenEval's is the plain mean of its tasks' gains, others are
        means over images. ``survives_holm`` names the gains, each with its sign, that keep
        excluding 0 when all intervals of the table have to hold together at 95 % (Holm 1979).

    Raises:
        FrameError: a method, its baseline, an image or a score is missing, double or not finite.
            One message names all of it.
    """
    require(scores, CELL, "scores")
    require(images, CELL, "images")
    shown = None if methods is None else [*methods, baseline]
    faults = missing(scores[list(CELL)].drop_duplicates(), models, shown)
    metrics = _metrics(swapped_reward)
    scores, images = (choose(frame, models, shown) for frame in (scores, images))
    if scores.empty:
        stop_on(faults, "the controls")
    paired, found = pair(scores, list(metrics), images, baseline)
    stop_on([*faults, *found, *without_baseline(paired.cells, baseline)], "the controls")
    gains = _gains(paired, metrics, baseline)
    rows = [_row(paired, cell, gains) for cell in dict.fromkeys(gain.cell for gain in gains)]
    table = pd.DataFrame(rows)
    order: list[pd.Series[int]] = [rank(table["model"], models)]
    order += [(table["reward"] == swapped_reward).astype(int)]
    order += [rank(table["method"], methods), table["steps"]]
    return in_order(table, order)


def gain_of(paired: Paired, metric: str, cell: int, base: int) -> Difference:
    """A cell's gain by a metric: GenEval's as the mean of its tasks', any other over images."""
    return paired_difference(*_sides(paired, metric, cell, base))


def _sides(
    paired: Paired, metric: str, cell: int, base: int
) -> tuple[Floats, Floats, Integers, Integers]:
    """Values, those of the base, and of each its task and its prompt."""
    values, reference = paired.scores[metric][cell], paired.scores[metric][base]
    have = ~np.isnan(values)
    pictures = paired.pictures[have]
    names = pictures["task"] if metric.removesuffix(SWAPPED) == CORRECT else pictures["benchmark"]
    tasks, prompts = (pd.factorize(each)[0] for each in (names, pictures["prompt_id"]))
    return values[have], reference[have], tasks, prompts


def _metrics(swapped_reward: str) -> dict[str, str]:
    swaps = {metric + SWAPPED: name + SWAPPED for metric, name in MEASURES.items()}
    return {**MEASURES, **swaps, swapped_reward: swapped_reward}


def _gains(paired: Paired, metrics: dict[str, str], baseline: str) -> list[Gain]:
    asked = [
        (cell, base, metric)
        for cell, base in enumerate(baselines(paired.cells, baseline))
        for metric in metrics
        if base is not None and cell != base
    ]
    found = [gain_of(paired, metric, cell, base) for cell, base, metric in asked]
    corrected = holm([gain.p_value for gain in found])
    return [
        Gain(cell, metrics[metric], gain, p < ALPHA)
        for (cell, _, metric), gain, p in zip(asked, found, corrected, strict=True)
    ]


def _row(paired: Paired, cell: int, gains: Sequence[Gain]) -> dict[str, object]:
    own = [gain for gain in gains if gain.cell == cell]
    first = own[0].gain
    row: dict[str, object] = {name: paired.cells[name].iloc[cell] for name in CELL}
    row |= {"n_images": first.n, "n_prompts": first.clusters}
    for each in own:
        row |= columns_of(each.gain, f"gain_{each.column}")
    signs = [("+" if each.gain.mean > 0 else "-") + each.column for each in own if each.survives]
    return row | {"survives_holm": " ".join(signs)}
