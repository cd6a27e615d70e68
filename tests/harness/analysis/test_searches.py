"""Tables and curves of searches, from a measured world that can be worked out on paper."""

from __future__ import annotations

import math

import measured
import numpy as np
import pandas as pd
import pytest

from harness.analysis.pairing import FrameError
from harness.analysis.search_tables import (
    WARM_START_COLUMNS,
    search_budgets,
    search_curve,
    warm_start,
)
from harness.analysis.tables import methods, table1
from harness.report.figure_style import LOOKS
from harness.report.pareto import pareto_methods
from harness.report.search_figures import curves

PAIRS = {"hypernoise_reno": "reno"}


def timings() -> pd.DataFrame:
    cold = measured.timings()
    cold = cold[cold["method"] == "reno"]
    return pd.concat([cold, cold.assign(method="hypernoise_reno")], ignore_index=True)


def test_methods_shows_what_every_method_earns_and_costs() -> None:
    given = measured.scores(), measured.images(), measured.timings()
    table = methods(*map(measured.shuffled, given), methods=["reno", "hypernoise"], batch_size=64)
    assert " ".join(table.columns) == (
        "model method reward steps generation_ms generation_ms_ci_low generation_ms_ci_high "
        "end_to_end_ms end_to_end_ms_ci_low end_to_end_ms_ci_high n_timings n_disturbed nfe "
        "reward_calls backward_passes peak_memory_mib backbone_params_m params_m "
        "n_images n_prompts "
        "geneval_mean geneval_mean_ci_low geneval_mean_ci_high "
        "gain_over_base gain_ci_low gain_ci_high p_holm "
        "train_reward_mean train_reward_mean_ci_low train_reward_mean_ci_high "
        "judge_reward_mean judge_reward_mean_ci_low judge_reward_mean_ci_high "
        "gain_train_reward gain_train_reward_ci_low gain_train_reward_ci_high "
        "gain_judge_reward gain_judge_reward_ci_low gain_judge_reward_ci_high failed_attempts"
    )
    assert list(table["method"]) == ["reno", "hypernoise"] * 2
    assert table["reward_calls"].to_list() == [50.0, 0.0] * 2
    assert table["backward_passes"].to_list() == [25.0, 0.0] * 2
    np.testing.assert_array_equal(table["peak_memory_mib"], [math.nan, 12.5] * 2)
    same = [name for name in table.columns if name in table1(*given).columns]
    expected = table1(*given, methods=["reno", "hypernoise"], batch_size=64)
    pd.testing.assert_frame_equal(table[same], expected[same])
    assert {"p_holm", "train_reward_mean_ci_low", "judge_reward_mean_ci_high"} <= {*same}
    assert table["failed_attempts"].isna().all()


def test_methods_counts_the_attempts_that_gave_no_image() -> None:
    given = measured.scores(), measured.images(), measured.timings()
    made = measured.shuffled(measured.trajectories())
    shown = ["reno", "hypernoise"]
    table = methods(*given, made, methods=shown, batch_size=64)
    # Iterations 3, 6 and 9 of ten.
    assert table["failed_attempts"].to_list() == [3.0, 0.0] * 2


def test_methods_shows_a_method_though_another_was_timed_in_larger_batches() -> None:
    timed = measured.timings()
    larger = timed[(timed["method"] == "reno") & (timed["batch_size"] == 64)]
    timed = pd.concat([timed, larger.assign(batch_size=128)], ignore_index=True)
    table = methods(measured.scores(), measured.images(), timed, methods=["hypernoise"])
    assert list(table["method"]) == ["hypernoise"] * 2
    assert table["peak_memory_mib"].to_list() == [12.5] * 2


