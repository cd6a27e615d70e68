"""Tables and curves of searches, from a measured world that can be worked out on paper."""

from __future__ import annotations

import math

import measured
import numpy as np
import pandas as pd
import pytest

from harness.figures import LOOKS
from harness.paired import FrameError
from harness.searches import METHODS_COLUMNS, curves, methods, search_curve, warm_start
from harness.tables import table1

PAIRS = {"hypernoise_reno": "reno"}


def timings() -> pd.DataFrame:
    cold = measured.timings()
    cold = cold[cold["method"] == "reno"]
    return pd.concat([cold, cold.assign(method="hypernoise_reno")], ignore_index=True)


def test_methods_shows_what_every_method_earns_and_costs() -> None:
    given = measured.scores(), measured.images(), measured.timings()
    table = methods(*map(measured.shuffled, given), methods=["reno", "hypernoise"], batch_size=64)
    assert list(table.columns) == list(METHODS_COLUMNS)
    assert list(table["method"]) == ["reno", "hypernoise"] * 2
    assert table["reward_calls"].to_list() == [50.0, 0.0] * 2
    assert table["backward_passes"].to_list() == [25.0, 0.0] * 2
    np.testing.assert_array_equal(table["peak_memory_mib"], [math.nan, 12.5] * 2)
    same = [name for name in METHODS_COLUMNS if name in table1(*given).columns]
    expected = table1(*given, methods=["reno", "hypernoise"], batch_size=64)
    pd.testing.assert_frame_equal(table[same], expected[same])


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
