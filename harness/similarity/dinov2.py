"""Cosine of DINOv2's image vectors: how alike two images are in what they show.

Source: Oquab et al. 2023, arXiv 2304.07193; transformers' model of facebook/dinov2-base.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.transforms import functional as vision  # type: ignore[import-untyped]
from transformers import Dinov2Config, Dinov2Model

from harness.similarity.protocol import cosines
from hypernoise.weights.pinned_files import PinnedFile, fill, init_empty_weights, read
from hypernoise.weights.stand_ins import Shelf

WEIGHTS = (
    "hf://facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415/model.safetensors"
    "#sha256=d73036b56966966d07975d696bde331762f37297e2f095de8cea0040c3aa0841"
)
#: ``config.json`` of facebook/dinov2-base, where it departs from transformers' defaults.
BASE: Mapping[str, Any] = {"image_size": 518, "patch_size": 14}
_SMALL: Mapping[str, Any] = {
    **BASE,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
#: ``preprocessor_config.json``: the short side after resizing, and the crop, in pixels.
RESIZED_PX, CROPPED_PX = 256, 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DinoV2:
    """DINOv2's class token as an image's vector.

    Args:
        weights: checkpoint with the names of transformers' Dinov2Model.
        architecture: fields of transformers' Dinov2Config.
        device: torch device.

    Raises:
        ValueError: the weights are those of another network.
        FileNotFoundError: the checkpoint is missing.
    """

    def __init__(
        self, weights: str = WEIGHTS, architecture: Mapping[str, Any] = BASE, device: str = "cpu"
    ) -> None:
        tensors = read(PinnedFile.parse(weights).fetch())
        with init_empty_weights(include_buffers=False):
            network: Any = Dinov2Model(Dinov2Config(**architecture))
        fill(network, tensors, weights)
        self._network = network.to(device)

    @classmethod
    def stand_in(cls, shelf: Shelf, *, weights: str, **_: Any) -> dict[str, Any]:
        """As :class:`hypernoise.weights.stand_ins.HasStandIn` says."""
        network: Any = Dinov2Model(Dinov2Config(**_SMALL))
        return {"weights": shelf.file(weights, network.state_dict()), "architecture": _SMALL}

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D] of images [B, 3, H, W] in [0, 1]."""
        vectors = self._network(pixel_values=prepare(images)).pooler_output
        return normalize(vectors.float(), dim=-1)

    def compare(self, vector: Tensor, others: Tensor) -> Tensor:
        """Cosines [N] of one image and N others; higher is more alike."""
        return cosines(vector, others)


def prepare(images: Tensor) -> Tensor:
    """As transformers' processor: bicubic to 256 px, the middle 224 px, ImageNet's mean and std."""
    mode = vision.InterpolationMode.BICUBIC
    resized = vision.resize(images, [RESIZED_PX], mode, antialias=True).clamp(0, 1)
    # The processor rounds half a pixel of the margin down, torchvision's own crop to even.
    top, left = ((side - CROPPED_PX) // 2 for side in resized.shape[-2:])
    cropped = vision.crop(resized, top, left, CROPPED_PX, CROPPED_PX)
    prepared: Tensor = vision.normalize(cropped, _MEAN, _STD)
    return prepared
