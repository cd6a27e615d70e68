"""The generator as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hypernoise.methods.protocol import Generated, Spent
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.rewards.protocol import Features, Reward


class Base:
    """One image per noise, without any search."""

    @torch.no_grad()
    def run(
        self,
        generator: Generator,
        reward: Reward | None,
        conditioning: Conditioning,
        features: Features | None,
        noise: Tensor,
        seeds: Sequence[int],
        steps: int = 1,
    ) -> Generated:
        images = generator.sample(noise, conditioning, steps, seeds)
        return Generated(images, noise, Spent(nfe=steps))
