"""The table of DPG-Bench's categories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from measured import untrained

from harness.analysis import dpg_categories
from harness.analysis.pairing import FrameError
from harness.benchmarks.dpg import DpgBench, Proposition, graph
from harness.benchmarks.protocol import Prompt

CAT = [
    "entity - whole (cat)",
    "attribute - color (cat, red)",
    "relation - spatial (cat, dog, left)",
]


def rows(method: str, answers: dict[str, list[float]], metric: str = "dpg_bench") -> list[Any]:
    """Score rows of one image of each prompt, whose propositions are those of the cat."""
    told = {
        prompt: [[f"{what}?", p, False, what] for what, p in zip(CAT, said, strict=False)]
        for prompt, said in answers.items()
    }
    return [
        {
            "model": "m", "method": method, "reward": "", "steps": 1, "metric": metric,
            "task": "dpg_bench", "prompt_id": prompt, "image_index": 0, "value": 0.0,
            "detail": json.dumps({"variant": "published", "propositions": propositions}),
        }
        for prompt, propositions in told.items()
    ]  # fmt: skip


def test_a_category_is_the_share_of_yes_whatever_a_proposition_depends_on() -> None:
    base = rows("base", {"a": [0.9, 0.2, 0.7], "b": [0.4, 0.8], "c": [1.0]})
    other = rows("reno", {"a": [0.9, 0.9, 0.9], "b": [0.9, 0.9], "c": [1.0]})
    of_corrected = rows("base", {"a": [0.0, 0.0, 0.0]}, metric="dpg_bench_corrected")
    frame = untrained(pd.DataFrame([*base, *other, *of_corrected]))
    found = dpg_categories.table(frame, metric="dpg_bench", methods=["reno", "base"])
    assert found["method"].tolist() == ["reno", "base"]
    assert found["n_images"].tolist() == [3, 3]
    assert found.loc[0, "entity_mean"] == found.loc[0, "attribute_mean"] == 100
    assert found.loc[1, "entity_mean"] == pytest.approx(200 / 3)
    assert found.loc[1, "attribute_mean"] == pytest.approx(50)
    assert found.loc[1, "relation_mean"] == pytest.approx(100)
    assert "global_mean" not in found


class FirstOnly:
    """Yes to the first question of an image, no to the others."""

    def yes_probability(self, images: Any, questions: Sequence[Sequence[str]]) -> list[list[float]]:
        return [[float(n == 0) for n in range(len(those))] for those in questions]


def test_what_the_benchmark_says_of_an_image_is_what_is_counted() -> None:
    propositions = [Proposition(n, (), what, f"{what}?") for n, what in enumerate(CAT, start=1)]
    prompt = Prompt("p", "a red cat left of a dog", "dpg_bench", graph(propositions))
    benchmark = DpgBench({"target": "harness.benchmarks.dpg:prompts"}, {"target": "x:Y"})
    vars(benchmark)["answerer"] = FirstOnly()
    (scored,) = benchmark.score(np.zeros((1, 3, 4, 4), dtype=np.float32), [prompt])
    (row,) = rows("base", {"p": []})
    told = pd.DataFrame([row | {"detail": scored["dpg_bench"].detail}])
    found = dpg_categories.table(untrained(told), metric="dpg_bench").iloc[0]
    assert (found["entity_mean"], found["attribute_mean"], found["relation_mean"]) == (100, 0, 0)


def test_scores_without_propositions_make_no_table() -> None:
    plain = [row | {"detail": "found a cat"} for row in rows("base", {"a": [1.0]})]
    with pytest.raises(FrameError, match="scores of dpg_bench have no propositions"):
        dpg_categories.table(untrained(pd.DataFrame(plain)), metric="dpg_bench")
