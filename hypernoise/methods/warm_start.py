"""Hybrids: searches that start from the noise of a trained noise network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from hypernoise.identity import SPEED_ONLY
from hypernoise.methods.best_of_n import BestOfN
from hypernoise.methods.candidates import check_generator
from hypernoise.methods.protocol import Generated, Method
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.lora_networks import NoiseNetwork
from hypernoise.networks.merged_networks import inference_network
from hypernoise.rewards.protocol import Features, Reward


class WarmStart:
    """A search from the moved noise x0 + f(x0, c): the first image that it scores is HyperNoise's.

    Args:
        network: noise network of the generator that ``run`` is given.
        search: what goes on from its noise.
        merged: as for :class:`hypernoise.methods.hypernoise.HyperNoise`.
    """

    def __init__(
        self,
        network: NoiseNetwork,
        search: Method,
        merged: Annotated[bool | str, SPEED_ONLY] = False,
    ) -> None:
        self._network = inference_network(network, merged)
        self._search = search

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
        with torch.no_grad():
            moved = noise + self._network.delta(noise, conditioning)
        found = self._search.run(generator, reward, conditioning, features, moved, seeds, steps)
        return found._replace(spent=found.spent._replace(nfe=found.spent.nfe + 1))


def warm_best_of_n(
    network: NoiseNetwork, search: BestOfN, merged: Annotated[bool | str, SPEED_ONLY] = False
) -> BestOfN:
    """Best-of-N over HyperNoise's images: every candidate's noise is moved by the network.

    Args:
        network: noise network of the generator that ``run`` is given.
        search: the search whose settings are taken; it starts from the same noises.
        merged: as for :class:`hypernoise.methods.hypernoise.HyperNoise`.
    """
    return search.moved_by(inference_network(network, merged))
