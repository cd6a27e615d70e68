"""Whether an image hangs on the batch that it was made in, and a batch on an interruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from paths import REPOSITORY

from harness.build.generators import build_generator
from harness.build.prompts import load_prompts
from harness.build.rewards import build_reward
from harness.experiment.component_files import declared
from harness.stages.generate import Item, Setup
from hypernoise.batches import unfinished
from hypernoise.methods.reno import Reno


@pytest.mark.parametrize(
    ("made_with", "runs"),
    [
        ({}, ["abcdefg"]),
        ({"a": 3, "b": 3, "c": 3}, ["defg"]),
        # Of a batch that was cut, and of one that lost an image, all are made again.
        ({"a": 3, "b": 3, "c": 3, "d": 3}, ["defg"]),
        ({"a": 3, "c": 3, "d": 3, "e": 3, "f": 3, "g": 1}, ["abc"]),
        ({"a": 3, "d": 3, "e": 3, "f": 3}, ["abc", "g"]),
        # Halved after the first: memory did not suffice.
        ({"a": 3, "b": 3, "c": 3, "d": 2, "e": 2}, ["fg"]),
        ({"a": 3, "b": 3, "c": 3, "d": 2, "f": 2, "g": 2}, ["de"]),
        (dict.fromkeys("abcdef", 3) | {"g": 1}, []),
    ],
)
def test_what_is_resumed_has_the_batches_of_a_run_without_an_interruption(
    made_with: Mapping[str, int], runs: Sequence[str]
) -> None:
    found = unfinished("abcdefg", lambda item: made_with.get(item, 0), 3)
    assert ["".join(run) for run in found] == runs


def test_renos_images_hang_on_the_size_of_their_batch_and_on_nothing_else() -> None:
    # The docs say so (docs/methods.md); with the reward that ships, whose gradients amplify.
    registry = declared(REPOSITORY / "workflows")
    generator = build_generator(registry.models["tiny_sd"], "cpu")
    reward = build_reward(registry.reward("matcher"), "cpu")
    prompts = load_prompts(registry.benchmarks["shapeworld"].prompts)[:8]
    texts = [prompt.text for prompt in prompts]
    with torch.no_grad():
        encoded, features = generator.encode(texts), reward.encode(texts)
    items = [Item(prompt, row, 0) for row, prompt in enumerate(prompts)]
    setup = Setup(generator, Reno(20, 0.3), reward, encoded, features, "cpu")

    def rewards(parts: Sequence[Sequence[Item]]) -> Any:
        made = [setup.method.run(setup.request(part, 0, 1)).trajectory for part in parts]
        return torch.cat([rows for rows in made if rows is not None])

    whole, halves = rewards([items]), rewards([items[:4], items[4:]])
    assert torch.equal(halves[:4], rewards([items[:4]]))
    apart = (whole - halves).abs().amax(dim=0)
    # Without a gradient yet, only rounding; then each iteration adds to it.
    assert apart[0] < 1e-3
    assert apart[-5:].max() > 10 * apart[0]
