"""What the method needs of an image scorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

from hypernoise.models.protocol import Conditioning
from hypernoise.prompt_lengths import Lengths

#: Encoded prompts of a reward: like a generator's, rows can be chosen and repeated.
Features = Conditioning


class Reward(Protocol):
    """Scores images against prompts; higher is better.

    Attributes:
        name: what tables and messages call it.

    A class whose scores have no gradient with regard to the images says ``differentiable = False``.
    """

    @property
    def name(self) -> str: ...

    def encode(self, prompts: Sequence[str]) -> Features:
        """Encode prompts once; the result is used for every scored batch."""
        ...

    def score(self, images: Tensor, features: Features) -> Tensor:
        """Score each image on its own, differentiable in the images unless the class says other.

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


@runtime_checkable
class KnowsLengths(Protocol):
    """A reward that can say how long prompts are to its text encoder."""

    def lengths(self, prompts: Sequence[str]) -> Sequence[Lengths]:
        """One entry per prompt; an empty one where it is not known."""
        ...


@runtime_checkable
class NeedsPackages(Protocol):
    """A reward whose class needs a package that is not installed with this one."""

    @staticmethod
    def check_installed() -> None:
        """Raise FileNotFoundError, with what to type, unless the package is there."""
        ...


def checked_score(reward: Reward, images: Tensor, features: Features) -> Tensor:
    """The reward of each image, float32 [B], once it has been checked.

    Raises:
        ValueError: the reward gave another shape or a value that is not finite.
    """
    scores = shaped_score(reward, images, features)
    check_values(reward.name, scores.tolist(), features.prompts)
    return scores


def check_values(name: str, values: Sequence[float], prompts: Sequence[str]) -> None:
    """Check what a reward of that name gave B images of B prompts.

    Raises:
        ValueError: a value is not finite; the message has its image's place and prompt.
    """
    bad = [row for row, value in enumerate(values) if not math.isfinite(value)]
    if bad:
        first = bad[0]
        raise ValueError(
            f"reward {name!r} returned {values[first]} for {len(bad)} of {len(values)} images; "
            f"the first is image {first} of the batch, of the prompt {prompts[first]!r}"
        )


def shaped_score(reward: Reward, images: Tensor, features: Features) -> Tensor:
    """As :func:`checked_score` without looking at the values, which on a GPU would wait for them.

    Raises:
        ValueError: the reward gave another shape than [B], or no tensor.
    """
    scores: object = reward.score(images, features)
    if isinstance(scores, Tensor) and scores.shape == (len(images),):
        return scores.float()
    found = f"a {type(scores).__name__}"
    if isinstance(scores, Tensor):
        found = f"shape {tuple(scores.shape)}"
    raise ValueError(
        f"reward {reward.name!r} must return one score per image, shape ({len(images)},), "
        f"and returned {found}"
    )


def differentiable_score(reward: Reward, images: Tensor, features: Features) -> Tensor:
    """As :func:`shaped_score`, of images that gradients are wanted for.

    Raises:
        ValueError: also where the scores know nothing of the images any more.
    """
    scores = shaped_score(reward, images, features)
    if not scores.requires_grad:
        raise ValueError(f"reward {reward.name!r} has no gradient with regard to the images")
    return scores
