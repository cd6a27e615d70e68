"""Every method of the workflow and of the examples, as declared, with little work. Nothing is
downloaded."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from method_runs import BATCH_TOLERANCE, run

from examples import with_examples
from harness.base.signatures import signature_of
from harness.build.methods import build_untrained_method, check_method, puts_in
from harness.experiment.components import MethodSpec
from harness.experiment.identity import batch_size_counts
from harness.experiment.weight_files import given_images
from harness.rehearsal.small_config import small_method
from hypernoise.methods.protocol import Generated
from hypernoise.models.protocol import Generator
from hypernoise.rewards.redness import Redness

REGISTRY = with_examples()
#: Their proposers are language models; others propose in the same method (prompt_search).
ASKS_A_MODEL = "prompt_search_"
#: What brings weights or images of somebody else has tests of its own.
METHODS = {
    name: spec
    for name, spec in REGISTRY.methods.items()
    if not name.startswith(ASKS_A_MODEL) and not puts_in(spec) and not given_images(spec)
}


def little(spec: MethodSpec) -> MethodSpec:
    """A method that does little, with its search."""
    search = small_method(REGISTRY.methods[spec.search]) if spec.search else None
    return replace(small_method(spec), searcher=search)


def made(spec: MethodSpec, generator: Generator, n: int) -> Generated:
    """What an untrained method makes of the first n noises, on a generator of its own."""
    own = copy.deepcopy(generator)
    method = build_untrained_method(spec, own, rank=2).method
    targets = [signature_of(each.target) for each in (spec, spec.searcher) if each]
    steps = 2 if any(each and each.needs_several_steps for each in targets) else 1
    return run(method, own, Redness() if spec.needs_reward else None, n, steps)


def test_the_examples_and_the_workflows_methods_are_looked_at() -> None:
    assert {"best_of_8", "base", "reno", "hypernoise", "hypernoise_reno"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_it_says_what_it_needs_and_is_checked_before_any_work(name: str) -> None:
    spec = little(METHODS[name])
    uses_reward = spec.needs_reward or spec.trains is not None
    check_method(spec, REGISTRY.reward("redness") if uses_reward else None)


@pytest.mark.parametrize("name", METHODS)
def test_it_makes_one_image_of_each_noise_and_says_what_that_cost(
    name: str, tiny_sd: Generator
) -> None:
    spec = little(METHODS[name])
    found = made(spec, tiny_sd, 3)
    assert found.images.shape == (3, 3, 32, 32) and not found.images.requires_grad
    assert 0 <= found.images.min() < found.images.max() <= 1
    assert found.noise.shape == (3, *tiny_sd.noise_shape)
    assert found.spent.nfe >= 1
    assert (found.spent.reward_calls > 0) == spec.needs_reward
    assert found.each is None or len(found.each) == 3
    if found.trajectory is not None:
        assert len(found.trajectory) == 3 and found.trajectory.shape[1] > 0
        assert found.prompts is None or {*map(len, found.prompts)} == {found.trajectory.shape[1]}
    assert found.rewards is None or (found.rewards.shape == (3,) and found.rewards.isfinite().all())


@pytest.mark.parametrize("name", [n for n in METHODS if not batch_size_counts(little(METHODS[n]))])
def test_an_image_is_made_as_if_it_were_alone(name: str, tiny_sd: Generator) -> None:
    spec = little(METHODS[name])
    alone, together = (made(spec, tiny_sd, n).images[0] for n in (1, 3))
    torch.testing.assert_close(alone, together, rtol=0, atol=BATCH_TOLERANCE)
