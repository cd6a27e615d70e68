"""Untrained tiny generators of the three families, a toy reward, and what tests do with them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hypernoise.models.loading import freeze
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.adapter import Adapter
from hypernoise.rewards.protocol import Features
from hypernoise.shapeworld.architectures import BUILDERS
from hypernoise.shapeworld.pretraining import generator_for

PROMPTS = ("a photo of a red circle", "a photo of two blue moons", "a photo of a green heart")


class ToyReward:
    """Minus the squared distance of an image's mean colour to a colour that the prompt picks."""

    def __init__(self, name: str = "toy") -> None:
        self.name = name
        self.n_encoded = 0

    def encode(self, prompts: Sequence[str]) -> Features:
        self.n_encoded += len(prompts)
        digests = [hashlib.sha256(prompt.encode()).digest()[:3] for prompt in prompts]
        colors = torch.tensor([[byte / 255 for byte in digest] for digest in digests])
        return Features({"color": colors}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        distance = images.mean(dim=(2, 3)) - features.tensors["color"]
        return -distance.square().sum(dim=1)


class NamedReward(ToyReward):
    """A toy reward whose score a test replaces."""

    def __init__(self, name: str, score: Any) -> None:
        super().__init__(name)
        self._score = score

    def score(self, images: Tensor, features: Features) -> Tensor:
        scores: Tensor = self._score(images, super().score(images, features))
        return scores


def build_generator(family: str) -> Generator:
    """An untrained, frozen generator: always the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = BUILDERS[family]()
    generator: Generator = generator_for(family, freeze(pipeline))
    return generator


def stir(adapter: Adapter, scale: float = 0.3) -> None:
    """Give an adapter weights as if it had been trained: its B is zero before."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.copy_(torch.randn(weight.shape, generator=source) * scale)


def noise_for(generator: Generator, n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *generator.noise_shape, generator=torch.Generator().manual_seed(seed))


def encode(generator: Generator, n: int = 2) -> Conditioning:
    """The first ``n`` prompts, encoded without gradients."""
    with torch.no_grad():
        return generator.encode(PROMPTS[:n])


def noted_waits(monkeypatch: pytest.MonkeyPatch, *files: str) -> list[str]:
    """The tensor methods that wait for a GPU, in the order in which code of the files calls them.

    Args:
        files: endings of paths. Of torch and diffusers, only numbers that are on the CPU anyway are
            asked.
    """
    calls: list[str] = []
    for name in ("item", "tolist", "__bool__", "__float__", "new_tensor"):
        monkeypatch.setattr(Tensor, name, _noting(calls, name, getattr(Tensor, name), files))
    return calls


def _noting(calls: list[str], name: str, real: Any, files: tuple[str, ...]) -> Any:
    def method(self: Tensor, *arguments: Any, **keywords: Any) -> Any:
        if sys._getframe(1).f_code.co_filename.endswith(files):
            calls.append(name)
        return real(self, *arguments, **keywords)

    return method
