"""Weighted sums of rewards, like the paper's human preference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from hypernoise.prompt_lengths import Length, Lengths
from hypernoise.rewards.protocol import Features, KnowsLengths, PilReward, Reward, shaped_score


class Ensemble:
    """The weighted sum of other rewards' scores (arXiv 2508.09968, section 4).

    Args:
        parts: (weight, reward) pairs; each reward encodes every prompt once.
        name: what tables and messages call it.

    Raises:
        ValueError: there are no parts.
    """

    def __init__(self, parts: Sequence[tuple[float, Reward]], name: str = "ensemble") -> None:
        if not parts:
            raise ValueError(f"reward {name!r} is a sum of no parts; at least one is needed")
        self.name = name
        self.parts = tuple(parts)

    def encode(self, prompts: Sequence[str]) -> Features:
        """The features of all parts, under the parts' positions."""
        encoded = [reward.encode(prompts) for _, reward in self.parts]
        tensors = {
            f"{position}.{key}": value
            for position, features in enumerate(encoded)
            for key, value in features.tensors.items()
        }
        return Features(tensors, tuple(prompts))

    def lengths(self, prompts: Sequence[str]) -> list[Lengths]:
        """Those of the parts that know them, under the parts' positions and names."""
        found: list[dict[str, Length]] = [{} for _ in prompts]
        for position, (_, reward) in enumerate(self.parts):
            if isinstance(reward, KnowsLengths):
                for own, of_part in zip(found, reward.lengths(prompts), strict=True):
                    own.update({f"{position}.{reward.name}.{k}": v for k, v in of_part.items()})
        return list(found)

    def score(self, images: Tensor, features: Features) -> Tensor:
        scores = [
            weight * shaped_score(reward, images, _part(features, position))
            for position, (weight, reward) in enumerate(self.parts)
        ]
        return torch.stack(scores).sum(dim=0)

    def score_pil(self, images: Sequence[Image.Image], features: Features) -> Tensor:
        """As :meth:`score`, for PIL images.

        Raises:
            TypeError: a part takes no PIL images.
        """
        scores = []
        for position, (weight, reward) in enumerate(self.parts):
            if not isinstance(reward, PilReward):
                raise TypeError(f"part {reward.name!r} of reward {self.name!r} takes no PIL images")
            scores.append(weight * reward.score_pil(images, _part(features, position)))
        return torch.stack(scores).sum(dim=0)


def _part(features: Features, position: int) -> Features:
    start = f"{position}."
    tensors = {k.removeprefix(start): v for k, v in features.tensors.items() if k.startswith(start)}
    return Features(tensors, features.prompts)
