"""A reward: any class with a name, `encode` and `score`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hypernoise.rewards.protocol import Features


class Blueness:
    """Mean blue less the mean of red and green: in [-1, 1], whatever the prompt says."""

    name = "my_reward"

    def encode(self, prompts: Sequence[str]) -> Features:
        """What of the prompts every call of `score` needs: here nothing but their texts."""
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        """[B] of images [B, 3, H, W] in [0, 1]; a gradient goes back to the images."""
        red, green, blue = images.mean(dim=(2, 3)).unbind(dim=1)
        return blue - 0.5 * (red + green)
