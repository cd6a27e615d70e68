"""Prompt lists made from others."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.benchmarks.prompts import balanced, subset
from hypernoise.shapeworld.captions import TASKS, captions

CAPTIONS = "hypernoise.shapeworld.captions:captions"


def test_a_small_subset_has_every_task() -> None:
    assert {prompt.task for prompt in subset(CAPTIONS, len(TASKS), split="train")} == set(TASKS)


def test_a_subset_holds_each_prompt_once_and_none_from_elsewhere() -> None:
    whole = captions("evaluation")
    assert sorted(p.prompt_id for p in subset(CAPTIONS, 10**6, split="evaluation")) == sorted(
        p.prompt_id for p in whole
    )
    assert len(subset(CAPTIONS, 7, split="evaluation")) == 7


def test_an_empty_subset_is_refused() -> None:
    with pytest.raises(ValueError, match="n >= 1, got 0"):
        subset(CAPTIONS, 0, split="train")


def test_balanced_prompts_are_as_many_for_every_task_and_each_has_an_id_of_its_own() -> None:
    prompts = balanced("hypernoise.shapeworld.captions:captions", 30, split="train")
    tasks = Counter(prompt.task for prompt in prompts)
    assert set(tasks.values()) == {30} and len(tasks) == 6
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts)
    assert {prompt.text for prompt in prompts} <= {c.text for c in captions("train")}


def test_balanced_prompts_need_at_least_one_per_task() -> None:
    with pytest.raises(ValueError, match="per_task >= 1"):
        balanced("hypernoise.shapeworld.captions:captions", 0, split="train")
