"""Direct fine-tuning: the noise network's LoRA, in the passes that draw the image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from torch import Tensor

from hypernoise.models.protocol import Conditioning, Seeds
from hypernoise.networks.lora_network import LoraNetwork
from hypernoise.networks.protocol import Drawn


class FineTuner(LoraNetwork):
    """A generator with a trained LoRA; unchanged outside :meth:`active` and :meth:`draw`.

    Noise is not moved. Arguments: :class:`hypernoise.networks.lora_network.LoraNetwork`.
    """

    kind: ClassVar[str] = "lora_finetune"

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the generator the fine-tuned one."""
        with self.adapter.active():
            yield

    def draw(
        self, noise: Tensor, conditioning: Conditioning, steps: int = 1, seeds: Seeds = None
    ) -> Drawn:
        with self.active():
            return Drawn(self.generator.sample(noise, conditioning, steps, seeds), None)
