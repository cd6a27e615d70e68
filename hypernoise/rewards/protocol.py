"""What the method needs of an image scorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

from hypernoise.models.protocol import Conditioning

#: Encoded prompts of a reward: like a generator's, rows can be chosen and repeated.
Features = Conditioning


class Reward(Protocol):
    """Scores images against prompts; higher is better.

    Attributes:
        name: what tables and messages call it.
    """

    @property
    def name(self) -> str: ...

    def encode(self, prompts: Sequence[str]) -> Features:
        """Encode prompts once; the result is used for every scored batch."""
        ...

    def score(self, images: Tensor, features: Features) -> Tensor:
        """Score each image on its own, differentiable in the images.

        Args:
            images: [B, 3, H, W] in [0, 1].
            features: B encoded prompts.

        Returns:
            [B], higher is better; never a mean over the batch.
        """
        ...


@runtime_checkable
class PilReward(Reward, Protocol):
    """A reward that also scores PIL images, of any mode and size, as its original does."""

    def score_pil(self, images: Sequence[Image.Image], features: Features) -> Tensor:
        """Scores [B]; not differentiable in the images."""
        ...


def checked_score(reward: Reward, images: Tensor, features: Features) -> Tensor:
    """The reward of each image, float32 [B], once it has been checked.

    Raises:
        ValueError: the reward gave another shape or a value that is not finite.
    """
    scores = shaped_score(reward, images, features)
    check_values(reward.name, scores.tolist())
    return scores


def check_values(name: str, values: Sequence[float]) -> None:
    """Raises ValueError where a reward of that name gave a value that is not finite."""
    bad = [value for value in values if not math.isfinite(value)]
    if bad:
        raise ValueError(f"reward {name!r} returned {bad[0]} for {len(bad)} image(s)")


def shaped_score(reward: Reward, images: Tensor, features: Features) -> Tensor:
    """As :func:`checked_score` without looking at the values, which on a GPU would wait for them.

    Raises:
        ValueError: the reward gave another shape than [B].
    """
    scores = reward.score(images, features)
    if scores.shape != (len(images),):
        raise ValueError(
            f"reward {reward.name!r} must return one score per image, shape ({len(images)},), "
            f"and returned shape {tuple(scores.shape)}"
        )
    return scores.float()
