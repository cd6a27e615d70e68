"""What a training needs of a network, and what a method needs of one that moves noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from hypernoise.models.protocol import Conditioning, Generator, Seeds


class Drawn(NamedTuple):
    """Images [B, 3, H, W] in [0, 1], and how far their noise was moved: [B, *noise_shape].

    ``kl`` is the integrand of the moved noise's KL per image, [B] in nats, of networks that know it
    exactly; for others half the squared norm of ``delta`` stands for it.
    """

    images: Tensor
    delta: Tensor | None
    kl: Tensor | None = None


class NoiseMover(Protocol):
    """A trained network that moves noise, in whichever form it runs.

    Attributes:
        generator: the frozen generator that it was trained on.
        backbone_passes: passes through the generator's backbone that one displacement takes.
    """

    generator: Generator
    backbone_passes: ClassVar[int]

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The displacement of noise [B, *noise_shape]: same shape, float32."""
        ...


class Trainable(Protocol):
    """What is trained: a way of drawing images that has parameters of its own.

    Attributes:
        kind: its name in declarations (:mod:`hypernoise.training.kinds`).
        generator: the frozen generator.
        shape: training options that its size follows from -> their values.
    """

    kind: ClassVar[str]
    generator: Generator

    @property
    def shape(self) -> Mapping[str, float]: ...

    @property
    def n_parameters(self) -> int: ...

    def parameters(self) -> list[nn.Parameter]: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None:
        """Read weights of the same shape.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, or of another shape.
        """
        ...

    def draw(
        self, noise: Tensor, conditioning: Conditioning, steps: int = 1, seeds: Seeds = None
    ) -> Drawn:
        """Images from noise [B, *noise_shape], differentiable in the adapter's parameters."""
        ...


def check_generator(network: NoiseMover, generator: Generator) -> None:
    """Raise ValueError unless the network is the generator's."""
    if network.generator is not generator:
        raise ValueError("the noise network belongs to another generator")
