"""The KL table: means over images, extremes and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analysis.kl_table import kl_table
from harness.analysis.pairing import FrameError
from harness.results import frames

STEEPER = {"largest_singular_value": 0.8, "bound_nats": 2.5}


def measured(**changes: Any) -> dict[str, Any]:
    terms = {name: 0.0 for name in frames.AUDITS.names}
    return terms | {
        "model": "m",
        "method": "hypernoise",
        "reward": "r",
        "training_seed": 0,
        "prompt_meaning": changes.get("prompt_id", "a"),
        "step": 10,
        "is_kept": True,
        "task": "t",
        "prompt_id": "a",
        "image_index": 0,
        "seed": 0,
        "n_dimensions": 8,
        "exact": True,
        "half_squared_norm_nats": 2.0,
        "dropped_nats": -0.5,
        "dropped_se_nats": 0.3,
        "kl_nats": 1.5,
        "sign": 1.0,
        "largest_singular_value": 0.5,
        "smallest_singular_value": 0.6,
        "bound_nats": 1.0,
        **changes,
    }


def test_the_table_has_means_extremes_and_counts() -> None:
    rows = pd.DataFrame(
        [
            measured(),
            measured(image_index=1, dropped_nats=0.7, sign=-1.0, **STEEPER),
            measured(prompt_id="b", dropped_nats=0.1, smallest_singular_value=0.0, sign=0.0),
            measured(prompt_id="b", image_index=1, dropped_nats=0.1, sign=np.nan),
        ]
    )
    (row,) = kl_table(rows, temperatures={"m": {"hypernoise": (4.0, "mean")}}).to_dict("records")
    assert row["temperature"] == 0.5
    assert row["n_images"] == 4
    assert row["dropped_nats"] == pytest.approx(0.1)
    assert row["dropped_nats_ci_low"] < 0.1 < row["dropped_nats_ci_high"]
    assert row["dropped_se_nats"] == pytest.approx(0.15)
    assert row["largest_singular_value"] == 0.8
    assert row["bound_nats"] == 2.5
    assert row["bound_holds"]
    assert row["smallest_singular_value"] == 0
    assert (row["n_reversed"], row["n_singular"], row["n_sign_unknown"]) == (1, 1, 1)


def test_the_table_says_where_the_theorem_does_not_apply() -> None:
    rows = pd.DataFrame(
        [measured(), measured(prompt_id="b", largest_singular_value=1.2, bound_nats=np.nan)]
    )
    (row,) = kl_table(rows).to_dict("records")
    assert row["share_above_1"] == 0.5
    assert np.isnan(row["bound_nats"])
    assert not row["bound_holds"]
    assert np.isnan(row["temperature"])


def test_the_mean_over_a_singular_map_is_infinite() -> None:
    rows = pd.DataFrame([measured(), measured(prompt_id="b", dropped_nats=np.inf, kl_nats=np.inf)])
    (row,) = kl_table(rows).to_dict("records")
    assert row["kl_nats"] == np.inf
    assert np.isnan(row["kl_nats_ci_low"])


def test_a_method_without_audits_is_named() -> None:
    with pytest.raises(FrameError, match="'hypernose'"):
        kl_table(pd.DataFrame([measured()]), methods=["hypernose"])
