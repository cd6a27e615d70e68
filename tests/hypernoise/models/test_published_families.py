"""What is spent on a generator works on each published family: trained, searched and timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from method_runs import run
from published import published, small_generator
from toys import encode, noise_for, stir

from harness.build.encodings import EncodedOnce
from harness.results.stage_names import BACKBONE, BACKWARD, NOISE_NETWORK, TEXT, VAE
from harness.results.stage_names import REWARD as REWARD_STAGE
from harness.timing.meter import Spans, stopwatch, watched
from hypernoise.methods.best_of_n import BestOfN
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.reno import Reno
from hypernoise.methods.spectral_evolution import SpectralEvolution
from hypernoise.models.protocol import Generator
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.rewards.redness import Redness
from hypernoise.training.gradient_checkpointing import gradient_checkpointing

#: One published component per family.
FAMILIES: dict[str, Any] = {spec.target: spec for spec in published()}
#: Random images are nearly grey.
REDNESS = Redness(scale=100.0)
SEARCHES: dict[str, Any] = {
    "reno": Reno(iterations=6),
    "best_of_n": BestOfN(6),
    "spectral_evolution": SpectralEvolution(6, population=3, elites=2, levels=2),
}


@cache
def built(target: str) -> Generator:
    return small_generator(FAMILIES[target])


@pytest.fixture(params=FAMILIES, ids=lambda target: FAMILIES[target].name)
def family(request: pytest.FixtureRequest) -> Generator:
    """Each family in turn, small and with random weights."""
    return built(request.param)


@pytest.fixture
def network(family: Generator) -> Iterator[NoiseNetwork]:
    network = NoiseNetwork(family, rank=4, alpha=8.0)
    yield network
    network.adapter.remove()


def test_a_noise_network_is_zero_at_the_start_and_learns_redness(network: NoiseNetwork) -> None:
    noise, conditioning = noise_for(network.generator, 2), encode(network.generator)
    features = REDNESS.encode(conditioning.prompts)
    with torch.no_grad():
        assert not network.delta(noise, conditioning).any()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    scores = []
    for _ in range(12):
        score = REDNESS.score(network.draw(noise, conditioning).images, features).mean()
        scores.append(score.item())
        optimizer.zero_grad()
        (-score).backward()
        optimizer.step()
    assert scores[-1] > scores[0] + 0.1
    assert network.delta(noise, conditioning).abs().max() > 0


@pytest.mark.parametrize("method", SEARCHES.values(), ids=SEARCHES)
def test_a_search_finds_redder_images_than_the_given_noise_makes(
    family: Generator, method: Any
) -> None:
    noise, conditioning = noise_for(family, 2), encode(family)
    features = REDNESS.encode(conditioning.prompts)
    with torch.no_grad():
        base = REDNESS.score(family.sample(noise, conditioning), features)
    found = REDNESS.score(run(method, family, REDNESS, 2).images, features)
    assert (found >= base - 1e-4).all()
    assert (found > base + 1e-3).any()


def test_blocks_that_are_repeated_in_the_backward_pass_give_the_same_gradient(
    family: Generator,
) -> None:
    conditioning = encode(family)
    gradients = []
    for context in (nullcontext(), gradient_checkpointing(family)):
        noise = noise_for(family, 2).requires_grad_(True)
        with context:
            (family.sample(noise, conditioning) ** 2).sum().backward()
        gradients.append(noise.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)


def test_the_stages_of_a_gradient_step_are_told_apart(network: NoiseNetwork) -> None:
    generator = network.generator
    spans = Spans(stopwatch("cpu"))
    with watched(spans, generator, REDNESS):
        conditioning = generator.encode(["a red cat"])
        images = network.draw(noise_for(generator, 1), conditioning).images
        REDNESS.score(images, REDNESS.encode(["a red cat"])).sum().backward()
    assert spans.take().keys() == {TEXT, NOISE_NETWORK, BACKBONE, VAE, REWARD_STAGE, BACKWARD}


def test_a_merged_noise_network_draws_what_it_drew_apart(family: Generator) -> None:
    network = NoiseNetwork(family, rank=4, alpha=8.0)
    stir(network.adapter)
    apart = run(HyperNoise(network), family, n=2).images
    # Merging takes the adapter off the backbone.
    merged = run(HyperNoise(network, "per_layer"), family, n=2).images
    torch.testing.assert_close(merged, apart, rtol=0, atol=1e-4)


def test_prompts_that_are_read_from_disk_draw_what_they_drew_before(
    family: Generator, tmp_path: Path
) -> None:
    noise, conditioning = noise_for(family, 2), encode(family)
    kept = EncodedOnce(family, tmp_path).on_disk(conditioning.prompts).rows([1, 0])
    with torch.no_grad():
        expected = family.sample(noise, conditioning.rows([1, 0]))
        assert torch.equal(family.sample(noise, kept), expected)
