"""What small trainings of tests have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from toys import build_generator

from hypernoise.models.protocol import Generator
from hypernoise.networks.lora_network import LoraNetwork

#: Networks on the shared generator, which each test leaves as it was.
BUILT: list[LoraNetwork] = []


class Killed(BaseException):
    """Stands for a signal."""


@pytest.fixture(scope="module")
def generator() -> Generator:
    return build_generator("tiny_sd")


@pytest.fixture(autouse=True)
def _plain_backbone() -> Iterator[None]:
    yield
    while BUILT:
        BUILT.pop().adapter.remove()
