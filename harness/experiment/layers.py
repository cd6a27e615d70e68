"""Layers of a config: options that hold for some models, rewards and methods.

A layer's key is ``default``, or names and variants of methods with spaces between them; it applies
where all of them do. A variant applies to every variant of its method that has its arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from harness.experiment.config import DEFAULT
from harness.experiment.variants import Variant


class Given(NamedTuple):
    """A value, and the key of the layer that gives it."""

    value: Any
    layer: str


def layered(
    layers: Mapping[str, Mapping[str, Any]], names: Collection[str], method: Variant
) -> dict[str, Given]:
    """What the layers that apply give; of two, the one whose key names more, or else the later.

    Args:
        layers: in the file's order.
        names: of the model, the reward, the method, and the kind of network that it trains.
        method: the method with its arguments.
    """
    fitting = []
    for place, (key, layer) in enumerate(layers.items()):
        words = [Variant.parse(word) for word in key.split() if word != DEFAULT]
        # A variant in the key applies to every variant that has its arguments.
        if all(
            word.name == method.name and word.arguments.items() <= method.arguments.items()
            if word.arguments
            else word.name in names
            for word in words
        ):
            fitting.append((sum(1 + len(word.arguments) for word in words), place, key, layer))
    ordered = sorted(fitting, key=lambda found: found[:2])
    return {name: Given(value, key) for *_, key, layer in ordered for name, value in layer.items()}
