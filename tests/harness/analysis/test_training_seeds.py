"""Several trainings of a method in tables: means, gains, spreads and what is said of them."""

from __future__ import annotations

import math
from typing import Any

import measured
import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from harness.analysis import search_tables
from harness.analysis.controls import controls
from harness.analysis.pairing import FrameError
from harness.analysis.tables import ablation, sweep, table1
from harness.analysis.tables import methods as methods_table
from harness.analysis.training_curve import curve
from harness.analysis.training_seeds import FIRST_NOTES, first_network, said
from harness.report import formats

#: What image 1 of prompt 1 is, by training seed: the first training is the lucky one.
SEEDS = (0, 1, 4)


def of_seeds(rows: pd.DataFrame, seeds: tuple[int, ...] = SEEDS) -> pd.DataFrame:
    """Rows with hypernoise's once for each seed."""
    trained = rows["method"] == "hypernoise"
    own = [rows[trained].assign(training_seed=seed) for seed in seeds]
    return pd.concat([rows[~trained], *own], ignore_index=True).astype({"training_seed": "Int64"})


def scores() -> pd.DataFrame:
    """Seed 0 has every image right; seed 1 none of image 1; seed 4 as in the measured world."""
    rows = of_seeds(measured.scores())
    verdict = rows["metric"] == "geneval_correct"
    rows.loc[verdict & (rows["training_seed"] == 0), "value"] = 1.0
    of_one = verdict & (rows["training_seed"] == 1)
    rows.loc[of_one, "value"] = (rows["image_index"] == 0).astype(float)
    reward = (rows["metric"] == "train_reward") & rows["training_seed"].notna()
    rows.loc[reward, "value"] += rows["training_seed"].astype(float)
    return rows


def images() -> pd.DataFrame:
    return of_seeds(measured.images())


def row_of(table: pd.DataFrame, method: str) -> pd.Series[Any]:
    return table[(table["model"] == "tiny_a") & (table["method"] == method)].iloc[0]


def test_means_gains_and_spreads_over_seeds_are_those_of_a_hand_computation() -> None:
    table = table1(scores(), images(), measured.timings())
    ours, base = row_of(table, "hypernoise"), row_of(table, "base")
    by_seed = np.array([1.0, 0.5, 0.75])
    assert ours["n_training_seeds"] == 3
    assert base["n_training_seeds"] == 0
    assert (ours["n_images"], base["n_images"], ours["n_prompts"]) == (72, 24, 12)
    assert ours["geneval_mean"] == pytest.approx(by_seed.mean())
    assert ours["geneval_seed_sd"] == pytest.approx(by_seed.std(ddof=1)) == 0.25
    assert ours["gain_over_base"] == pytest.approx(0.25)
    assert ours["gain_seed_sd"] == pytest.approx(0.25)
    assert math.isnan(base["geneval_seed_sd"])
    assert ours["train_reward_mean"] == pytest.approx(1.0 + np.mean(SEEDS))
    # Per task three of twelve images gain, spread over the prompts as by chance (no design effect),
    # and .4 of one is unseen; of six tasks a sixth of it. Three seeds add .25^2 / 3 with 2 degrees
    # of freedom, weighed by their share.
    clusters, seeds = (3 / 16 / 12 + 0.4 / 12**2) / 6, 0.25**2 / 3
    freedom = 2 * (clusters + seeds) / seeds
    half = (ours["gain_ci_high"] - ours["gain_ci_low"]) / 2
    assert half == pytest.approx(t.ppf(0.975, freedom) * math.sqrt(clusters + seeds))
    first = [rows[~rows["training_seed"].isin([1, 4])] for rows in (scores(), images())]
    alone = row_of(table1(*first, measured.timings()), "hypernoise")
    assert alone["gain_over_base"] == pytest.approx(0.5)


def test_a_seed_without_an_image_of_the_others_is_named() -> None:
    rows = scores()
    lost = (rows["training_seed"] == 4) & (rows["prompt_id"] == "counting-1")
    lost &= rows["model"] == "tiny_b"
    with pytest.raises(FrameError) as fault:
        table1(rows[~lost], images(), measured.timings())
    assert "tiny_b hypernoise on matcher, steps 1, training seed 4: geneval_correct: image" in str(
        fault.value
    )


def test_with_one_training_no_column_tells_of_seeds_and_the_first_note_does() -> None:
    table = table1(measured.scores(), measured.images(), measured.timings())
    assert not [name for name in table if "seed" in name]
    said_first = formats.markdown(table, "origin").split("\n\n")[1]
    assert said_first.startswith("One training stands for each trained method:")
    several = table1(scores(), images(), measured.timings())
    said_first = formats.markdown(several, "origin").split("\n\n")[1]
    assert "training seeds (0, 1, 4)" in said_first


def test_methods_that_train_nothing_need_no_word_of_seeds() -> None:
    base = measured.scores().query("method == 'base'")
    assert said(base) == []
    mixed = pd.concat([of_seeds(measured.scores()), measured.scores().assign(method="alone")])
    is_alone = mixed["method"] == "alone"
    trained = mixed.assign(training_seed=mixed["training_seed"].where(~is_alone, 0))
    assert said(trained)[0].endswith("But one training stands for alone.")


