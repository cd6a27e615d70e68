"""Components whose weights are downloaded, and prompts that are evaluated on, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from harness.benchmarks.protocol import Prompt
from hypernoise.rewards.protocol import Features
from hypernoise.weights.pinned_files import PinnedFile, read


class Weighed:
    """A reward that is the images' mean times its one weight."""

    name = "weighed"

    def __init__(self, weights: str) -> None:
        self.weight = read(PinnedFile.parse(weights).fetch())["weight"]

    def encode(self, prompts: Sequence[str]) -> Features:
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        return images.flatten(1).mean(dim=1) * self.weight


class Asked:
    """A model that answers questions; never made here."""

    def __init__(self, weights: str, revision: str = "") -> None:
        raise AssertionError("only its parameters are looked at")


def evaluated() -> list[Prompt]:
    """A list of prompts that is evaluated on."""
    return [Prompt("0", "A photo of a bench", "colors")]
