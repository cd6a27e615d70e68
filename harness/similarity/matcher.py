"""The embedded world's comparisons, on the image tower of one of its matchers.

The same formulas as LPIPS and as the cosine of DINOv2, on features that know 32 x 32 shapes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from harness.similarity.protocol import cosines, squared_distances
from hypernoise.shapeworld.matcher_files import load_network
from hypernoise.shapeworld.matcher_network import MatcherNetwork
from hypernoise.shapeworld.scenes import SIZE_PX

#: Brightness of an empty scene, in [0, 1].
_LIGHT = 0.95
WEIGHTS = "hypernoise/shapeworld/weights/matcher.safetensors"


class MatcherDistance:
    """LPIPS's formula without learned weights, on the feature maps after every activation.

    Args:
        weights: safetensors file of a matcher.
        device: torch device.
    """

    takes_px = SIZE_PX

    def __init__(self, weights: str = WEIGHTS, device: str = "cpu") -> None:
        self._tower = load_network(Path(weights), MatcherNetwork).image.to(device)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Vectors [B, D] of images [B, 3, 32, 32] in [0, 1]."""
        vectors = []
        hidden = images * 2 - 1
        for layer in self._tower:
            hidden = layer(hidden)
            if isinstance(layer, nn.SiLU):
                units = normalize(hidden, dim=1)
                vectors.append(units.flatten(1) / units[0, 0].numel() ** 0.5)
        return torch.cat(vectors, dim=1)

    def compare(self, vector: Tensor, others: Tensor) -> Tensor:
        """Distances [N] of one image and N others; higher is more different."""
        return squared_distances(vector, others)


class MatcherSimilarity:
    """Cosine of the mean image token, which says what is there rather than where.

    Tokens count from those of an empty scene: what all images share would make them alike.

    Args:
        weights: safetensors file of a matcher.
        device: torch device.
    """

    takes_px = SIZE_PX

    def __init__(self, weights: str = WEIGHTS, device: str = "cpu") -> None:
        self._network = load_network(Path(weights), MatcherNetwork).to(device)
        self._empty = self._mean_token(torch.full((1, 3, SIZE_PX, SIZE_PX), _LIGHT, device=device))

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D] of images [B, 3, 32, 32] in [0, 1]."""
        return normalize(self._mean_token(images) - self._empty, dim=-1)

    def compare(self, vector: Tensor, others: Tensor) -> Tensor:
        """Cosines [N] of one image and N others; higher is more alike."""
        return cosines(vector, others)

    @torch.no_grad()
    def _mean_token(self, images: Tensor) -> Tensor:
        return self._network.image_tokens(images).mean(dim=1)