def test_budgets_show_what_a_search_has_after_so_many_images() -> None:
    rows = measured.trajectories()
    # On image 0 of every prompt 0 reno ends 3 better.
    lucky = (rows["image_index"] == 0) & rows["prompt_id"].str.endswith("-0")
    rows.loc[lucky & (rows["method"] == "reno") & (rows["iteration"] == 10), "best_value"] += 3.0
    table = search_budgets(measured.shuffled(rows), methods=["reno"], budgets=[10, 2, 1, 50])
    assert table["model"].to_list() == ["tiny_a"] * 3 + ["tiny_b"] * 3
    own = table.iloc[:3]
    assert own["scored_images"].to_list() == own["nfe"].to_list() == [1, 2, 10]
    assert own["best_value"].to_list() == [0.0, 1.0, 9.75]
    assert own["gain_over_first"].to_list() == [0.0, 1.0, 9.75]
    assert set(own["n_images"]) == {24}
    assert set(own["n_prompts"]) == {12}
    # Prompts end at 9 + 3 / 2 and 9.
    half_width = 2.201 * np.std([1.5, 0.0] * 6, ddof=1) / math.sqrt(12)
    for name in ("best_value", "gain_over_first"):
        assert own[f"{name}_ci_high"].iloc[2] == pytest.approx(9.75 + half_width, abs=1e-3)


def test_budgets_that_cannot_be_shown_are_named() -> None:
    rows = measured.trajectories()
    with pytest.raises(FrameError, match=r"from 1 on, got \[0, 2\]"):
        search_budgets(rows, budgets=[0, 2])
    with pytest.raises(FrameError, match="unknown method 'renno'; did you mean 'reno'"):
        search_budgets(rows, methods=["renno"])
    torn = rows.drop(rows.index[(rows["iteration"] == 5) & (rows["method"] == "reno")][:1])
    with pytest.raises(FrameError, match="tiny_a reno matcher 1: iterations with fewer images"):
        search_budgets(torn)


def test_a_curve_is_the_mean_of_the_best_so_far_over_images() -> None:
    curve = search_curve(measured.shuffled(measured.trajectories()), models=["tiny_b", "tiny_a"])
    assert list(dict.fromkeys(curve["model"])) == ["tiny_b", "tiny_a"]
    own = curve[(curve["model"] == "tiny_b") & (curve["method"] == "hypernoise_reno")]
    assert own["iteration"].to_list() == list(range(1, 11))
    assert own["best_value"].to_list() == [4.0, 5, 6, 7, 8, 9, 10, 11, 11, 11]
    assert own["nfe"].to_list() == list(range(2, 12))
    assert set(own["n_images"]) == {24}


def test_warm_start_counts_the_iterations_that_it_saves() -> None:
    table = warm_start(measured.trajectories(), starts=PAIRS)
    assert list(table["model"]) == list(measured.MODELS)
    row = table.iloc[0].to_dict()
    assert (row["search"], row["warm"], row["iterations"]) == ("reno", "hypernoise_reno", 10)
    assert (row["cold_start"], row["cold_end"]) == (0.0, 9.0)
    assert (row["warm_start"], row["warm_end"]) == (4.0, 11.0)
    # Warm: 4 at iteration 1, so 9 at 6. Cold: 0 at 1, so 4 at 5.
    assert row["warm_iterations_to_cold_end"] == 6
    assert row["share_of_iterations"] == 0.6
    assert row["cold_iterations_to_warm_start"] == 5
    assert list(table.columns) == list(WARM_START_COLUMNS)
    assert (row["n_images"], row["n_prompts"], row["gain_at_end"]) == (24, 12, 2.0)


def test_warm_start_compares_image_by_image_at_half_of_the_iterations() -> None:
    rows = measured.trajectories()
    # On image 0 of every prompt 0 the warm search is 3 better throughout.
    lucky = (rows["image_index"] == 0) & rows["prompt_id"].str.endswith("-0")
    rows.loc[lucky & (rows["method"] == "hypernoise_reno"), "best_value"] += 3.0
    row = warm_start(measured.shuffled(rows), starts=PAIRS).iloc[0]
    # Warm at iteration 5: 8, cold at its end: 9; so prompts gain -1 + 3 / 2 and -1.
    prompts = np.array([0.5, -1.0] * 6)
    assert row["gain_at_half"] == pytest.approx(prompts.mean())
    half_width = 2.201 * prompts.std(ddof=1) / math.sqrt(len(prompts))
    assert row["gain_at_half_ci_high"] == pytest.approx(prompts.mean() + half_width, abs=1e-3)
    assert row["images_reached_at_half"] == 0.25
    assert row["images_reached_at_half_ci_low"] < 0.25 < row["images_reached_at_half_ci_high"]
    # At the end 11 against 9, and 3 more on a quarter of the images.
    assert row["warm_end"] - row["cold_end"] == row["gain_at_end"] == pytest.approx(2.75)
    assert row["gain_at_end_ci_high"] == pytest.approx(2.75 + half_width, abs=1e-3)
    assert row["warm_end_ci_high"] == pytest.approx(11.75 + half_width, abs=1e-3)
    # The others reach 9 at iteration 6.
    assert row["median_iterations_to_cold_end"] == 6


