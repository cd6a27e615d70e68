"""Shares of a search's gain: by hand, against their simulated coverage, and where there is none."""

from __future__ import annotations

import measured
import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit  # type: ignore[import-untyped]

from harness.analysis.recovered_gain import recovered_gain, share_interval

#: On a task's two prompts the noise network gains (1/2, 0) and the search (1/2, 1/2). Less a share
#: of the search's, they differ by 1/2 whatever the share: six variances of 1/16, one freedom each.
HALF = stdtrit(6, 0.975) * (1 / 16 / 6) ** 0.5 / 0.5


def found(search_is_right: bool = True) -> pd.DataFrame:
    def correct(method: str, prompt: int, image: int) -> bool:
        return search_is_right if method == "reno" else measured.is_correct(method, prompt, image)

    frames = measured.scores(correct), measured.images()
    return recovered_gain(*(measured.shuffled(frame) for frame in frames)).set_index("method")


def test_a_share_and_its_interval_are_those_worked_out_by_hand() -> None:
    table = found()
    assert list(table["model"]) == [m for m in measured.MODELS for _ in ("hypernoise", "reno")]
    own = table.loc["hypernoise"].iloc[0]
    assert own["gain_over_base"] == pytest.approx(0.25)
    assert own["share_of_reno"] == pytest.approx(0.5)
    assert own["share_of_reno_ci_low"] == pytest.approx(0.5 - HALF)
    assert own["share_of_reno_ci_high"] == pytest.approx(0.5 + HALF)
    assert table.loc["reno", "share_of_reno"].isna().all()
    assert table.loc["reno", "gain_over_base"].to_list() == [0.5, 0.5]


def test_a_search_that_gains_nothing_has_no_shares_to_give() -> None:
    own = found(search_is_right=False).loc["hypernoise"].iloc[0]
    assert own["share_of_reno"] == pytest.approx(-0.5)
    assert np.isnan(own[["share_of_reno_ci_low", "share_of_reno_ci_high"]].to_list()).all()


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_ninety_five_of_a_hundred_intervals_hold_the_true_share(n_seeds: int) -> None:
    rng = np.random.default_rng(n_seeds)
    tasks = np.repeat(np.arange(6), 12 * 4)
    clusters = np.repeat(np.arange(6 * 12), 4)
    held = []
    for _ in range(200):
        luck = rng.normal(0, 0.3, 72)[clusters]
        others = 0.4 + luck + rng.normal(0, 0.4, len(tasks))
        networks = rng.normal(0, 0.03, n_seeds) if n_seeds > 1 else np.zeros(1)
        gains = [0.2 + 0.5 * luck + rng.normal(0, 0.4, len(tasks)) + own for own in networks]
        other, of_task, codes = (np.tile(x, n_seeds) for x in (others, tasks, clusters))
        seeds = np.repeat(np.arange(n_seeds), len(tasks)) if n_seeds > 1 else None
        interval = share_interval(np.concatenate(gains), other, of_task, codes, seeds=seeds)
        held.append(interval.low <= 0.5 <= interval.high)
    assert 0.92 <= np.mean(held) <= 0.99


def test_of_a_search_whose_trainings_differ_there_are_both_bounds_or_none() -> None:
    rng, n_finite = np.random.default_rng(0), []
    tasks, clusters = np.repeat(np.arange(6), 32), np.repeat(np.arange(48), 4)
    seeds = np.repeat([0, 1], len(tasks))
    for _ in range(40):
        others = 0.4 + np.concatenate([rng.normal(s, 0.4, 192) for s in rng.normal(0, 0.1, 2)])
        gains = 0.5 * others + rng.normal(0, 0.4, 384)
        found = share_interval(gains, others, np.tile(tasks, 2), np.tile(clusters, 2), seeds=seeds)
        n_finite.append(int(np.isfinite([found.low, found.high]).sum()))
    assert set(n_finite) == {0, 2}


def test_a_share_is_that_of_the_search_for_the_same_reward() -> None:
    both = []
    for frame in (measured.scores(), measured.images()):
        own = frame[frame["method"] != "base"].assign(reward="another")
        both.append(pd.concat([frame, own]).astype(frame.dtypes.to_dict()))
    right = both[0]["method"].eq("reno") & both[0]["metric"].eq("geneval_correct")
    both[0].loc[right & both[0]["reward"].eq("matcher"), "value"] = 1.0
    found = recovered_gain(*both).set_index(["method", "reward"]).loc["hypernoise"]
    assert found.loc["matcher", "share_of_reno"].to_list() == pytest.approx([0.5, 0.5])
    assert found.loc["another", "share_of_reno"].to_list() == pytest.approx([-0.5, -0.5])


def test_a_network_of_every_training_seed_is_beside_the_same_search() -> None:
    scores, images = measured.scores(), measured.images()
    both = []
    for frame in (scores, images):
        own = frame[frame["method"] == "hypernoise"]
        both.append(pd.concat([frame, own.assign(training_seed=1)]).astype(frame.dtypes.to_dict()))
    right = both[0]["method"].eq("reno") & both[0]["metric"].eq("geneval_correct")
    both[0].loc[right, "value"] = 1.0
    own = recovered_gain(*both).set_index("method").loc["hypernoise"].iloc[0]
    assert own["n_training_seeds"] == 2
    assert own["share_of_reno"] == pytest.approx(0.5)
    # Two equal networks say nothing new of the prompts.
    assert own["share_of_reno_ci_low"] == pytest.approx(0.5 - HALF)
