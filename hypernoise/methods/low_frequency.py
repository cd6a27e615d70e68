"""A small network moves the noise's low frequencies once (after LENS, arXiv 2605.07253)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hypernoise.methods.candidates import check_generator
from hypernoise.methods.protocol import Generated, Spent
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.low_frequency import LowFrequencyNetwork
from hypernoise.rewards.protocol import Features, Reward


class LowFrequency:
    """The frozen generator from noise whose low frequencies a trained network has moved.

    The network is no backbone pass, so ``nfe`` is the generator's own.

    Args:
        network: network of the generator that ``run`` is given.
    """

    def __init__(self, network: LowFrequencyNetwork) -> None:
        self._network = network

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
        check_generator(self._network, generator)
        moved = noise + self._network.delta(noise, conditioning)
        images = generator.sample(moved, conditioning, steps, seeds)
        return Generated(images, moved, Spent(nfe=steps))
