"""What the weight of the L2 term buys and costs.

A noise network's L2 term, half the squared norm of its displacement, keeps its noise near the
Gaussian, and with that images near the generator's. Fine-tuning has no such term: how far it goes
is how long it trains. So networks trained under several weights are compared with checkpoints of
one fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.columns import Column, described
from harness.analysis.controls import gain, over_best
from harness.analysis.gains import (
    CORRECT,
    correct,
    lay_out,
    metrics_of,
    scored,
    tabulate,
)
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import CELL, FrameError, require, stop_on

#: Model -> method -> ``training``, the name of the training that it draws on; ``checkpoint``, the
#: optimizer step of the checkpoint that it uses, None for the kept one; and for noise networks
#: ``l2_reduction`` and ``temperature``.
Settings = Mapping[str, Mapping[str, Mapping[str, Any]]]

#: What trainings of noise networks call half the mean squared norm of the displacement.
_MOVED = "half_squared_norm_nats"


def regularisation(
    scores: pd.DataFrame,
    training: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    *,
    settings: Settings,
    baseline: str = "base",
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Reward, fidelity and displacement of noise networks by the weight of their L2 term, and of
    fine-tuning.

    Args:
        scores: score rows of one benchmark, with every metric for each image.
        training: the rows of every training that the settings name, on one reward.
        pairs: pair rows of the same images, to say how diverse those of a prompt are.
        settings: what tells the methods apart.
        baseline: the method that gains are measured against, image by image.
        metric, judges: as for :func:`harness.analysis.gains.metrics_of`.

    Returns:
        Per model one row for the baseline, one for each noise network by reduction and temperature,
        one for each fine-tuning by its steps: what identifies it, l2_reduction, temperature,
        training_steps, half_squared_norm_nats (half the mean squared norm of the displacement,
        on validation prompts; NaN without a noise network), n_images, n_prompts, geneval_mean and
        the mean of every reward with 95 % intervals, and the gains ``gain_<measure>`` over the
        baseline with theirs, paired and clustered by meaning. With pairs, also the mean of each of
        their metrics, over all pairs.

    Raises:
        FrameError: a method, the baseline, a score or a training's step is missing, double or not
            finite.
    """
    if not settings:
        raise FrameError("regularisation: settings are empty, must say what tells methods apart")
    own = ("model", "method", "training_seed", "kind", "step", "name", "value")
    require(training, own, "training")
    metrics = metrics_of(scores, metric, judges)
    methods = dict.fromkeys(method for own in settings.values() for method in own)
    paired, faults = lay_out(scores, metrics, list(settings), [baseline, *methods], None, baseline)
    states, lacking = states_of(training, settings)
    stop_on(faults + lacking, "regularisation")

    def setting(name: str, otherwise: Any, meaning: str) -> Column:
        def of(cell: Any) -> Any:
            own = states.get((cell.identity("model"), cell.identity("method")), {})
            return own.get(name, otherwise)

        return Column(name, of, meaning)

    columns = [
        setting("l2_reduction", "", "over what the L2 term is taken: a mean or a sum"),
        setting("temperature", np.nan, "weight of the L2 term"),
        setting("training_steps", 0, "optimizer steps of the state that was used"),
        setting(_MOVED, np.nan, "half the mean squared norm of the displacement"),
        *scored(metrics),
        *(gain(name, metric) for name in metrics.names),
        *over_best(metrics),
    ]
    table = correct(tabulate(paired, columns, baseline, best_by=metric), baseline)
    # The baseline has neither reduction nor steps, and comes first; fine-tuning has steps only.
    tuned = table["l2_reduction"].eq("") & table["training_steps"].gt(0)
    by = ("model", tuned, "l2_reduction", "temperature", "training_steps")
    table = in_order(table, by, list(settings))
    if pairs is not None:
        require(pairs, (*CELL, "metric", "value"), "pairs")
        means = pairs.pivot_table("value", list(CELL), "metric").add_suffix("_mean")
        means, attrs = means.rename_axis(columns=None).reset_index(), table.attrs
        table = table.merge(means, on=list(CELL), how="left")
        table.attrs = attrs
    table.attrs["columns"] = described(columns)
    return table


def states_of(
    training: pd.DataFrame, settings: Settings
) -> tuple[dict[tuple[str, str], dict[str, Any]], list[str]]:
    """Which state of its training each model's method uses, and a line for each that is missing."""
    found, faults = {}, []
    for model, own in settings.items():
        for method, setting in own.items():
            name, step = setting["training"], setting["checkpoint"]
            rows = training[(training["model"] == model) & (training["method"] == name)]
            rows = rows[rows["kind"] == ("kept" if step is None else "validation")]
            rows = rows if step is None else rows[rows["step"] == step]
            if rows.empty:
                at = "kept step" if step is None else f"validation at step {step}"
                faults.append(f"{model}: the training {name!r} has no {at}")
                continue
            # Means over training seeds, whose kept steps differ.
            steps = rows.groupby("training_seed", dropna=False)["step"].first()
            state = {**setting, "training_steps": round(float(steps.mean()))}
            values = rows.groupby("name")["value"].mean()
            if _MOVED in values:
                state[_MOVED] = float(values[_MOVED])
            elif "delta_rms" in values:
                faults.append(
                    f"{model}: the training {name!r} is from before {_MOVED} was kept "
                    "(kl_nats stood for it); make it again"
                )
            found[model, method] = state
    return found, faults
