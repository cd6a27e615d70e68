"""HPSv2 and HPSv2.1: human preference as the cosine of a fine-tuned CLIP ViT-H/14.

Source: Human Preference Score v2, arXiv 2306.09341; package hpsv2 1.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from hypernoise.prompt_lengths import Lengths
from hypernoise.rewards.openclip import OpenClip, small_clip
from hypernoise.rewards.preprocessing import Preprocessing
from hypernoise.rewards.protocol import Features


class HPSv2:
    """Cosine of image and prompt, in [-1, 1].

    Args:
        weights: checkpoint of either version (:mod:`hypernoise.weights.pinned_files`), or
        ``"random"``. architecture: name of an open_clip configuration, or one as a mapping.
        antialias: as torchvision resizes tensors since 0.17; before that it did not, and the
            package, which resizes tensors, gave other scores.
        dtype: dtype of the network.
        device: torch device.
        name: what tables and messages call it.
    """

    stand_in = classmethod(small_clip)

    def __init__(
        self,
        weights: str,
        architecture: str | Mapping[str, Any] = "ViT-H-14",
        antialias: bool = True,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "hpsv2",
    ) -> None:
        self.name = name
        self.clip = OpenClip(weights, architecture, dtype, device)
        self.preprocessing = Preprocessing(
            self.clip.size_px, framing="pad", resizes="tensor", antialias=antialias
        )

    def encode(self, prompts: Sequence[str]) -> Features:
        return Features({"text": self.clip.texts(prompts)}, tuple(prompts))

    def lengths(self, prompts: Sequence[str]) -> list[Lengths]:
        return self.clip.lengths(prompts)

    def score(self, images: Tensor, features: Features) -> Tensor:
        return self._score(self.preprocessing.from_tensors(images), features)

    def score_pil(self, images: Sequence[Image.Image], features: Features) -> Tensor:
        """As ``hpsv2.score`` gives for PIL images: [B]."""
        return self._score(self.preprocessing.from_pil(images).to(self.clip.device), features)

    def _score(self, pixels: Tensor, features: Features) -> Tensor:
        return (self.clip.images(pixels) * features.tensors["text"]).sum(dim=-1)
