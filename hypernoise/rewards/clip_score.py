"""CLIPScore of CLIP ViT-H/14 (LAION-2B), as ReNO and HyperNoise use it.

Source: ReNO, arXiv 2406.04312; weights laion/CLIP-ViT-H-14-laion2B-s32B-b79K.
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


class ClipScore:
    """Cosine of image and prompt times the checkpoint's logit scale, which is 100.

    Args: as of :class:`hypernoise.rewards.hpsv2.HPSv2`.
    """

    stand_in = classmethod(small_clip)

    def __init__(
        self,
        weights: str,
        architecture: str | Mapping[str, Any] = "ViT-H-14",
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "clip_score",
    ) -> None:
        self.name = name
        self.clip = OpenClip(weights, architecture, dtype, device)
        self.preprocessing = Preprocessing(self.clip.size_px)

    def encode(self, prompts: Sequence[str]) -> Features:
        return Features({"text": self.clip.texts(prompts)}, tuple(prompts))

    def lengths(self, prompts: Sequence[str]) -> list[Lengths]:
        return self.clip.lengths(prompts)

    def score(self, images: Tensor, features: Features) -> Tensor:
        return self._score(self.preprocessing.from_tensors(images), features)

    def score_pil(self, images: Sequence[Image.Image], features: Features) -> Tensor:
        """As open_clip's own preprocessing and model give for PIL images: [B]."""
        return self._score(self.preprocessing.from_pil(images).to(self.clip.device), features)

    def _score(self, pixels: Tensor, features: Features) -> Tensor:
        cosines = (self.clip.images(pixels) * features.tensors["text"]).sum(dim=-1)
        return self.clip.scale * cosines
