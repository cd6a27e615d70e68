"""From images to the pixels that CLIP-like scorers see, by two paths with one result.

``from_pil`` does what the originals' scoring functions do with a PIL image. ``from_tensors`` takes
the images that training and search have, and is differentiable. They share every size and offset.
Where the original resizes PIL images, the two differ in three things:

- **Rounding.** PIL resizes 8-bit values and rounds them after each of its two passes; tensors are
  resized in float32, with the same antialiased bicubic kernel.
- **Alpha.** A tensor has none. PIL resizes colours weighted by alpha and drops alpha afterwards.
- **Palettes.** PIL resizes them by the nearest neighbour.

``docs/scorers.md`` says by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms import functional as transforms

#: Of OpenAI's CLIP; every scorer here took them over.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """How a scorer frames and resizes an image.

    Attributes:
        size_px: width and height of what the network sees.
        framing: ``crop`` brings the short side to ``size_px`` and keeps the centre; ``pad``
            brings the long side there and fills up with black.
        resizes: what is resized: the PIL image as it is, the PIL image once it is ``rgb``, or the
            float ``tensor`` made of it.
        offset: an odd margin's half is rounded ``even`` (torchvision) or ``down`` (transformers).
        antialias: whether tensors are filtered before they get smaller; PIL images always are.
    """

    size_px: int = 224
    framing: Literal["crop", "pad"] = "crop"
    resizes: Literal["image", "rgb", "tensor"] = "image"
    offset: Literal["even", "down"] = "even"
    antialias: bool = True

    def from_pil(self, images: Sequence[Image.Image]) -> Tensor:
        """Normalised pixels [B, 3, size_px, size_px] of PIL images of any mode and size."""
        return normalized(torch.stack([self._pil(image) for image in images]))

    def from_tensors(self, images: Tensor) -> Tensor:
        """Normalised pixels [B, 3, size_px, size_px] of images [B, 3, H, W] in [0, 1].

        Raises:
            ValueError: another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be [B, 3, H, W], got {tuple(images.shape)}")
        return normalized(self._tensors(images.float()))

    def _pil(self, image: Image.Image) -> Tensor:
        if self.resizes != "image":
            image = image.convert("RGB")
        if self.resizes == "tensor":
            return self._tensors(transforms.to_tensor(image).unsqueeze(0))[0]
        image = self._resized(image, image.height, image.width)
        image = self._framed(image, image.height, image.width)
        pixels: Tensor = transforms.to_tensor(image.convert("RGB"))
        return pixels

    def _tensors(self, images: Tensor) -> Tensor:
        resized: Tensor = self._resized(images, *images.shape[-2:])
        if self.resizes != "tensor":
            # Bicubic overshoots at edges, and PIL clips what does.
            resized = resized.clamp(0, 1)
        framed: Tensor = self._framed(resized, *resized.shape[-2:])
        return framed

    def _resized(self, image: Any, height: int, width: int) -> Any:
        size, bicubic = self.resized_px(height, width), InterpolationMode.BICUBIC
        return transforms.resize(image, size, bicubic, antialias=self.antialias)

    def resized_px(self, height: int, width: int) -> list[int]:
        """Height and width after resizing."""
        if self.framing == "pad":
            scale = self.size_px / max(height, width)
            return [max(1, round(side * scale)) for side in (height, width)]
        short = min(height, width)
        return [int(self.size_px * side / short) for side in (height, width)]

    def _framed(self, image: Any, height: int, width: int) -> Any:
        if self.framing == "crop":
            top, left = self._half(height - self.size_px), self._half(width - self.size_px)
            return transforms.crop(image, top, left, self.size_px, self.size_px)
        top, left = (self.size_px - height) // 2, (self.size_px - width) // 2
        bottom, right = self.size_px - height - top, self.size_px - width - left
        return transforms.pad(image, [left, top, right, bottom], fill=0)

    def _half(self, margin: int) -> int:
        return margin // 2 if self.offset == "down" else round(margin / 2)


def normalized(pixels: Tensor) -> Tensor:
    """Pixels [B, 3, H, W] in [0, 1], less CLIP's mean and divided by its deviation."""
    return (pixels - _per_channel(pixels, MEAN)) / _per_channel(pixels, STD)


def _per_channel(pixels: Tensor, values: Sequence[float]) -> Tensor:
    # Filled in on the device: copied there, three numbers would wait for all of its work.
    return torch.cat([pixels.new_full((1, 1, 1, 1), value) for value in values], dim=1)
