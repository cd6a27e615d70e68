from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from toys import ToyReward, encode, noise_for

from hypernoise.methods.protocol import Generated, Method, Request
from hypernoise.models.protocol import Conditioning, Generator, Seeds, Walk
from hypernoise.rewards.protocol import Features

SEEDS = [101, 102, 103]

#: float32 rounding of another batch size, grown by the iterations of a search.
BATCH_TOLERANCE = 2e-4


class Spy:
    """A generator that remembers what it was asked to sample, with memory for ``room`` images."""

    def __init__(self, generator: Generator, room: int = 1000) -> None:
        self._generator = generator
        self._room = room
        self.noises: list[Tensor] = []
        self.seeds: list[Seeds] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Seeds = None,
        walk: Walk | None = None,
    ) -> Tensor:
        self.noises.append(noise.detach().clone())
        self.seeds.append(seeds)
        if len(noise) > self._room:
            raise torch.OutOfMemoryError("no room")
        return self._generator.sample(noise, conditioning, steps, seeds, walk)


def run(
    method: Method, generator: Any, reward: Any = None, n: int = 3, steps: int = 1
) -> Generated:
    conditioning = encode(generator, n)
    features = reward.encode(conditioning.prompts) if reward else None
    noise = noise_for(generator, n)
    return method.run(Request(generator, conditioning, noise, SEEDS[:n], steps, reward, features))


def run_one_by_one(
    method: Method, generator: Any, reward: Any, n: int = 3, steps: int = 1
) -> list[Generated]:
    conditioning, noise = encode(generator, n), noise_for(generator, n)
    features = reward.encode(conditioning.prompts)
    return [
        method.run(
            Request(
                generator,
                conditioning.rows([i]),
                noise[i : i + 1],
                SEEDS[i : i + 1],
                steps,
                reward=reward,
                features=features.rows([i]),
            )
        )
        for i in range(n)
    ]


def sampled(generator: Generator, noise: Tensor, n: int = 3, steps: int = 1) -> Tensor:
    with torch.no_grad():
        return generator.sample(noise, encode(generator, n), steps, SEEDS[:n])


class BreaksOn(ToyReward):
    """A toy reward that spoils the scores of one prompt's images."""

    def __init__(self, name: str, prompt: str, spoil: Callable[[Tensor], Tensor]) -> None:
        super().__init__(name)
        self._prompt = prompt
        self._spoil = spoil

    def score(self, images: Tensor, features: Features) -> Tensor:
        pairs = zip(super().score(images, features), features.prompts, strict=True)
        return torch.stack([self._spoil(s) if text == self._prompt else s for s, text in pairs])
