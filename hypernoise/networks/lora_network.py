"""What noise networks and fine-tuners share: a LoRA on the generator's own backbone."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from torch import nn

from hypernoise.models.protocol import Generator
from hypernoise.networks.adapter import Adapter, adaptable, attach, free_name
from hypernoise.networks.description import check_kind
from hypernoise.weights.saved_lora import peft_key, saved_keys, saved_rank_and_alpha


class LoraNetwork:
    """A LoRA on a generator's backbone, with parameters, size and files as a training wants them.

    Args:
        generator: the generator, whose own weights are frozen.
        rank: LoRA rank.
        alpha: LoRA alpha.
        name: the adapter's name in the backbone; a free one by default, so that several networks
            can share a generator.
        seed: seed of the LoRA's initial weights.
        grouped: see :func:`hypernoise.networks.adapter.attach`.

    Raises:
        ValueError: ``name`` is taken, or a size is out of its range.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        generator: Generator,
        rank: int,
        alpha: float,
        name: str = "",
        seed: int = 0,
        grouped: bool = False,
    ) -> None:
        name = name or free_name(generator.backbone, self.kind)
        backbone = generator.backbone
        self._take(generator, attach(backbone, name, rank, alpha, seed=seed, grouped=grouped))

    @classmethod
    def around(cls, generator: Generator, adapter: Adapter) -> Self:
        """A network of an adapter that is in the generator's backbone already.

        Raises:
            ValueError: the adapter cannot be one of this kind; it is taken out.
        """
        network = cls.__new__(cls)
        network._take(generator, adapter)
        return network

    def _take(self, generator: Generator, adapter: Adapter) -> None:
        self.generator, self.adapter = generator, adapter

    @classmethod
    def trained(cls, generator: Generator, folder: Path, name: str = "") -> Self:
        """A trained network, with the rank and alpha that it was saved with.

        Grouped convolutions are adapted where the saved LoRA adapts them, as those of peft before
        0.16 do, the published HyperNoise adapters among them.

        Args:
            generator: the generator that it was trained on.
            folder: PEFT's folder; :mod:`hypernoise.weights.saved_lora` has the names that its
                weights may have.
            name: the adapter's name in the backbone; a free one by default.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, the LoRA is for another backbone, or the folder says
                that it is of another kind.
        """
        check_kind(folder, cls.kind)
        rank, alpha = saved_rank_and_alpha(folder)
        saved = saved_keys(folder)
        _, grouped_names = adaptable(generator.backbone)
        grouped = any(peft_key(layer, "lora_A") in saved for layer in grouped_names)
        network = cls(generator, rank, alpha, name, grouped=grouped)
        try:
            network.load(folder)
        except (FileNotFoundError, ValueError):
            network.adapter.remove()
            raise
        return network

    @property
    def n_parameters(self) -> int:
        return self.adapter.n_parameters

    @property
    def shape(self) -> dict[str, float]:
        return self.adapter.shape

    def parameters(self) -> list[nn.Parameter]:
        return self.adapter.parameters()

    def save(self, folder: Path) -> None:
        """Write the LoRA in PEFT's format."""
        self.adapter.save(folder)

    def load(self, folder: Path) -> None:
        self.adapter.load(folder)
