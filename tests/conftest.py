"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from paths import REPOSITORY
from toys import ToyReward, build_generator

from hypernoise.models.protocol import Generator
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.shapeworld.architectures import BUILDERS


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def typed_in_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The repository's root as working folder; a command may set torch's threads."""
    monkeypatch.chdir(REPOSITORY)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=sorted(BUILDERS))
def generator(request: pytest.FixtureRequest) -> Generator:
    """Each family in turn; tests give the backbone back as they found it."""
    return build_generator(request.param)


@pytest.fixture(scope="session")
def tiny_sd() -> Generator:
    return build_generator("tiny_sd")


@pytest.fixture(scope="session")
def tiny_sana() -> Generator:
    return build_generator("tiny_sana")


@pytest.fixture
def toy_reward() -> ToyReward:
    return ToyReward()


@pytest.fixture
def network(generator: Generator) -> Iterator[NoiseNetwork]:
    built = NoiseNetwork(generator, rank=4, alpha=8.0)
    yield built
    built.adapter.remove()


@pytest.fixture
def tuner(generator: Generator) -> Iterator[FineTuner]:
    built = FineTuner(generator, rank=4, alpha=8.0)
    yield built
    built.adapter.remove()