def test_every_table_of_scores_copes_with_seeds() -> None:
    rows = scores()
    table = methods_table(rows, images(), measured.timings())
    assert row_of(table, "hypernoise")["gain_seed_sd"] == pytest.approx(0.25)
    table = sweep(rows, values={"base": None, "hypernoise": 1.0})
    assert row_of(table, "hypernoise")["geneval_mean"] == pytest.approx(0.75)
    swaps = rows.assign(metric=rows["metric"] + "_swapped")
    red = rows[rows["metric"] == "train_reward"].assign(metric="redness")
    table = controls(pd.concat([rows, swaps, red]), images(), swapped_reward="redness")
    assert row_of(table, "hypernoise")["gain_geneval"] == pytest.approx(0.25)
    assert table.attrs[FIRST_NOTES]


def test_the_spread_of_a_gain_is_of_images_that_the_metric_counts_on_both_sides() -> None:
    rows, made = scores(), images()
    first = (rows["metric"] == "geneval_correct") & (rows["image_index"] == 0)
    lost = first & (rows["method"] == "base")
    said_so = rows[lost].assign(metric="geneval_correct_left_out", value=1.0)
    table = table1(pd.concat([rows[~lost], said_so]), made, measured.timings())
    # Of image 1 alone seed 0 has all, seed 1 none.
    ours, gains = row_of(table, "hypernoise"), []
    for seed in SEEDS:
        own = rows[(rows["metric"] == "geneval_correct") & ~first & (rows["model"] == "tiny_a")]
        value = {
            name: own[(own["method"] == name) & own["training_seed"].isin(which)]["value"].mean()
            for name, which in (("hypernoise", [seed]), ("base", [pd.NA]))
        }
        gains.append(value["hypernoise"] - value["base"])
    assert ours["gain_over_base"] == pytest.approx(np.mean(gains))
    assert ours["gain_seed_sd"] == pytest.approx(np.std(gains, ddof=1))


def test_what_trains_nothing_is_not_matched_with_one_of_several_networks() -> None:
    with pytest.raises(FrameError, match=r"base, steps 1 has other training seeds than .*hyperno"):
        ablation(scores(), baseline="hypernoise", methods=["hypernoise", "base"])


def test_prompts_that_ask_for_the_same_are_one_cluster() -> None:
    rows, made = measured.scores(), measured.images()
    plain = row_of(table1(rows, made, measured.timings()), "hypernoise")
    # All prompts of a task are wordings of one thing: nothing was sampled twice.
    one = [frame.assign(prompt_meaning=frame["task"]) for frame in (rows, made)]
    table = table1(*one, measured.timings())
    assert list(table["n_meanings"].unique()) == [6]
    assert math.isnan(row_of(table, "hypernoise")["gain_ci_low"])
    assert not math.isnan(plain["gain_ci_low"])
    assert "n_meanings" not in plain
    both = [frame.assign(prompt_meaning="one") for frame in (rows, made)]
    with pytest.raises(FrameError, match="meanings of prompts in more than one task: 'one'"):
        table1(*both, measured.timings())


def test_a_warm_search_is_compared_with_the_cold_one_network_by_network() -> None:
    rows = measured.trajectories()
    warm = rows["method"] == "hypernoise_reno"
    more = pd.concat(
        [rows[~warm]]
        + [
            rows[warm].assign(training_seed=seed, best_value=rows["best_value"] + seed)
            for seed in (0, 2)
        ]
    ).astype({"training_seed": "Int64"})
    starts = {"hypernoise_reno": "reno"}
    one = search_tables.warm_start(rows, starts=starts).iloc[0]
    two = search_tables.warm_start(more, starts=starts).iloc[0]
    assert two["gain_at_end"] == pytest.approx(one["gain_at_end"] + 1.0)
    assert (two["n_images"], two["n_prompts"]) == (2 * one["n_images"], one["n_prompts"])
    assert two["cold_end"] == one["cold_end"]
    budgets = search_tables.search_budgets(more, budgets=(1, 5))
    warm_first = budgets.query("method == 'hypernoise_reno' and scored_images == 1").iloc[0]
    assert warm_first["best_value"] == pytest.approx(4.0 + 1.0)
    # The first image is no better than itself, in whatever sample.
    gain = [f"gain_over_first{end}" for end in ("", "_ci_low", "_ci_high")]
    assert warm_first[gain].to_list() == [0.0, 0.0, 0.0]
    share = [f"images_reached_at_half{end}" for end in ("", "_ci_low", "_ci_high")]
    assert 0 <= two[share].iloc[1] <= two[share].iloc[0] <= two[share].iloc[2] <= 1


def test_curves_have_a_row_for_each_training_and_pictures_one_network() -> None:
    rows = measured.training()
    two = pd.concat([rows, rows.assign(training_seed=1)])
    assert len(curve(two)) == 2 * len(curve(rows))
    kept = first_network(images())
    assert set(kept["training_seed"].dropna()) == {0}
    assert len(kept) == len(measured.images())
