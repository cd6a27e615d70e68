"""Every kind of method, on the embedded models as they are shipped, earns more than the base.

Searches ask the matcher that ships with them. Networks are trained for a few steps on the batch
itself, for a reward that can be had so fast; hybrids go on from them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from paths import REPOSITORY
from torch import Tensor
from toys import ToyReward

from harness.build.generators import build_generator
from harness.build.rewards import build_reward
from harness.experiment.components import Registry
from hypernoise.methods.base import Base
from hypernoise.methods.best_of_n import BestOfN
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.local_search import LocalSearch
from hypernoise.methods.lora_finetune import LoraFinetune
from hypernoise.methods.protocol import Method, Request
from hypernoise.methods.reno import Reno
from hypernoise.methods.rewording import grammar_search
from hypernoise.methods.warm_start import WarmStart, warm_best_of_n
from hypernoise.models.protocol import Generator
from hypernoise.networks.protocol import Trainable
from hypernoise.noise import batch_noise, image_seed
from hypernoise.rewards.protocol import Reward
from hypernoise.shapeworld.captions import captions
from hypernoise.training.kinds import KINDS
from hypernoise.training.loop import Training, train

WORKFLOWS = REPOSITORY / "workflows"
MODELS = ("tiny_sd", "tiny_sana", "tiny_flux")
PROMPTS = [(caption.prompt_id, caption.text) for caption in captions("validation")[::13]]
OPTIONS = {"steps": 8, "batch_size": 4, "learning_rate": 3e-3, "temperature": 1e-3}
SEARCHES: dict[str, Method] = {
    "best_of_n": BestOfN(n=4),
    "reno": Reno(iterations=4, learning_rate=0.3),
    "white_reno": Reno(4, learning_rate=0.3, regularization=0.0, white_gradient=True),
    "zero_order": LocalSearch(neighbors=3, rounds=2),
    "random_restart": LocalSearch(neighbors=3, rounds=2, restart=True),
    "prompt_search": grammar_search(proposals=3, rounds=2),
}


@functools.cache
def declared() -> Registry:
    """The registry as the workflow's files fill it with models and rewards."""
    made = Registry()
    for kind in ("model", "reward"):
        for path in sorted((WORKFLOWS / f"{kind}s").glob("*.smk")):
            names = {f"add_{kind}": functools.partial(getattr(made, f"add_{kind}"), file=path.name)}
            exec(compile(path.read_text(encoding="utf-8"), path, "exec"), names)
    return made


class Batch(NamedTuple):
    """A fixed small batch of one model."""

    generator: Generator
    noise: Tensor
    seeds: list[int]

    def earned(self, method: Method, reward: Reward) -> Tensor:
        """The reward of each image that a method makes."""
        texts = [text for _, text in PROMPTS]
        with torch.no_grad():
            conditioning = self.generator.encode(texts)
        features = reward.encode(texts)
        made = method.run(
            Request(self.generator, conditioning, self.noise, self.seeds, 1, reward, features)
        )
        with torch.no_grad():
            return reward.score(made.images, features)

    def trained(self, kind: str, folder: Path) -> Trainable:
        torch.manual_seed(0)
        options = KINDS[kind].checked(OPTIONS)
        network = KINDS[kind].build(self.generator, options)
        train(Training(network, ToyReward(), PROMPTS, options, folder))
        return network


@pytest.fixture(scope="module", params=MODELS)
def batch(request: pytest.FixtureRequest) -> Batch:
    generator = build_generator(declared().models[request.param], "cpu")
    images = [(prompt_id, 0) for prompt_id, _ in PROMPTS]
    seeds = [image_seed(0, *image, "search") for image in images]
    return Batch(generator, batch_noise(0, images, generator.noise_shape), seeds)


@pytest.fixture(scope="module")
def matcher() -> Reward:
    return build_reward(declared().reward("matcher"), "cpu")


@pytest.fixture
def network(batch: Batch, tmp_path: Path) -> Iterator[Any]:
    trained: Any = batch.trained("hypernoise", tmp_path)
    yield trained
    trained.adapter.remove()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_earns_more_than_the_base(name: str, batch: Batch, matcher: Reward) -> None:
    base = batch.earned(Base(), matcher)
    found = batch.earned(SEARCHES[name], matcher)
    # Each starts from the base's image and keeps the best.
    assert (found >= base - 1e-5).all()
    assert found.mean() > base.mean() + 1e-3


def test_a_noise_network_and_what_goes_on_from_it_earn_more_than_the_base(
    batch: Batch, network: Any
) -> None:
    reward = ToyReward()
    base, moved = (batch.earned(m, reward) for m in (Base(), HyperNoise(network)))
    assert moved.mean() > base.mean()
    warm = WarmStart(network, Reno(iterations=4, learning_rate=0.3))
    for hybrid in (warm, warm_best_of_n(network, BestOfN(n=3))):
        found = batch.earned(hybrid, reward)
        assert (found >= moved - 1e-5).all()
        assert found.mean() > moved.mean()


def test_fine_tuning_earns_more_than_the_base(batch: Batch, tmp_path: Path) -> None:
    reward = ToyReward()
    base = batch.earned(Base(), reward)
    tuner: Any = batch.trained("lora_finetune", tmp_path)
    assert batch.earned(LoraFinetune(tuner), reward).mean() > base.mean()
    tuner.adapter.remove()
