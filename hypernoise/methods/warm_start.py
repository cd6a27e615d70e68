"""Hybrids: searches that start from the noise of a trained noise network."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch

from hypernoise.identity import SPEED_ONLY
from hypernoise.methods.best_of_n import BestOfN
from hypernoise.methods.hypernoise import moved_noise
from hypernoise.methods.protocol import Generated, Method, Request, images_of
from hypernoise.networks.merged import inference_network
from hypernoise.networks.protocol import NoiseMover


class WarmStart:
    """A search from the moved noise x0 + f(x0, c): the first image that it scores is HyperNoise's.

    Args:
        network: network of the generator that ``run`` is given.
        search: what goes on from its noise.
        merged: as for :class:`hypernoise.methods.hypernoise.HyperNoise`.
    """

    words_prompts: ClassVar[bool] = False

    def __init__(
        self, network: NoiseMover, search: Method, merged: Annotated[bool | str, SPEED_ONLY] = False
    ) -> None:
        self._network = inference_network(network, merged)
        self._search = search

    def run(self, request: Request) -> Generated:
        with torch.no_grad():
            moved = moved_noise(self._network, request)
        found = images_of(self._search, replace(request, noise=moved))
        nfe = found.spent.nfe + self._network.backbone_passes
        return found._replace(spent=found.spent._replace(nfe=nfe))


def warm_best_of_n(
    network: NoiseMover, search: BestOfN, merged: Annotated[bool | str, SPEED_ONLY] = False
) -> BestOfN:
    """Best-of-N over HyperNoise's images: every candidate's noise is moved by the network.

    Args:
        network: network of the generator that ``run`` is given.
        search: the search whose settings are taken; it starts from the same noises.
        merged: as for :class:`hypernoise.methods.hypernoise.HyperNoise`.
    """
    return search.moved_by(inference_network(network, merged))
