"""Better noises than a training's own, which networks are regressed on."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hypernoise.methods.protocol import Request
from hypernoise.methods.reno import Reno
from hypernoise.models.protocol import Generator
from hypernoise.noise import batch_noise
from hypernoise.rewards.protocol import Reward, shaped_score
from hypernoise.training.draws import Part
from hypernoise.training.options import PairOptions
from hypernoise.transfers import on_device


class Better(NamedTuple):
    """The better noise of each image [B, *noise_shape], and the reward of its image [B]."""

    noise: Tensor
    rewards: Tensor


class Teacher:
    """A search over the frozen generator's noises, from the noise of each image of a training.

    Args:
        generator: the frozen generator.
        reward: what the search raises.
        options: which search, and how long pairs are kept.
    """

    def __init__(self, generator: Generator, reward: Reward, options: PairOptions) -> None:
        self._generator, self._reward, self._options = generator, reward, options
        self._kept: dict[tuple[int, int], Better] = {}

    def better(self, part: Part) -> Better:
        """What the search finds; a part that comes again is looked up.

        Raises:
            ValueError: the reward lacks the gradient that ReNO follows, or a value that ReNO
                meets is not finite.
        """
        if part.place in self._kept:
            device = part.noise.device
            return Better(*(on_device(each, device) for each in self._kept[part.place]))
        found = self._reno(part) if self._options.distil_teacher == "reno" else self._best_of(part)
        if self._options.distil_batches and self._options.learns_from_pairs(part.step):
            # Not on the device: there may be thousands.
            self._kept[part.place] = Better(*(each.cpu() for each in found))
        return found

    def _reno(self, part: Part) -> Better:
        options = self._options
        reno = Reno(options.distil_candidates, options.distil_learning_rate)
        request = Request(
            self._generator,
            part.conditioning,
            part.noise,
            part.seeds,
            options.sampling_steps,
            self._reward,
            part.features,
        )
        made = reno.run(request)
        assert made.rewards is not None  # ReNO scores what it makes
        return Better(made.noise, made.rewards)

    @torch.no_grad()
    def _best_of(self, part: Part) -> Better:
        options, best = self._options, part.noise
        rewards = torch.full((len(best),), -math.inf, device=best.device)
        near = options.distil_similarity
        for candidate in range(options.distil_candidates):
            noise = part.noise
            if candidate:
                names = [(f"step {part.step} image {i}", candidate) for i in part.positions]
                shape = self._generator.noise_shape
                other = batch_noise(options.seed, names, shape, "training candidates")
                other = on_device(other, noise.device)
                noise = near * noise + math.sqrt(1 - near**2) * other
            steps = options.sampling_steps
            images = self._generator.sample(noise, part.conditioning, steps, part.seeds)
            scores = shaped_score(self._reward, images, part.features)
            is_better = scores > rewards
            rewards = torch.where(is_better, scores, rewards)
            best = torch.where(is_better.view(-1, *[1] * (noise.ndim - 1)), noise, best)
        return Better(best, rewards)
