"""What the weight of the L2 term buys and costs: a table, and the frontier of reward and fidelity.

A noise network's L2 term keeps its noise near the Gaussian (in nats: KL), and with that images near
the generator's. Fine-tuning has no such term: how far it goes is how long it trains. So networks
trained under several weights are put beside checkpoints of one fine-tuning.

Pure functions of frames, like those of :mod:`harness.analysis.tables` and
:mod:`harness.report.figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.controls import MEASURES, gain_of
from harness.analysis.interval_columns import columns_of
from harness.analysis.pairing import CELL, FrameError, baselines, choose, pair, require, stop_on
from harness.analysis.tables import sweep

#: Model -> method -> ``training``, the name of the training that it draws on; ``checkpoint``, the
#: optimizer step of the checkpoint that it uses, None for the kept one; and for noise networks
#: ``l2_reduction`` and ``temperature``.
Settings = Mapping[str, Mapping[str, Mapping[str, Any]]]


def regularisation(
    scores: pd.DataFrame,
    training: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    *,
    settings: Settings,
    baseline: str = "base",
) -> pd.DataFrame:
    """Reward, fidelity and KL of noise networks by the weight of their L2 term, and of fine-tuning.

    Args:
        scores: score rows of one benchmark, with all three metrics for each image.
        training: the rows of every training that the settings name, on one reward.
        pairs: pair rows of the same images, to say how diverse those of a prompt are.
        settings: what tells the methods apart.
        baseline: the method that gains are measured against, image by image.

    Returns:
        Per model one row for the baseline, one for each noise network by reduction and temperature,
        one for each fine-tuning by its steps: what identifies it, l2_reduction, temperature,
        training_steps, kl_nats (half the mean squared norm of the displacement, on validation
        prompts; NaN without a noise network), n_images, geneval_mean with its 95 % interval,
        train_reward_mean, judge_reward_mean, and the gains ``gain_<measure>`` over the baseline
        with their intervals, paired and clustered by prompt. With pairs, the mean of each of their
        metrics besides, over all pairs.

    Raises:
        FrameError: a method, the baseline, a score or a training's step is missing, double or not
            finite.
    """
    if not settings:
        raise FrameError("regularisation: settings are empty, must say what tells methods apart")
    require(training, ("model", "method", "kind", "step", "name", "value"), "training")
    parts = [_of_model(scores, training, model, own, baseline) for model, own in settings.items()]
    table = pd.concat(parts, ignore_index=True)
    return table if pairs is None else table.merge(_diversity(pairs), on=list(CELL), how="left")


def _of_model(
    scores: pd.DataFrame,
    training: pd.DataFrame,
    model: str,
    settings: Mapping[str, Mapping[str, Any]],
    baseline: str,
) -> pd.DataFrame:
    values = {baseline: None} | {name: own.get("temperature") for name, own in settings.items()}
    table = sweep(scores, values=values, parameter="temperature", models=[model])
    states = [_state(training, model, settings.get(name, {})) for name in table["method"]]
    faults = [str(state["fault"]) for state in states if state["fault"]]
    stop_on(faults, "regularisation")
    found = pd.DataFrame(states).drop(columns="fault")
    table = pd.concat([table, found], axis=1).merge(_gains(scores, model, values, baseline))
    # The baseline has neither reduction nor steps, and comes first; fine-tuning has steps only.
    order = ["is_tuned", "l2_reduction", "temperature", "training_steps"]
    tuned = table["l2_reduction"].eq("") & table["training_steps"].gt(0)
    table = table.assign(is_tuned=tuned).sort_values(order)
    first = [*CELL, "l2_reduction", "temperature", "training_steps", "kl_nats"]
    return table[[*first, *(name for name in table if name not in {*first, "is_tuned"})]]


def _state(training: pd.DataFrame, model: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Which state of its training a method uses; ``fault`` says what is missing."""
    state = {"l2_reduction": "", "training_steps": 0, "kl_nats": np.nan, "fault": ""}
    if not setting:
        return state
    name, step = setting["training"], setting["checkpoint"]
    rows = training[(training["model"] == model) & (training["method"] == name)]
    rows = rows[rows["kind"] == ("kept" if step is None else "validation")]
    rows = rows if step is None else rows[rows["step"] == step]
    if rows.empty:
        at = "kept step" if step is None else f"validation at step {step}"
        return state | {"fault": f"{model}: the training {name!r} has no {at}"}
    nats = rows[rows["name"] == "kl_nats"]["value"]
    return state | {
        "l2_reduction": setting.get("l2_reduction", ""),
        "training_steps": int(rows["step"].iloc[0]),
        "kl_nats": float(nats.iloc[0]) if len(nats) else np.nan,
    }


def _gains(
    scores: pd.DataFrame, model: str, methods: Mapping[str, Any], baseline: str
) -> pd.DataFrame:
    paired, faults = pair(choose(scores, [model], list(methods)), list(MEASURES), None, baseline)
    stop_on(faults, "regularisation")
    rows = []
    for cell, base in enumerate(baselines(paired.cells, baseline)):
        row: dict[str, Any] = {name: paired.cells[name].iloc[cell] for name in CELL}
        for metric, name in MEASURES.items():
            gain = gain_of(paired, metric, cell, cell if base is None else base)
            row |= columns_of(gain, f"gain_{name}")
        rows.append(row)
    return pd.DataFrame(rows)


def _diversity(pairs: pd.DataFrame) -> pd.DataFrame:
    require(pairs, (*CELL, "metric", "value"), "pairs")
    means = pairs.pivot_table("value", list(CELL), "metric")
    return means.add_suffix("_mean").rename_axis(columns=None).reset_index()
