"""HyperNoise: a trained network moves the noise once (arXiv 2508.09968)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from hypernoise.identity import SPEED_ONLY
from hypernoise.methods.candidates import check_generator
from hypernoise.methods.protocol import Generated, Spent
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.lora_networks import NoiseNetwork
from hypernoise.networks.merged_networks import inference_network
from hypernoise.rewards.protocol import Features, Reward


class HyperNoise:
    """The frozen generator from the noise that a trained noise network has moved.

    Args:
        network: noise network of the generator that ``run`` is given.
        merged: merge the LoRA into the weights, for speed: True in a second copy of them,
            ``"per_layer"`` again in every pass; or keep it beside them without peft
            (``"in_place"``). ``network`` is used up by all of these
            (:func:`hypernoise.networks.merged_networks.inference_network`).

    Raises:
        ValueError: ``merged`` is another text.
    """

    def __init__(
        self, network: NoiseNetwork, merged: Annotated[bool | str, SPEED_ONLY] = False
    ) -> None:
        self._network = inference_network(network, merged)

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
        return Generated(images, moved, Spent(nfe=1 + steps))
