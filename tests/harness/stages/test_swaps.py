"""Prompt swaps: nobody keeps a prompt, and nothing but ids, tasks, texts and seed decide."""

from __future__ import annotations

import pytest

from harness.base.errors import SpecError
from harness.stages.prompt_swaps import Asked, swapped
from hypernoise.shapeworld.captions import captions

CAPTIONS = {c.prompt_id: Asked(c.task, c.text) for c in captions("evaluation")}


@pytest.mark.parametrize("how", ["within_task", "between_tasks"])
@pytest.mark.parametrize("seed", range(5))
def test_every_prompt_gets_another_one_and_is_taken_once(how: str, seed: int) -> None:
    found = swapped(how, CAPTIONS, seed)
    assert set(found) == set(found.values()) == set(CAPTIONS)
    for one, other in found.items():
        same_task = CAPTIONS[one].task == CAPTIONS[other].task
        assert same_task == (how == "within_task")
        assert sorted(CAPTIONS[one].text.split()) != sorted(CAPTIONS[other].text.split())


def test_a_swap_depends_on_the_seed_and_not_on_the_order_of_prompts() -> None:
    backwards = dict(reversed(CAPTIONS.items()))
    assert swapped("within_task", backwards, 0) == swapped("within_task", CAPTIONS, 0)
    assert swapped("within_task", CAPTIONS, 1) != swapped("within_task", CAPTIONS, 0)


def test_prompts_of_the_same_words_are_not_swapped_for_one_another() -> None:
    texts = ("a ring and a moon", "a moon and a ring", "a cross", "a heart")
    prompts = {str(place): Asked("two", text) for place, text in enumerate(texts)}
    for seed in range(20):
        assert swapped("within_task", prompts, seed)["0"] in "23"


@pytest.mark.parametrize(
    ("how", "tasks", "message"),
    [
        ("within_task", "aab", r"the 1 prompts of task 'b' cannot be swapped"),
        ("between_tasks", "aaab", r"the 4 prompts of the benchmark cannot be swapped"),
    ],
)
def test_too_few_prompts_are_named(how: str, tasks: str, message: str) -> None:
    prompts = {str(place): Asked(task, f"text {place}") for place, task in enumerate(tasks)}
    with pytest.raises(ValueError, match=message):
        swapped(how, prompts, 0)


def test_an_unknown_swap_is_named_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"'within_tasks'; did you mean 'within_task'\?"):
        swapped("within_tasks", CAPTIONS, 0)
