"""What a gain in the trained reward costs, in a measured world that can be worked out on paper."""

from __future__ import annotations

from typing import Any

import measured
import pandas as pd
import pytest

from harness.analysis.hacking import hacking
from harness.analysis.pairing import FrameError
from harness.report.hacking_figure import hacking_panel
from harness.similarity.feature_distances import DISTANCES

MODEL = measured.MODELS[0]
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    MODEL: {"hypernoise": {"training": "hypernoise", "checkpoint": None}}
}
TRAINING = pd.DataFrame(
    [
        {"model": MODEL, "method": "hypernoise", "reward": "matcher", "training_seed": 0}
        | {"kind": "kept", "step": 70, "name": "half_squared_norm_nats", "value": 3.0}
    ]
)


def scores() -> pd.DataFrame:
    rows = measured.scores()
    return rows[(rows["model"] == MODEL) & rows["method"].isin(["base", "hypernoise"])]


def distances(far: float) -> pd.DataFrame:
    """The base at 1 ± 0.1 from its other draw, the network as far as is said."""
    cells = scores()[["model", "method", "reward", "training_seed", "steps"]].drop_duplicates()
    rows = [
        {**cell, "features": "seen", "reference": "base:draw=1", "metric": metric}
        | {"value": far if cell["method"] == "hypernoise" else 1.0, "se": 0.1, "n_groups": 20}
        for cell in cells.to_dict("records")
        for metric in DISTANCES
    ]
    return pd.DataFrame(rows)


def test_gains_stand_per_unit_of_the_trained_reward_beside_nats_and_wins() -> None:
    table = hacking(measured.shuffled(scores()), distances(1.1), TRAINING, settings=SETTINGS)
    base, ours = table.to_dict("records")
    assert (base["method"], ours["method"]) == ("base", "hypernoise")
    assert (ours["training_steps"], ours["half_squared_norm_nats"]) == (70, 3.0)
    share = ours["gain_judge_reward"] / ours["gain_train_reward"]
    assert ours["judge_reward_per_reward"] == pytest.approx(share)
    joint = scores().set_index(["method", "metric", "prompt_id", "image_index"])["value"]
    gains = joint["hypernoise"]["judge_reward"] - joint["base"]["judge_reward"]
    wins = ((gains > 0) + 0.5 * (gains == 0)).mean()
    assert ours["win_rate_judge_reward"] == pytest.approx(wins)
    assert ours["win_rate_judge_reward_ci_high"] <= 1
    assert pd.isna(base["win_rate_judge_reward"])


@pytest.mark.parametrize(("far", "is_off"), [(1.2, False), (2.0, True)])
def test_a_method_is_off_where_its_interval_lies_beyond_the_bases(far: float, is_off: bool) -> None:
    table = hacking(scores(), distances(far), TRAINING, settings=SETTINGS)
    assert table["off_seen"].to_list() == [False, is_off]
    said = [note for note in table.attrs["first_notes"] if "kid in seen" in note]
    assert len(said) == 1
    assert ("off from hypernoise" if is_off else "not told from") in said[0]


def test_a_method_without_distances_is_named() -> None:
    lacking = distances(1.0)
    lacking = lacking[lacking["method"] == "base"]
    with pytest.raises(FrameError, match="hypernoise: no distances"):
        hacking(scores(), lacking, TRAINING, settings=SETTINGS)


def test_the_figure_has_the_judge_and_a_panel_for_each_feature_network() -> None:
    figure = hacking_panel(scores(), distances(2.0), TRAINING, settings=SETTINGS)
    labels = [panel.get_ylabel() for panel in figure.axes]
    assert labels == ["gain in judge reward", "kid seen"]
