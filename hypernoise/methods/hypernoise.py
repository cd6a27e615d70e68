"""HyperNoise: a trained network moves the noise once (arXiv 2508.09968).

Also with the small network that moves low frequencies only, after LENS (arXiv 2605.07253).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from hypernoise.identity import SPEED_ONLY
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.networks.merged import inference_network
from hypernoise.networks.protocol import NoiseMover, check_generator


class HyperNoise:
    """The frozen generator from the noise that a trained network has moved.

    Args:
        network: network of the generator that ``run`` is given.
        merged: merge the LoRA into the weights, for speed: True in a second copy of them,
            ``"per_layer"`` again in every pass; or keep it next to them without peft
            (``"in_place"``). ``network`` is used up by all of these
            (:func:`hypernoise.networks.merged.inference_network`).

    Raises:
        ValueError: ``merged`` is another text, or the network has no LoRA to merge.
    """

    words_prompts: ClassVar[bool] = False

    def __init__(
        self, network: NoiseMover, merged: Annotated[bool | str, SPEED_ONLY] = False
    ) -> None:
        self._network = inference_network(network, merged)

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        moved = moved_noise(self._network, request)
        nfe = self._network.backbone_passes + request.steps
        return Generated(request.sample(moved), moved, Spent(nfe))


def moved_noise(network: NoiseMover, request: Request) -> Tensor:
    """The request's noise, moved by a network: [B, *noise_shape].

    Raises:
        ValueError: the network belongs to another generator.
    """
    check_generator(network, request.generator)
    return request.noise + network.delta(request.noise, request.conditioning)
