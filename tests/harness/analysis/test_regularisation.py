"""The sweep of regularisations, from a measured world that can be worked out on paper."""

from __future__ import annotations

import math
from typing import Any

import measured
import pandas as pd
import pytest

from harness.analysis.pairing import FrameError
from harness.analysis.regularisation import regularisation
from harness.report.pareto import frontier

MODEL = measured.MODELS[0]
WEIGHTS = {
    "alpha_mean_1": ("mean", 1.0, 3.0),
    "alpha_sum_10": ("sum", 10.0, 0.5),
    "alpha_sum_0_1": ("sum", 0.1, 2.0),
}
STEPS = {"tuned_20": 20, "tuned_10": 10}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    MODEL: {
        **{
            name: {"training": name, "checkpoint": None, "l2_reduction": kind, "temperature": t}
            for name, (kind, t, _) in WEIGHTS.items()
        },
        **{name: {"training": "tuned", "checkpoint": step} for name, step in STEPS.items()},
    }
}
ORDER = ["base", "alpha_mean_1", "alpha_sum_0_1", "alpha_sum_10", "tuned_10", "tuned_20"]


def scores() -> pd.DataFrame:
    """Every method's images are hypernoise's, but for the base's."""
    rows = measured.scores()
    rows = rows[rows["model"] == MODEL]
    made = rows[rows["method"] == "hypernoise"]
    others = [made.assign(method=name) for name in (*WEIGHTS, *STEPS)]
    return pd.concat([rows[rows["method"] == "base"], *others], ignore_index=True)


def training() -> pd.DataFrame:
    who = {"model": MODEL, "reward": "matcher", "training_seed": 0}
    rows = []
    for name, (_, _, nats) in WEIGHTS.items():
        of_run = {**who, "method": name, "name": "half_squared_norm_nats"}
        rows.append({**of_run, "kind": "kept", "step": 70, "value": nats})
        rows.append({**of_run, "kind": "validation", "step": 80, "value": 99.0})
    for step in STEPS.values():
        row = {"method": "tuned", "kind": "validation", "step": step, "name": "reward"}
        rows.append({**who, **row, "value": 1.0})
    return pd.DataFrame(rows)


def test_networks_stand_by_their_weight_and_checkpoints_by_their_steps() -> None:
    table = regularisation(measured.shuffled(scores()), training(), settings=SETTINGS)
    assert table["method"].to_list() == ORDER
    assert table["l2_reduction"].to_list() == ["", "mean", "sum", "sum", "", ""]
    assert table["training_steps"].to_list() == [0, 70, 70, 70, 10, 20]
    assert table["half_squared_norm_nats"].to_list()[1:4] == [3.0, 2.0, 0.5]
    assert all(math.isnan(table["half_squared_norm_nats"].iloc[place]) for place in (0, 4, 5))
    assert table["temperature"].to_list()[1:4] == [1.0, 0.1, 10.0]
    network = table.iloc[1]
    assert network["geneval_mean"] == pytest.approx(0.75)
    assert network["gain_geneval"] == pytest.approx(0.25)
    assert network["gain_train_reward"] == pytest.approx(1.5)
    assert table.iloc[0]["gain_geneval"] == 0


def test_diversity_is_joined_where_pairs_are_given() -> None:
    base = {"model": MODEL, "method": "base", "reward": "", "steps": 1, "metric": "some_distance"}
    pairs = pd.DataFrame([{**base, "value": value} for value in (1.0, 2.0)])
    table = regularisation(scores(), training(), pairs, settings=SETTINGS)
    assert table["some_distance_mean"].iloc[0] == 1.5
    assert table["some_distance_mean"].iloc[1:].isna().all()


def test_a_training_without_the_asked_step_is_named() -> None:
    rows = training()
    with pytest.raises(FrameError, match="tiny_a: the training 'tuned' has no validation at step"):
        regularisation(scores(), rows[rows["method"] != "tuned"], settings=SETTINGS)
    with pytest.raises(FrameError, match="the training 'alpha_sum_10' has no kept step"):
        regularisation(scores(), rows[rows["method"] != "alpha_sum_10"], settings=SETTINGS)
    with pytest.raises(FrameError, match="unknown method 'alpha_sum_10'"):
        lacking = scores()
        regularisation(lacking[lacking["method"] != "alpha_sum_10"], rows, settings=SETTINGS)
    old = training().assign(name=lambda r: r["name"].replace("half_squared_norm_nats", "delta_rms"))
    with pytest.raises(FrameError, match="'alpha_sum_10' is from before half_squared_norm_nats"):
        regularisation(scores(), old, settings=SETTINGS)
    with pytest.raises(FrameError, match="settings are empty"):
        regularisation(scores(), rows, settings={})


def test_the_frontier_draws_reward_against_fidelity() -> None:
    figure = frontier(scores(), training(), settings=SETTINGS)
    above, below = figure.axes
    assert above.get_ylabel().startswith("GenEval")
    assert below.get_ylabel().startswith("judge reward")
    said = [text.get_text() for text in above.texts]
    assert sorted(said) == sorted(["0.1", "10", "1", "10", "20"])
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == [
        "base",
        "noise network, sum; temperatures",
        "noise network, mean; temperatures",
        "fine-tuning; steps",
    ]
