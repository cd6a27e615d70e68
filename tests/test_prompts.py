"""Prompt lists made from others."""

from __future__ import annotations

import pytest

from harness.prompts import subset
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
