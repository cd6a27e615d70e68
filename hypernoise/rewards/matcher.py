"""The embedded world's learned reward: does an image show what its caption asks for?

The reward is the logit of a small image-text matcher (:mod:`hypernoise.shapeworld.matching`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from hypernoise.models.protocol import Conditioning
from hypernoise.shapeworld.matcher_files import load_network
from hypernoise.shapeworld.matcher_network import MatcherNetwork, word_ids
from hypernoise.shapeworld.scenes import SIZE_PX


class ShapeMatcher:
    """A trained matcher as a reward.

    Args:
        weights: safetensors file written by
            :func:`hypernoise.shapeworld.matcher_files.save_network`.
        device: torch device.
    """

    takes_px = SIZE_PX

    def __init__(self, weights: str, device: str = "cpu") -> None:
        self.name = Path(weights).stem
        self.network = load_network(Path(weights), MatcherNetwork).to(device)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        device = next(self.network.parameters()).device
        return Conditioning({"words": word_ids(prompts).to(device)}, tuple(prompts))

    def score(self, images: Tensor, features: Conditioning) -> Tensor:
        """Matching logits [B] of images [B, 3, 32, 32] in [0, 1]; differentiable."""
        logits: Tensor = self.network(images, features.tensors["words"])
        return logits
