"""LAION's aesthetic predictor: a linear head on the image vectors of OpenAI's CLIP ViT-L/14.

Source: LAION-Aesthetics V2, github.com/christophschuhmann/improved-aesthetic-predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from hypernoise.rewards.heads import linear_head
from hypernoise.rewards.openclip import OpenClip, small_clip
from hypernoise.rewards.preprocessing import Preprocessing
from hypernoise.rewards.protocol import Features
from hypernoise.weights.pinned_files import PinnedFile, fill, init_empty_weights, read
from hypernoise.weights.stand_ins import Shelf


class Aesthetic:
    """How pleasing an image is, whatever the prompt; trained on ratings from 1 to 10.

    Args:
        weights: CLIP checkpoint with open_clip's names (:mod:`hypernoise.weights.pinned_files`).
        head: ``sac+logos+ava1-l14-linearMSE.pth``, pinned likewise.
        architecture: name of an open_clip configuration, or one as a mapping. OpenAI's weights
            need the quick GELU: without it scores are wrong, and nothing says so.
        dtype: dtype of CLIP; the head is float32.
        device: torch device.
        name: what tables and messages call it.
    """

    def __init__(
        self,
        weights: str,
        head: str,
        architecture: str | Mapping[str, Any] = "ViT-L-14-quickgelu",
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "aesthetic",
    ) -> None:
        self.name = name
        tensors = read(PinnedFile.parse(head).fetch())
        self.clip = OpenClip(weights, architecture, dtype, device)
        width = self.clip.network.text_projection.shape[-1]
        with init_empty_weights(include_buffers=False):
            layers = linear_head(width)
        fill(layers, {k.removeprefix("layers."): v for k, v in tensors.items()}, head)
        self.head = layers.to(device)
        self.preprocessing = Preprocessing(self.clip.size_px)

    @classmethod
    def stand_in(cls, shelf: Shelf, *, head: str, **given: Any) -> dict[str, Any]:
        """As :func:`hypernoise.rewards.openclip.small_clip`, and a head as wide as its vectors."""
        changed = small_clip(cls, shelf, **given)
        layers = linear_head(changed["architecture"]["embed_dim"])
        weights = {f"layers.{name}": value for name, value in layers.state_dict().items()}
        return {**changed, "head": shelf.file(head, weights)}

    def encode(self, prompts: Sequence[str]) -> Features:
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        return self._score(self.preprocessing.from_tensors(images))

    def score_pil(self, images: Sequence[Image.Image], features: Features) -> Tensor:
        """As the original's script gives for PIL images: [B]."""
        return self._score(self.preprocessing.from_pil(images).to(self.clip.device))

    def _score(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.head(self.clip.images(pixels)).squeeze(-1)
        return scores