def test_an_end_that_most_images_never_reach_has_no_median() -> None:
    row = warm_start(measured.trajectories(), starts={"reno": "hypernoise_reno"}).iloc[0]
    assert math.isnan(row["median_iterations_to_cold_end"])
    assert row["images_reached_at_half"] == 0


def test_a_level_that_is_never_reached_has_no_number() -> None:
    row = warm_start(measured.trajectories(), starts={"reno": "hypernoise_reno"}).iloc[0]
    assert math.isnan(row["warm_iterations_to_cold_end"])
    assert math.isnan(row["share_of_iterations"])
    assert row["cold_iterations_to_warm_start"] == 1


def test_what_keeps_cold_and_warm_from_being_compared_is_named() -> None:
    rows = measured.trajectories()
    lacking = (rows["method"] == "reno") & (rows["prompt_id"] == rows["prompt_id"].iloc[0])
    with pytest.raises(FrameError, match="tiny_a: reno and hypernoise_reno differ in 2 images"):
        warm_start(rows[~lacking], starts=PAIRS)
    with pytest.raises(FrameError, match="unknown method 'renno'; did you mean 'reno'"):
        warm_start(rows, starts={"hypernoise_reno": "renno"})
    with pytest.raises(FrameError, match="no warm search"):
        warm_start(rows, starts={})
    twice = pd.concat([rows, rows[rows["method"] == "reno"].assign(steps=2)])
    with pytest.raises(FrameError, match="tiny_a: reno is there with several rewards or steps"):
        warm_start(twice, starts=PAIRS)
    torn = rows.drop(rows.index[(rows["iteration"] == 10) & lacking][:1])
    with pytest.raises(FrameError, match="tiny_a reno matcher 1: iterations with fewer images"):
        search_curve(torn)


def test_curves_draw_iterations_above_and_time_below() -> None:
    figure = curves(measured.trajectories(), timings(), batch_size=64)
    above, below = (figure.axes[0], figure.axes[len(measured.MODELS)])
    assert above.get_title() == "tiny_a"
    for panel, x in ((above, range(1, 11)), (below, [10.0 * n for n in range(1, 11)])):
        (line,) = (one for one in panel.lines if one.get_color() == LOOKS["reno"].color)
        np.testing.assert_allclose(line.get_xdata(), list(x))
        np.testing.assert_allclose(line.get_ydata(), range(10))
    warm = LOOKS["hypernoise_reno"].color
    (line,) = (one for one in below.lines if one.get_color() == warm)
    # Eleven passes in 100 ms, two of them before the first image is scored.
    np.testing.assert_allclose(line.get_xdata()[0], 100 * 2 / 11)


def test_curves_of_a_search_without_timing_are_refused() -> None:
    untimed = timings()
    untimed = untimed[untimed["method"] == "reno"]
    with pytest.raises(FrameError, match="tiny_a hypernoise_reno: no timing"):
        curves(measured.trajectories(), untimed)


def test_pareto_draws_every_method_with_its_settings() -> None:
    settings = {"base": "", "reno": "iterations 50", "hypernoise": ""}
    given = measured.scores(), measured.images(), measured.timings()
    figure = pareto_methods(*map(measured.shuffled, given), legend=settings, batch_size=64)
    above, below = figure.axes[0], figure.axes[len(measured.MODELS)]
    assert above.get_xscale() == below.get_xscale() == "log"
    for panel, y in ((above, [0.5, 0.0, 0.75]), (below, [5.0, 5.0, 5.0])):
        drawn = {line.get_color(): line for line in panel.lines if line.get_marker() in "ovD"}
        for name, value, generation_ms in zip(settings, y, (2.0, 100.0, 4.5), strict=True):
            line = drawn[LOOKS[name].color]
            assert [float(x) for x in line.get_xdata()] == pytest.approx([generation_ms])
            assert [float(y) for y in line.get_ydata()] == pytest.approx([value])
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["base", "reno: iterations 50", "hypernoise"]
