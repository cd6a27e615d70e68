"""A part of a generator's noise that a basis of its latent grid spans."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hypernoise.models.protocol import Generator

#: From the length n of an axis to [k, n] float32 with orthonormal rows.
Basis = Callable[[int], Tensor]


class Band:
    """What separable fields span in each channel of a generator's noise.

    Noise that is packed into tokens (FLUX) is transformed on its latent grid.

    Args:
        generator: the generator.
        basis: of an axis; heights and widths may differ.

    Raises:
        ValueError: an axis has no such basis.
    """

    def __init__(self, generator: Generator, basis: Basis) -> None:
        self._packing = generator.packing
        blank = torch.zeros(1, *generator.noise_shape)
        n_channels, height, width = self._grid(blank).shape[1:]
        self._vertical, self._horizontal = basis(height), basis(width)
        self.shape = (n_channels, len(self._vertical), len(self._horizontal))

    @property
    def n_coefficients(self) -> int:
        return math.prod(self.shape)

    def coefficients(self, noise: Tensor) -> Tensor:
        """The coefficients [B, k] of noise [B, *noise_shape]: standard normal where it is."""
        vertical, horizontal = self._axes(noise)
        found: Tensor = vertical @ self._grid(noise) @ horizontal.T
        return found.flatten(1)

    def field(self, coefficients: Tensor) -> Tensor:
        """The noise [B, *noise_shape] that has these coefficients [B, k] and no others."""
        vertical, horizontal = self._axes(coefficients)
        grid = vertical.T @ coefficients.view(-1, *self.shape) @ horizontal
        return self._packing.pack(grid) if self._packing else grid

    def _axes(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Both bases, in the dtype and on the device of what they meet, where they stay."""
        self._vertical = self._vertical.to(like.device)
        self._horizontal = self._horizontal.to(like.device)
        return self._vertical.to(like), self._horizontal.to(like)

    def _grid(self, noise: Tensor) -> Tensor:
        return self._packing.grid(noise) if self._packing else noise
