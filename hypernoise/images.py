"""Images as they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8 of the same shape, rounded; what is outside is clipped."""
    return (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)


def to_uint8(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images [B, 3, H, W] in [0, 1] as the bytes of a PNG: [B, H, W, 3].

    Raises:
        ValueError: a pixel is not finite.
    """
    if not torch.isfinite(images).all():
        raise ValueError("an image has pixels that are not finite")
    return np.asarray(to_bytes(images).permute(0, 2, 3, 1).cpu().numpy())
