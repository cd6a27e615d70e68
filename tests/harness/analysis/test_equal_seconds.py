"""Methods at equal seconds: which amount of work fits, and how far each is from the best."""

from __future__ import annotations

import measured
import pandas as pd
import pytest

from harness.analysis.equal_seconds import equal_seconds
from harness.analysis.pairing import FrameError
from harness.report.pareto import equal_seconds_curve

#: Twenty iterations take 20 ms, and get right what the noise network does.
SHORT, SHORT_MS = "reno:iterations=10", 20.0


def frames() -> list[pd.DataFrame]:
    """The measured world with a short search, too."""
    found = []
    for frame in (measured.scores(), measured.images(), measured.timings()):
        short = frame[frame["method"] == "hypernoise"].assign(method=SHORT, training_seed=pd.NA)
        if "ms" in short:
            short["ms"] = SHORT_MS
        found.append(pd.concat([frame, short], ignore_index=True).astype(frame.dtypes.to_dict()))
    return [measured.shuffled(frame) for frame in found]


def table(**given: object) -> pd.DataFrame:
    return equal_seconds(*frames(), batch_size=64, **given)  # type: ignore[arg-type]


def test_a_family_is_shown_with_the_most_work_that_fits_whatever_it_earns() -> None:
    found = table(budgets=(1, 4, 16, 64))
    own = found[found["model"] == "tiny_a"]
    budgets = own.set_index("family").groupby("budget")
    shown = {budget: rows["method"].to_dict() for budget, rows in budgets}
    assert shown == {
        1: {"base": "base"},
        4: {"base": "base", "hypernoise": "hypernoise"},
        16: {"base": "base", "hypernoise": "hypernoise", "reno": SHORT},
        # Its fifty iterations get nothing right, and they fit.
        64: {"base": "base", "hypernoise": "hypernoise", "reno": "reno"},
    }
    assert set(own["budget_ms"] / own["budget"]) == {2.0}


def test_each_is_told_against_the_best_of_its_budget_on_the_same_noise() -> None:
    found = table(models=["tiny_b"], budgets=(4, 64)).set_index(["budget", "family"])
    assert found.loc[(4, "hypernoise"), "over_best"] == 0
    assert found.loc[(4, "base"), "over_best"] == pytest.approx(0.5 - 0.75)
    assert found.loc[(64, "reno"), "over_best"] == pytest.approx(-0.75)
    assert not found.loc[(64, "reno"), "is_level"]
    assert found.loc[(64, "hypernoise"), "is_level"]
    assert found.loc[(4, "hypernoise"), "gain_over_base"] == pytest.approx(0.25)


def test_the_notes_say_which_amounts_there_were() -> None:
    notes = " ".join(table().attrs["notes"])
    assert f"reno, {SHORT}" in notes or f"{SHORT}, reno" in notes


def test_a_budget_of_nothing_and_a_method_without_timing_are_refused() -> None:
    with pytest.raises(FrameError, match="budget 0 must be above 0"):
        table(budgets=(1, 0))
    scores, images, timings = frames()
    with pytest.raises(FrameError, match=r"tiny_a reno:iterations=10 .*no timing"):
        equal_seconds(scores, images, timings[timings["method"] != SHORT], batch_size=64)


def test_the_figure_joins_the_amounts_of_a_family_at_multiples_of_the_bases_time() -> None:
    figure = equal_seconds_curve(*frames(), batch_size=64)
    panel = figure.axes[0]
    assert panel.get_title() == "tiny_a"
    points = {tuple(float(x) for x in line.get_xdata()) for line in panel.lines}
    assert {(1.0,), (2.25,), (10.0, 50.0)} <= points
