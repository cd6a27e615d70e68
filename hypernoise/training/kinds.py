"""What can be trained, by the name that declarations use (``trains``).

To add a kind, write its network (:class:`hypernoise.networks.protocol.Trainable`), enter it in
:data:`hypernoise.networks.description.NETWORKS` and here with its options, and declare a method
that trains it. Importing this brings no torch: a network's class is imported when one is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernoise.errors import check_choice, checked
from hypernoise.networks.description import NETWORKS, NOISE_NETWORK
from hypernoise.training.options import (
    LoraOptions,
    LowFrequencyOptions,
    NoiseNetworkOptions,
    PolicyOptions,
    SupervisedOptions,
    TrainingOptions,
)

if TYPE_CHECKING:
    from hypernoise.models.protocol import Generator
    from hypernoise.networks.protocol import Trainable


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Attributes:
        network: its class, ``"package.module:Class"``; called with the generator, and by keyword
            with the sizes and the seed. Its ``trained`` makes one of a folder.
        options: class of its training options.
        sizes: options that the network's size follows from.
        moves_noise: whether it moves noise and leaves the generator as it is.
    """

    network: str
    options: type[TrainingOptions]
    sizes: tuple[str, ...]
    moves_noise: bool

    def known(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Of some options of all kinds those that this one knows."""
        return {name: value for name, value in options.items() if name in self.options.model_fields}

    def checked(self, options: Mapping[str, Any]) -> TrainingOptions:
        """The options of a training of this kind.

        Raises:
            ValueError: an option is unknown to the kind, missing, or out of its range.
        """
        return checked(self.options, options, "training option")

    def build(self, generator: Generator, options: TrainingOptions) -> Trainable:
        """An untrained network.

        Raises:
            ValueError: the options do not fit the generator.
        """
        sizes = {name: getattr(options, name) for name in self.sizes}
        network: Trainable = self._class()(generator, **sizes, seed=options.seed)
        return network

    def load(self, generator: Generator, folder: Path) -> Trainable:
        """A trained network, with the size that it was saved with.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, or it was made for another generator.
        """
        network: Trainable = self._class().trained(generator, folder)
        return network

    def makes(self, network: Trainable) -> bool:
        """Whether a network is of this kind's class."""
        return self.network == f"{type(network).__module__}:{type(network).__qualname__}"

    def _class(self) -> Any:
        module, _, name = self.network.partition(":")
        return getattr(importlib.import_module(module), name)


KINDS: Mapping[str, Kind] = {
    **{
        name: Kind(NETWORKS[name], options, sizes=("rank", "alpha"), moves_noise=True)
        for name, options in (
            ("hypernoise", NoiseNetworkOptions),
            ("supervised", SupervisedOptions),
            ("noise_policy", PolicyOptions),
        )
    },
    "lora_finetune": Kind(
        NETWORKS["lora_finetune"],
        LoraOptions,
        sizes=("rank", "alpha"),
        moves_noise=False,
    ),
    "low_frequency": Kind(
        NETWORKS["low_frequency"],
        LowFrequencyOptions,
        sizes=("frequencies", "width", "depth"),
        moves_noise=True,
    ),
}


def kind_of(name: str) -> Kind:
    """The kind of that name.

    Raises:
        ValueError: there is none.
    """
    check_choice("kind of network", name, KINDS)
    return KINDS[name]


def kind_name(options: TrainingOptions, otherwise: str) -> str:
    """The kind that options are of; ``otherwise`` for those of no kind."""
    return next((n for n, kind in KINDS.items() if kind.options is type(options)), otherwise)


def is_noise_network(name: str | None) -> bool:
    """Whether a kind is the paper's network, whatever its loss."""
    return any(name == own and kind.network == NOISE_NETWORK for own, kind in KINDS.items())
