"""The noise pass: one pass of a generator's backbone at its largest timestep."""

from __future__ import annotations

import torch
from torch import Tensor

from hypernoise.models.protocol import Conditioning, Generator


def displacement(generator: Generator, noise: Tensor, conditioning: Conditioning) -> Tensor:
    """One pass of a generator's backbone, whatever is switched on in it: [B, *noise_shape].

    float32; a backbone that has been made float64 gives float64.
    """
    values = generator.predict(noise, conditioning)
    return values if values.dtype == torch.float64 else values.float()
