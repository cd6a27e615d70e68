"""The projection to white noise: what it keeps, what it makes, and that nothing is nearer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hypernoise.methods.whitening import nearest_white_noise

SHAPE = (5, 4, 8, 8)
BLOCK = 16


def noise(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def smooth() -> Tensor:
    """A field without high frequencies and with a huge mean: nothing like noise."""
    return noise(0).cumsum(-1).cumsum(-2) + 100.0


def magnitudes(field: Tensor) -> Tensor:
    """[B, blocks, 16] of the independent Fourier coefficients, worked out by a plain sum."""
    flat = field.flatten(1).double()
    d = flat.shape[1]
    n = torch.arange(d, dtype=torch.float64)
    angles = -2 * math.pi * torch.outer(n[: d // 2 + 1], n) / d
    full = flat.to(torch.complex128) @ torch.exp(1j * angles).T / d**0.5
    ends = torch.complex(full[:, :1].real, full[:, -1:].real) / 2**0.5
    return torch.cat([ends, full[:, 1:-1]], dim=1).abs().unflatten(1, (-1, BLOCK))


@pytest.mark.parametrize("field", [noise(1), smooth()], ids=["noise", "smooth"])
def test_every_block_gets_both_sums_of_white_noise(field: Tensor) -> None:
    found = magnitudes(nearest_white_noise(field))
    expected = torch.full_like(found[..., 0], BLOCK)
    torch.testing.assert_close(found.square().sum(-1), expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.sum(-1), expected * math.pi**0.5 / 2, rtol=1e-4, atol=0)


def test_a_projected_field_stays_and_length_does_not_matter() -> None:
    once = nearest_white_noise(smooth())
    torch.testing.assert_close(nearest_white_noise(once), once, rtol=0, atol=1e-4)
    torch.testing.assert_close(nearest_white_noise(1e-4 * smooth()), once, rtol=0, atol=1e-4)
    torch.testing.assert_close(nearest_white_noise(-smooth()), -once, rtol=0, atol=1e-4)


@pytest.mark.parametrize("field", [noise(1), smooth()], ids=["noise", "smooth"])
def test_no_other_white_field_is_nearer(field: Tensor) -> None:
    nearest = nearest_white_noise(field)
    distance = (nearest - field).flatten(1).norm(dim=1)
    for seed in range(20):
        for step in (0.02, 0.3, 3.0):
            other = nearest_white_noise(nearest + step * noise(100 + seed))
            assert ((other - field).flatten(1).norm(dim=1) >= distance - 1e-3).all()


def test_white_noise_is_hardly_moved() -> None:
    given = noise(2)
    cosine = torch.cosine_similarity(given.flatten(1), nearest_white_noise(given).flatten(1))
    # The publication found at least .988 among a million fields of another size.
    assert (cosine > 0.97).all()


def test_images_do_not_see_one_another_and_nothing_stays_nothing() -> None:
    field = smooth()
    field[2] = 0
    together = nearest_white_noise(field)
    alone = torch.cat([nearest_white_noise(row[None]) for row in field])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert not together[2].any()
    assert torch.isfinite(together).all()


def test_a_noise_that_blocks_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32 values, it has 48"):
        nearest_white_noise(torch.ones(1, 3, 4, 4))
