"""The embedded world's judge: log odds that an image shows its caption.

A network that was trained on drawn pictures finds the objects
(:mod:`hypernoise.shapeworld.judging`), rules read the caption
(:mod:`hypernoise.shapeworld.recogniser`). It shares no training image, no label and no caption with
the reward that it judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hypernoise.models.protocol import Conditioning
from hypernoise.shapeworld.matcher_files import load_network
from hypernoise.shapeworld.recogniser import Recogniser, log_odds, objects_of, read
from hypernoise.shapeworld.scenes import SIZE_PX


class ShapeJudge:
    """The trained judge as a reward.

    Args:
        weights: safetensors file written by
            :func:`hypernoise.shapeworld.matcher_files.save_network`.
        device: torch device.
    """

    takes_px = SIZE_PX

    def __init__(self, weights: str, device: str = "cpu") -> None:
        self.name = Path(weights).stem
        self.network = load_network(Path(weights), Recogniser).to(device)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Captions, checked; ValueError for one in no template of the world."""
        for prompt in prompts:
            read(prompt)
        return Conditioning({}, tuple(prompts))

    def score(self, images: Tensor, features: Conditioning) -> Tensor:
        """Log odds [B] of images [B, 3, 32, 32] in [0, 1]; differentiable."""
        seen = objects_of(self.network(images))
        wishes = [read(prompt) for prompt in features.prompts]
        return torch.stack([log_odds(*pair) for pair in zip(seen, wishes, strict=True)])
