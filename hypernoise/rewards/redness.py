"""Redness: the paper's toy reward, which any image can hack by turning red."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hypernoise.rewards.protocol import Features


class Redness:
    """Mean red minus half the sum of mean green and mean blue (arXiv 2508.09968, section 4.1).

    Args:
        scale: factor on the score, which without it lies in [-1, 1].
        name: what tables call it.
    """

    def __init__(self, scale: float = 1.0, name: str = "redness") -> None:
        self.name = name
        self.scale = scale

    def encode(self, prompts: Sequence[str]) -> Features:
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        red, green, blue = images.mean(dim=(2, 3)).unbind(dim=1)
        return self.scale * (red - 0.5 * (green + blue))
