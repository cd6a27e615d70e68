"""The nearest white noise of a field (Hwang and Sung, arXiv 2602.08646)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: A squared sum of n magnitudes of complex Gaussian numbers, over n times the sum of their squares.
_FLATNESS = math.pi / 4
_TINY = 1e-12


def nearest_white_noise(field: Tensor, block_size: int = 16) -> Tensor:
    """Project each image's field onto the set of fields with the spectrum of white noise.

    A real field of d values has d / 2 independent complex Fourier coefficients; those of unit
    white noise are standard complex Gaussian. The set asks of every block of B neighbouring
    coefficients the expected sum of magnitudes, B times the root of pi / 4, and the expected sum
    of their squares, B. Phases stay; magnitudes are thresholded and scaled, in closed form.

    Args:
        field: [B, ...] with d values per image, a multiple of ``2 * block_size``.
        block_size: coefficients per block (published: 16).

    Returns:
        As ``field``, with squared norm d; an image whose field is zero stays zero.

    Raises:
        ValueError: d is no multiple of ``2 * block_size``.
    """
    d = field[0].numel()
    if block_size < 1 or d % (2 * block_size):
        raise ValueError(
            f"white noise is matched in blocks of {block_size} Fourier coefficients: the noise of "
            f"an image needs a multiple of {2 * block_size} values, it has {d}"
        )
    # The first and the last coefficient of a real field are real: together they are one.
    full = torch.fft.rfft(field.flatten(1).double(), norm="ortho")
    ends = torch.complex(full[:, :1].real, full[:, -1:].real) / math.sqrt(2)
    spectrum = torch.cat([ends, full[:, 1:-1]], dim=1).view(len(field), -1, block_size)
    magnitudes = spectrum.abs()
    wanted = _nearest_magnitudes(magnitudes)
    projected = (spectrum * (wanted / magnitudes.clamp_min(_TINY))).flatten(1)
    ends = projected[:, :1] * math.sqrt(2)
    zero = torch.zeros_like(ends.real)
    first, last = torch.complex(ends.real, zero), torch.complex(ends.imag, zero)
    whole = torch.cat([first, projected[:, 1:], last], dim=1)
    white: Tensor = torch.fft.irfft(whole, n=d, norm="ortho")
    return white.to(field.dtype).view_as(field)


def _nearest_magnitudes(magnitudes: Tensor) -> Tensor:
    """[..., B] nonnegative numbers to the nearest ones that have both sums."""
    size = magnitudes.shape[-1]
    gamma = _FLATNESS * size
    ordered = magnitudes.sort(dim=-1, descending=True).values
    n = torch.arange(1, size + 1, device=magnitudes.device, dtype=magnitudes.dtype)
    total, squares = ordered.cumsum(-1), ordered.square().cumsum(-1)
    # With the n largest above it, the threshold that leaves the right ratio of the two sums.
    spread = (n * squares - total.square()).clamp_min(0)
    threshold = (total - (gamma * spread / (n - gamma)).clamp_min(0).sqrt()) / n
    following = torch.cat([ordered[..., 1:], torch.full_like(ordered[..., :1], -math.inf)], -1)
    fits = (n > gamma) & (following <= threshold) & (threshold < ordered)
    chosen = threshold.masked_fill(~fits, -math.inf).amax(-1, keepdim=True)
    # Equal magnitudes have no nearest point: they are scaled alone.
    above = torch.where(chosen.isfinite(), (magnitudes - chosen).clamp_min(0), magnitudes)
    length = torch.linalg.vector_norm(above, dim=-1, keepdim=True)
    nearest: Tensor = above * (math.sqrt(size) / length.clamp_min(_TINY))
    return nearest
