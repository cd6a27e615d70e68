"""Copies to a GPU that the CPU does not wait for."""

from __future__ import annotations

import torch
from torch import Tensor


def on_device(values: Tensor, device: torch.device | str) -> Tensor:
    """Values on a device; where they go from the CPU to a GPU, through pinned memory.

    A copy from pageable memory would let the CPU wait until the GPU has done everything that it was
    given before. This one is queued behind that, and whatever uses the values behind the copy.
    """
    target = torch.device(device)
    if target.type != "cuda" or values.device.type != "cpu":
        return values.to(target)
    return values.pin_memory().to(target, non_blocking=True)
