"""Gains and their controls, from a measured world that can be worked out on paper."""

from __future__ import annotations

import measured
import numpy as np
import pandas as pd
import pytest

from harness.analysis.controls import controls
from harness.analysis.pairing import FrameError
from harness.results.frames import SWAPPED

#: Gains per prompt 0 and 1 of every task, as `measured` makes them for hypernoise.
CORRECT_GAINS = (0.5, 0.0)


def swap_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Against another prompt hypernoise gains half of its reward, and nothing else changes."""
    rows = scores.assign(metric=scores["metric"] + SWAPPED)
    trained = (rows["metric"] == "train_reward" + SWAPPED) & (rows["reward"] == "matcher")
    base = measured.TRAIN_REWARD["base"] + rows["image_index"]
    gain = measured.TRAIN_REWARD["hypernoise"] - measured.TRAIN_REWARD["base"]
    rows.loc[rows["metric"] == "train_reward" + SWAPPED, "value"] = base
    rows.loc[trained, "value"] += gain / 2
    correct = rows["metric"] == "geneval_correct" + SWAPPED
    rows.loc[correct, "value"] = 0.0
    return rows


def world() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hypernoise on its own reward and on redness: the latter gets redder, and nothing else."""
    images, scores = measured.images(), measured.scores()
    kept = ["base", "hypernoise"]
    images, scores = (frame[frame["method"].isin(kept)] for frame in (images, scores))
    base_scores = scores[scores["method"] == "base"]
    swapped = base_scores.assign(method="hypernoise", reward="redness")
    red_images = images[images["method"] == "base"].assign(method="hypernoise", reward="redness")
    scores = pd.concat([scores, swapped], ignore_index=True)
    red = scores[scores["metric"] == "judge_reward"].assign(metric="redness")
    # Not the same for all prompts, so that it has an interval.
    spread = 0.1 * red["prompt_id"].str.endswith("1")
    red["value"] = np.where(red["reward"] == "redness", 0.5 + spread, 0.0)
    scores = pd.concat([scores, swap_rows(scores), red], ignore_index=True)
    return scores, pd.concat([images, red_images], ignore_index=True)


def made(**changes: object) -> pd.DataFrame:
    scores, images = world()
    arguments = {"swapped_reward": "redness", "methods": ["base", "hypernoise"], **changes}
    return controls(measured.shuffled(scores), measured.shuffled(images), **arguments)  # type: ignore[arg-type]


def test_a_gain_stands_beside_its_controls() -> None:
    table = made()
    who = table[["model", "method", "reward"]].to_numpy().tolist()
    assert who == [[m, "hypernoise", r] for m in measured.MODELS for r in ("matcher", "redness")]
    own, red = table.iloc[0], table.iloc[1]
    assert (own["n_images"], own["n_prompts"]) == (24, 12)
    assert own["gain_geneval"] == pytest.approx(np.mean(CORRECT_GAINS))
    assert own["gain_geneval_ci_low"] < own["gain_geneval"] < own["gain_geneval_ci_high"]
    assert own["gain_train_reward"] == pytest.approx(1.5)
    assert own["gain_train_reward_swapped"] == pytest.approx(0.75)
    assert own["gain_geneval_swapped"] == own["gain_judge_reward_swapped"] == 0
    assert own["gain_redness"] == 0
    assert red["gain_redness"] == pytest.approx(0.55)
    assert red["gain_geneval"] == red["gain_train_reward"] == red["gain_judge_reward"] == 0


def test_holm_names_the_gains_that_hold_together() -> None:
    table = made()
    assert table["survives_holm"].to_list() == [
        "+train_reward +train_reward_swapped",
        "+redness",
    ] * len(measured.MODELS)


def test_only_the_asked_models_are_shown() -> None:
    assert set(made(models=["tiny_b"])["model"]) == {"tiny_b"}
    with pytest.raises(FrameError, match="unknown model 'tiny_c'"):
        made(models=["tiny_c"])


def test_what_is_missing_is_named() -> None:
    scores, images = world()
    for metric in ("train_reward" + SWAPPED, "redness"):
        lacking = scores[scores["metric"] != metric]
        with pytest.raises(FrameError, match=f"unknown metric '{metric}'"):
            controls(lacking, images, swapped_reward="redness")
    bare = (frame[frame["method"] != "base"] for frame in (scores, images))
    with pytest.raises(FrameError, match="no rows of the baseline 'base'"):
        controls(*bare, swapped_reward="redness")
