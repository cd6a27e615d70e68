"""What a comparison of two images is, and the two ways of comparing their vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

#: How a metric's name ends, and what a higher value says about a set of images.
ENDINGS = {"_distance": "more diverse", "_similarity": "less diverse"}


class Comparison(Protocol):
    """Compares images through one vector of each, which is computed once per image."""

    def embed(self, images: Tensor) -> Tensor:
        """Vectors [B, D] of images [B, 3, H, W] in [0, 1], each on its own."""
        ...

    def compare(self, vector: Tensor, others: Tensor) -> Tensor:
        """One vector [D] with each of N others [N, D]: [N], symmetric."""
        ...


class FeatureNetwork(Protocol):
    """Makes one vector of an image; distances of sets are made of them
    (:mod:`harness.similarity.feature_distances`)."""

    def embed(self, images: Tensor) -> Tensor:
        """Vectors [B, D] of images [B, 3, H, W] in [0, 1], each on its own."""
        ...


def squared_distances(vector: Tensor, others: Tensor) -> Tensor:
    """Squared Euclidean distances [N] of a vector [D] to others [N, D]."""
    # torch takes seconds to import, and tables ask for the endings only.
    import torch

    # One by one: a difference with all of them at once would need their memory again.
    return torch.stack([(vector - other).square().sum() for other in others])


def cosines(vector: Tensor, others: Tensor) -> Tensor:
    """Cosines [N] of a unit vector [D] with other ones [N, D]."""
    return (others * vector).sum(dim=1)
