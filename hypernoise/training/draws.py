"""What a training step draws: prompts, noise and seeds, as functions of (seed, step, position)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hypernoise.models.protocol import Conditioning, encode_all, encode_in_chunks
from hypernoise.networks.protocol import Trainable
from hypernoise.noise import batch_noise, image_seed, seeded_generator
from hypernoise.rewards.protocol import Features, Reward
from hypernoise.training.measurements import Prompt, texts_of
from hypernoise.training.options import TrainingOptions
from hypernoise.transfers import on_device


class Part(NamedTuple):
    """Images of one forward pass: B of them, the share of this process.

    Attributes:
        step: the step that they were drawn for, from 1.
        age: how many optimizer steps have used them before.
        positions: their places in the step's batch.
        noise: [B, *noise_shape], x0 on the device.
        seeds: one per image, for the sampler.
        conditioning, features: of their prompts, as the generator and the reward encode them.
    """

    step: int
    age: int
    positions: Sequence[int]
    noise: Tensor
    seeds: list[int]
    conditioning: Conditioning
    features: Features

    @property
    def place(self) -> tuple[int, int]:
        """What tells it from other parts of a process."""
        return self.step, self.positions[0]


class Draws:
    """Training prompts, encoded once, and the images that steps draw of them.

    Args:
        objective: what is trained.
        reward: what to raise.
        prompts: (prompt_id, text).
        options: of the network's kind.

    Raises:
        ValueError: there are no prompts.
    """

    def __init__(
        self,
        objective: Trainable,
        reward: Reward,
        prompts: Sequence[Prompt],
        options: TrainingOptions,
    ) -> None:
        self._options, self._shape = options, objective.generator.noise_shape
        self._device = objective.parameters()[0].device
        self._order = _Order(len(prompts), options.seed)
        texts = texts_of(prompts, "training")
        self._conditioning = encode_all(objective.generator, texts)
        self._features = encode_in_chunks(reward.encode, texts)

    def part(self, step: int, positions: Sequence[int]) -> Part:
        """What the images of an optimizer step at some positions of its batch are drawn from."""
        options = self._options
        step, age = options.drawn_at(step)
        images = [(f"step {step}", position) for position in positions]
        # Whose noise an image has: its own, its step's first one, or the training's first one.
        owners = {"image": images, "step": [(f"step {step}", 0)], "training": [("step 1", 0)]}
        noise = batch_noise(options.seed, owners[options.noise], self._shape, "training")
        first = (step - 1) * options.batch_size * options.accumulation
        rows = self._order.rows(first + position for position in positions)
        return Part(
            step,
            age,
            positions,
            on_device(noise.expand(len(images), *self._shape).contiguous(), self._device),
            [image_seed(options.seed, *image, "training sampler") for image in images],
            # Once: both the noise network and the generator ask for it on their device.
            self._conditioning.rows(rows).to(self._device),
            self._features.rows(rows),
        )


class _Order:
    """The order in which prompts are drawn: a new permutation for every pass over them."""

    def __init__(self, n_prompts: int, seed: int) -> None:
        self._n = n_prompts
        self._seed = seed
        self._epoch = -1
        self._permutation: list[int] = []

    def rows(self, draws: Iterable[int]) -> list[int]:
        """The prompt of each draw, counted from the training's start."""
        return [self._row(draw) for draw in draws]

    def _row(self, draw: int) -> int:
        epoch, position = divmod(draw, self._n)
        if epoch != self._epoch:
            seed = image_seed(self._seed, "order", epoch, "training")
            shuffle = seeded_generator(seed)
            self._permutation = torch.randperm(self._n, generator=shuffle).tolist()
            self._epoch = epoch
        return self._permutation[position]
