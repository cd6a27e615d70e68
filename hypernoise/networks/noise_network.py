"""The noise network of the paper: LoRA on a generator's own backbone that moves the noise."""

from __future__ import annotations

from typing import ClassVar

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from hypernoise.models.protocol import Conditioning, Generator, Seeds
from hypernoise.networks.adapter import Adapter
from hypernoise.networks.displacement import displacement
from hypernoise.networks.lora_network import LoraNetwork
from hypernoise.networks.pipeline_noise import load
from hypernoise.networks.protocol import Drawn


class NoiseNetwork(LoraNetwork):
    """f(x0, c): the generator's backbone with LoRA, its last layer reduced to the LoRA branch.

    The frozen weight and bias of the last layer are left out, so that f = 0 before training
    (arXiv 2508.09968, section 3.3). One pass at the largest timestep gives f. Arguments:
    :class:`hypernoise.networks.lora_network.LoraNetwork`.

    Raises:
        ValueError: the backbone's last layer cannot take LoRA, or ``name`` is taken.
    """

    kind: ClassVar[str] = "hypernoise"
    backbone_passes: ClassVar[int] = 1
    #: A trained network for a stock pipeline, in anybody's script, which it leaves as it is.
    from_pretrained = staticmethod(load)

    def _take(self, generator: Generator, adapter: Adapter) -> None:
        super()._take(generator, adapter)
        last = self.adapter.layers.get(generator.last_layer)
        if not isinstance(last, LoraLayer):
            self.adapter.remove()
            raise ValueError(
                f"the last layer {generator.last_layer!r} is neither a Linear nor an ungrouped "
                "Conv2d of the backbone that is adapted"
            )
        self._last = last.get_base_layer()

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The displacement f(x0, c) of noise [B, *noise_shape]: same shape, float32.

        A backbone that has been made float64 gives float64.
        """
        with (
            self.adapter.active(),
            self._last.register_forward_hook(lambda _module, _inputs, out: torch.zeros_like(out)),
        ):
            return displacement(self.generator, noise, conditioning)

    def draw(
        self, noise: Tensor, conditioning: Conditioning, steps: int = 1, seeds: Seeds = None
    ) -> Drawn:
        """Images of the frozen generator from the moved noise x0 + f(x0, c)."""
        delta = self.delta(noise, conditioning)
        images = self.generator.sample(noise + delta, conditioning, steps, seeds)
        return Drawn(images, delta)
