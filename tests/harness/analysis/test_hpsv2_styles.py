"""The table of HPSv2's styles."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from measured import untrained

from harness.analysis import hpsv2_styles
from harness.analysis.pairing import FrameError
from harness.benchmarks.tasks import STYLES


def scores(method: str, offset: float) -> list[dict[str, Any]]:
    return [
        {
            "model": "m", "method": method, "reward": "", "steps": 1, "metric": "hpsv2_1",
            "task": style, "prompt_id": f"{style}_{i}", "image_index": 0,
            "value": offset + 0.01 * number + 0.002 * i,
        }
        for number, style in enumerate(STYLES)
        for i in range(2)
    ]  # fmt: skip


def test_styles_count_the_same_in_the_mean() -> None:
    rows = [*scores("base", 0.25), *scores("reno", 0.3)]
    extra = {**rows[0], "prompt_id": "anime_9", "value": 0.27}
    rows += [extra, {**extra, "method": "reno"}]
    found = hpsv2_styles.table(untrained(pd.DataFrame(rows)), methods=["reno", "base"])
    assert found["method"].tolist() == ["reno", "base"]
    base = found.iloc[1]
    anime = (0.25 + 0.252 + 0.27) / 3
    assert base["hpsv2_1_anime_mean"] == pytest.approx(anime)
    assert base["hpsv2_1_photo_mean"] == pytest.approx(0.281)
    assert base["hpsv2_1_mean"] == pytest.approx((anime + 0.261 + 0.271 + 0.281) / 4)
    assert base["n_images"] == 9


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*scores("base", 0), *scores("reno", 0)[1:]], "not scored for every method: anime_0 0"),
        (scores("base", 0)[:-2], "no image of photo"),
        ([row | {"task": "oil"} for row in scores("base", 0)], "tasks oil are no styles"),
        ([row | {"metric": "judge"} for row in scores("base", 0)], "name it among the config's"),
    ],
)
def test_incomplete_scores_make_no_table(rows: list[Any], message: str) -> None:
    with pytest.raises(FrameError, match=message):
        hpsv2_styles.table(untrained(pd.DataFrame(rows)))
