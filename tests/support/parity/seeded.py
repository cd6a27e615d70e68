"""Random weights that are the same everywhere: each follows from its original name and shape.

NumPy's legacy generator is used because its stream is frozen for good.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor, nn

LOGIT_SCALE = math.log(100)


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """The weight of that name: float32, of a size that keeps activations around 1."""
    if name.endswith("position_ids"):
        return torch.arange(shape[-1]).expand(shape).clone()
    if name.endswith("logit_scale"):
        return torch.full(shape, LOGIT_SCALE)
    source = np.random.RandomState(zlib.crc32(name.encode()))
    values = source.standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        return torch.from_numpy(values / np.float32(math.sqrt(math.prod(shape[1:]))))
    # Scales of normalisations lie around 1, biases around 0.
    is_scale = name.endswith("weight")
    return torch.from_numpy(np.float32(is_scale) + np.float32(0.1) * values)


def fill(network: nn.Module) -> dict[str, list[int]]:
    """Give a network its seeded weights in place; returns the shape of each by its name."""
    found = network.state_dict()
    with torch.no_grad():
        for name, value in found.items():
            value.copy_(weight(name, tuple(value.shape)))
    return {name: list(value.shape) for name, value in found.items()}
