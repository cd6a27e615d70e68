"""What can be trained, by the name that declarations use (``trains``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hypernoise.choices import check_choice
from hypernoise.models.protocol import Generator
from hypernoise.networks import lora_networks
from hypernoise.networks.lora_networks import FineTuner, NoiseNetwork
from hypernoise.networks.low_frequency import LowFrequencyNetwork, load_low_frequency
from hypernoise.networks.protocol import Trainable
from hypernoise.training.loop import TrainingOptions


@dataclass(frozen=True)
class Kind:
    """How something trainable comes to be.

    Attributes:
        build: an untrained one, of the size that the options say.
        load: a trained one, of the size that its folder says.
    """

    build: Callable[[Generator, TrainingOptions], Trainable]
    load: Callable[[Generator, Path], Trainable]


def _lora(kind: str) -> Kind:
    return Kind(partial(_build_lora, kind), partial(lora_networks.load_trained, kind))


def _build_lora(kind: str, generator: Generator, options: TrainingOptions) -> Trainable:
    return lora_networks.build(kind, generator, options.rank, options.alpha, options.seed)


def _build_low_frequency(generator: Generator, options: TrainingOptions) -> Trainable:
    sizes = (options.frequencies, options.width, options.depth)
    return LowFrequencyNetwork(generator, *sizes, options.seed)


KINDS: Mapping[str, Kind] = {
    NoiseNetwork.kind: _lora(NoiseNetwork.kind),
    FineTuner.kind: _lora(FineTuner.kind),
    LowFrequencyNetwork.kind: Kind(_build_low_frequency, load_low_frequency),
}


def build(kind: str, generator: Generator, options: TrainingOptions) -> Trainable:
    """Something untrained of a kind.

    Raises:
        ValueError: the kind is unknown, or the options do not fit the generator.
    """
    check_choice("kind of training", kind, KINDS)
    return KINDS[kind].build(generator, options)


def load(kind: str, generator: Generator, folder: Path) -> Trainable:
    """Something trained of a kind, with the size that it was saved with.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the kind is unknown, a file is truncated, or it was made for another generator.
    """
    check_choice("kind of training", kind, KINDS)
    return KINDS[kind].load(generator, folder)
