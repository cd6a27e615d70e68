"""Images as they are stored."""

from __future__ import annotations

import torch
from torch import Tensor


def to_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8 of the same shape, rounded; what is outside is clipped."""
    return (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
