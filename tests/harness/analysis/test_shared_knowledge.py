"""What a judge shares with the reward beyond the verdict."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from harness.analysis.pairing import FrameError
from harness.analysis.shared_knowledge import area, correlation, judges

TASKS = ("counting", "colors")


def scores(shared: float, n_prompts: int = 40) -> pd.DataFrame:
    """Reward and judge are the verdict, noise of their own, and as much noise that they share."""
    rng = np.random.default_rng(5)
    rows = []
    for prompt in range(n_prompts):
        for index in range(4):
            right = float(rng.random() < 0.5)
            both, own, other = rng.normal(size=3)
            values = {
                "geneval_correct": right,
                "train_reward": 3 * right + own + shared * both,
                "judge_reward": 3 * right + other + shared * both,
            }
            who = {"model": "m", "method": "base", "reward": "", "steps": 1, "training_seed": None}
            where = {"task": TASKS[prompt % 2], "prompt_id": f"p{prompt}", "image_index": index}
            where["prompt_meaning"] = f"p{prompt}"
            rows += [{**who, **where, "metric": n, "value": v} for n, v in values.items()]
    return pd.DataFrame(rows)


def test_two_that_agree_by_the_verdict_alone_have_no_partial_correlation() -> None:
    (row,) = judges(scores(shared=0.0), judges=["judge_reward"]).to_dict("records")
    assert row["n_images"] == 160
    assert row["correlation"] > 0.5
    assert row["partial_correlation_ci_low"] < 0 < row["partial_correlation_ci_high"]
    assert row["reward_auc"] > 0.9 and row["judge_auc"] > 0.9


def test_what_both_get_wrong_together_shows_in_the_partial_correlation() -> None:
    (row,) = judges(scores(shared=2.0), judges=["judge_reward"]).to_dict("records")
    # Of the variance that is left, 4 of 5 parts are shared.
    assert row["partial_correlation_ci_low"] < 0.8 < row["partial_correlation_ci_high"]
    assert row["partial_correlation_ci_low"] > 0.6


def test_images_of_several_trainings_are_taken_together() -> None:
    first, second = (scores(shared=0.0).assign(training_seed=seed) for seed in (0, 1))
    both = pd.concat([first, second], ignore_index=True)
    (row,) = judges(both, judges=["judge_reward"]).to_dict("records")
    assert row["n_images"] == 320


def test_wordings_of_one_wish_are_one_cluster() -> None:
    rows = scores(shared=0.0)
    # Eight wordings of every wish, as alike as copies: they tell no more than one does.
    copies = [rows.assign(prompt_id=rows["prompt_id"] + f".{n}") for n in range(8)]
    (one,), (many,) = (
        judges(each, judges=["judge_reward"]).to_dict("records")
        for each in (rows, pd.concat(copies, ignore_index=True))
    )
    for bound in ("low", "high"):
        name = f"partial_correlation_ci_{bound}"
        assert many[name] == pytest.approx(one[name], abs=0.02)


def test_an_area_is_the_mean_of_the_tasks_that_have_both_verdicts() -> None:
    tasks = np.array(["a", "a", "a", "b", "b"], dtype=object)
    values, verdicts = np.array([1.0, 2.0, 3.0, 1.0, 9.0]), np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    assert area(values, verdicts, tasks) == pytest.approx(0.5)
    assert math.isnan(area(values, np.ones(5), tasks))


def test_a_correlation_is_pearsons_whatever_the_clusters() -> None:
    rng = np.random.default_rng(1)
    pair = rng.normal(size=(60, 2)) + rng.normal(size=(60, 1))
    for clusters in (np.arange(60), np.arange(60) // 4):
        found = correlation(pair, clusters)
        assert found.mean == pytest.approx(np.corrcoef(pair.T)[0, 1])
        assert found.low < found.mean < found.high


def test_a_missing_judge_is_named() -> None:
    with pytest.raises(FrameError, match="160 images have no other_judge"):
        judges(scores(0.0), judges=["other_judge"])
