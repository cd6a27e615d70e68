"""The table of diversity: means, deviations, changes and named gaps."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from measured import untrained

from harness.analysis.diversity import table
from harness.analysis.pairing import FrameError


def rows_of(method: str, values: dict[str, list[float]], metric: str = "a_distance") -> list[Any]:
    """Three pairs of three images for each prompt."""
    identity = {
        "model": "m", "method": method, "reward": "" if method == "base" else "r",
        "benchmark": "b", "task": "t", "seed": 0, "steps": 1, "metric": metric,
    }  # fmt: skip
    return [
        identity | {"prompt_id": p, "image_index": i, "other_index": j, "value": v}
        for p, own in values.items()
        for (i, j), v in zip(combinations(range(3), 2), own, strict=True)
    ]


BASE = rows_of("base", {"p": [1.0, 2.0, 3.0], "q": [4.0, 4.0, 4.0]})


OURS = rows_of("hypernoise", {"p": [1.0, 1.0, 1.0], "q": [3.0, 4.0, 2.0]})


def test_the_table_has_means_deviations_and_changes() -> None:
    other = [row | {"metric": "b_similarity", "value": 0.5} for row in [*BASE, *OURS]]
    found = table(untrained(pd.DataFrame([*OURS, *BASE, *other])))
    base, ours = found.to_dict("records")
    assert (base["method"], ours["method"]) == ("base", "hypernoise")
    assert (base["n_prompts"], base["n_images"]) == (2, 3)
    assert base["a_distance_mean"] == pytest.approx(3.0)
    assert base["a_distance_std"] == pytest.approx(np.std([2.0, 4.0], ddof=1))
    assert np.isnan(base["a_distance_change_mean"])
    assert ours["a_distance_mean"] == pytest.approx(2.0)
    assert ours["a_distance_change_mean"] == pytest.approx(-1.0)
    assert ours["b_similarity_std"] == 0.0
    # Two prompts, Student's t with one degree of freedom.
    half = base["a_distance_mean_ci_high"] - base["a_distance_mean"]
    assert half == pytest.approx(12.706 * np.std([2.0, 4.0], ddof=1) / np.sqrt(2), rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*BASE, *OURS[1:]], "m hypernoise.*a_distance of p: pairs are missing"),
        ([*BASE, *OURS[3:]], "a_distance of 1 prompts, not of 2"),
        ([row | {"metric": "a"} for row in BASE], "'a' must end in"),
        ([*BASE, *[row | {"benchmark": "c"} for row in OURS]], "one benchmark per table"),
        (OURS, "no rows of the baseline 'base' for model 'm' at steps 1"),
    ],
)
def test_a_table_of_incomplete_pairs_is_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(FrameError, match=message):
        table(untrained(pd.DataFrame(rows)))
