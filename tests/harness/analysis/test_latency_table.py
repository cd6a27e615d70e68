"""The table of what methods cost: what ratios are of, and what an interval covers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analysis.latency_table import latency as latency_table
from harness.analysis.statistics import median_interval
from harness.results import frames
from harness.results.stage_names import (
    BACKBONE,
    END_TO_END,
    GENERATION,
    NOISE_NETWORK,
)


def test_the_medians_interval_is_the_textbooks_order_statistics() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, 21.0))
    assert median_interval(values)[:3] == (10.5, 6.0, 15.0)
    assert median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])[:3] == (3.5, 1.0, 6.0)
    assert np.isnan(median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).low)


def test_the_medians_interval_covers_the_median_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).exponential(size=(4000, 15))
    covered = [low <= np.log(2) <= high for _, low, high, *_ in map(median_interval, draws)]
    # 96.5 % at 15 values, the next narrower pair would have 88 %.
    assert 0.955 < np.mean(covered) < 0.975


def test_ratios_are_paired_so_that_drift_cancels_and_the_budget_is_counted() -> None:
    drift = np.linspace(1.0, 3.0, 32)
    table = latency_table(calls(drift))
    base, noise = (table[table["method"] == name].iloc[0] for name in ("base", "hypernoise"))
    assert table["method"].tolist() == ["base", "hypernoise"]
    assert base["ratio_to_base"] == 1.0
    # Neighbours in time differ by a thirtieth of the drift at most; unpaired, .5 and 4.5 occur.
    for name in ("ratio_to_base", "ratio_to_base_ci_low", "ratio_to_base_ci_high"):
        assert noise[name] == pytest.approx(1.5, rel=0.07)
    # Base 10, its pass 4, and a fifth more operations at the pass's own speed: 14.8.
    assert noise["ratio_to_budget"] == pytest.approx(15 / 14.8, rel=0.1)
    assert np.isnan(base["ratio_to_budget"])
    assert noise["noise_network_ms"] == pytest.approx(5 * np.median(drift[1::2]))
    assert noise["images_per_s"] == pytest.approx(1000 / noise["end_to_end_ms"])


def test_a_budget_without_counted_operations_is_missing_and_not_too_small() -> None:
    table = latency_table(calls(np.ones(12)).assign(gflops=np.nan)).set_index("method")
    assert table.loc["hypernoise", "ratio_to_base"] == 1.5
    assert np.isnan(table.loc["hypernoise", "ratio_to_budget"])


def test_the_papers_seconds_stand_beside_the_models_random_twin() -> None:
    rows = calls(np.ones(12)).replace({"model": {"m": "sd_turbo_random"}})
    rows = rows.replace({"method": {"hypernoise": "hypernoise:merged=per_layer"}})
    table = latency_table(rows).set_index("method")
    assert table["paper_ms"].to_dict() == {"base": 200.0, "hypernoise:merged=per_layer": 300.0}
    assert any("another GPU" in note for note in table.attrs["notes"])
    assert latency_table(calls(np.ones(12)))["paper_ms"].isna().all()


def calls(drift: Any) -> pd.DataFrame:
    """Base and hypernoise in turns on a machine that gets slower."""
    stages = {
        "base": {BACKBONE: (4.0, 1.0), GENERATION: (9.0, 1.4), END_TO_END: (10.0, 1.5)},
        "hypernoise": {
            BACKBONE: (4.0, 1.0),
            NOISE_NETWORK: (5.0, 1.2),
            GENERATION: (14.0, 2.6),
            END_TO_END: (15.0, 2.7),
        },
    }
    constant = {"model": "m", "reward": "", "steps": 1, "batch_size": 1, "size_px": 32}
    constant["training_seed"] = None
    constant |= {"precision": "float32", "mode": "eager", "device": "cpu", "threads": 1}
    constant |= {"nfe": 1.0, "params_m": 2.0, "backbone_params_m": 1.0, "peak_memory_mib": 3.0}
    constant["slowdown"] = 0.0
    rows = []
    for turn, slow in enumerate(drift):
        name = ("base", "hypernoise")[turn % 2]
        for stage, (ms, gflops) in stages[name].items():
            own = {"method": name, "stage": stage, "repeat": turn // 2, "turn": turn}
            rows.append(constant | own | {"ms": ms * slow, "gflops": gflops})
    return frames.check(pd.DataFrame(rows), "timings", "a test")
