"""Whose time a stage is, and what a call holds in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from toys import ToyReward, encode, noise_for

from harness.results.stage_names import (
    BACKBONE,
    BACKWARD,
    NOISE_NETWORK,
    TEXT,
    VAE,
)
from harness.results.stage_names import REWARD as REWARD_STAGE
from harness.timing.live_memory import peak_memory_mib
from harness.timing.meter import Meter, Spans, watched
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.protocol import Request
from hypernoise.methods.reno import Reno
from hypernoise.models.protocol import Generator
from hypernoise.networks.noise_network import NoiseNetwork


def ticking() -> Meter:
    """A clock that goes on by one whenever it is looked at."""
    ticks = iter(range(10_000))
    return Meter(lambda: next(ticks), lambda start, end: float(end - start))


class Counted(Spans):
    """Spans that count how often each stage was entered."""

    def __init__(self) -> None:
        super().__init__(ticking())
        self.entered: Counter[str] = Counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.entered[name] += not self._is_inside
        with super().stage(name):
            yield


def test_of_nested_stages_the_outermost_counts() -> None:
    spans = Spans(ticking())
    with spans.whole("all"):
        with spans.stage("a"), spans.stage("b"):
            pass
        with spans.stage("b"):
            pass
    assert spans.take() == {"a": 1.0, "b": 1.0, "all": 5.0}
    assert spans.take() == {}


def test_watching_leaves_everything_as_it_was(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    owners = [tiny_sd, tiny_sd.backbone, tiny_sd.pipeline.vae, toy_reward, torch.autograd]
    before = [dict(vars(owner)) for owner in owners]
    with (
        pytest.raises(KeyError, match="stop"),
        watched(Spans(ticking()), tiny_sd, toy_reward),
    ):
        assert vars(tiny_sd.backbone).keys() != before[1].keys()
        raise KeyError("stop")
    assert [dict(vars(owner)) for owner in owners] == before


def test_reno_encodes_texts_once_and_has_a_stage_for_all_of_a_step(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    spans = Counted()
    with watched(spans, tiny_sd, toy_reward):
        conditioning = encode(tiny_sd)
        features = toy_reward.encode(conditioning.prompts)
        noise = noise_for(tiny_sd, 2)
        Reno(4).run(Request(tiny_sd, conditioning, noise, [1, 2], 1, toy_reward, features))
    # Text: the generator's once, the reward's once.
    assert spans.entered == {TEXT: 2, BACKBONE: 4, VAE: 4, REWARD_STAGE: 4, BACKWARD: 3}


@pytest.mark.parametrize("form", [False, True, "per_layer", "in_place"])
def test_a_noise_networks_pass_is_its_own_stage_and_encodes_no_text(
    tiny_sd: Generator, form: bool | str
) -> None:
    network = NoiseNetwork(tiny_sd, 2, 2.0)
    spans = Counted()
    conditioning = encode(tiny_sd)
    with watched(spans, tiny_sd):
        noise = noise_for(tiny_sd, 2)
        HyperNoise(network, form).run(Request(tiny_sd, conditioning, noise, [1, 2], steps=2))
    if form is False:
        network.adapter.remove()
    assert spans.entered == {NOISE_NETWORK: 1, BACKBONE: 2, VAE: 1}


def test_peak_memory_is_what_a_call_holds_at_a_time() -> None:
    def call() -> None:
        for _ in range(3):
            torch.ones(2 * 2**18)
        torch.ones(2**18)

    assert peak_memory_mib(call, "cpu") == pytest.approx(2.0, abs=0.01)
