"""Seeded noise of an image, and what it costs to move it (arXiv 2508.09968, section 3)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.random import Philox
from scipy.special import ndtri  # type: ignore[import-untyped]
from torch import Tensor

from hypernoise.transfers import on_device

Reduction = Literal["sum", "mean"]
_SEPARATOR = "\x1f"
_TINY = 1e-6
#: Random bits of a number in (0, 1) that becomes a normal one.
_UNIFORM_BITS = 53
#: Where torch's CPU generator keeps the words of its Mersenne Twister, in bytes of its state.
_STATE_BYTES, _WORDS = 5056, slice(24, 24 + 8 * 624)


def image_seed(
    experiment_seed: int, prompt_id: str, image_index: int, stream: str = "noise"
) -> int:
    """The seed of one image: the same in every process, batch and order of prompts.

    Args:
        experiment_seed: seed of the whole experiment.
        prompt_id: identity of the prompt.
        image_index: which of the prompt's images.
        stream: what the random numbers are for; streams are independent of each other.

    Returns:
        an integer in [0, 2**128): so many that no two of an experiment's are ever alike.
    """
    parts = (str(experiment_seed), stream, prompt_id, str(image_index))
    digest = hashlib.sha256(_SEPARATOR.join(parts).encode()).digest()
    return int.from_bytes(digest[:16], "big")


def seeded_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise of the given shape: float32, on the CPU whatever the model runs on.

    All 128 bits of the seed count: they are the key of a counter-based generator (Philox, Salmon et
    al. 2011), whose numbers become normal ones by the inverse of the normal distribution function.
    Neither depends on torch or on a device.
    """
    n = math.prod(shape)
    words = Philox(key=seed).random_raw(n) >> np.uint64(64 - _UNIFORM_BITS)
    uniform = (words + 0.5) * 2.0**-_UNIFORM_BITS
    normal = torch.from_numpy(ndtri(uniform).astype(np.float32))
    return normal.reshape(tuple(shape))


def seeded_generator(seed: int) -> torch.Generator:
    """A generator on the CPU for what draws its own numbers; all 128 bits of the seed count.

    ``manual_seed`` reads the lowest 32 only, so the generator's state is filled with words of the
    seed's own.

    Raises:
        RuntimeError: this version of torch keeps the state of its generator in another form.
    """
    source = torch.Generator().manual_seed(seed % 2**32)
    state = source.get_state().numpy()
    words = state[_WORDS].view(np.uint64)
    if len(state) != _STATE_BYTES or words[0] != seed % 2**32:
        raise RuntimeError(f"torch {torch.__version__} keeps {len(state)} bytes of random state")
    words[:] = Philox(key=seed).random_raw(len(words)) >> np.uint64(32)
    return source.set_state(torch.from_numpy(state))


def image_noise(
    experiment_seed: int,
    prompt_id: str,
    image_index: int,
    shape: Sequence[int],
    stream: str = "noise",
) -> Tensor:
    """One image's starting noise x0: ``shape``, float32, CPU, unit variance."""
    return seeded_noise(image_seed(experiment_seed, prompt_id, image_index, stream), shape)


def batch_noise(
    experiment_seed: int,
    images: Sequence[tuple[str, int]],
    shape: Sequence[int],
    stream: str = "noise",
) -> Tensor:
    """Starting noise of several images, given as (prompt_id, image_index): [B, *shape]."""
    noise = [image_noise(experiment_seed, *image, shape, stream) for image in images]
    return torch.stack(noise) if noise else torch.empty(0, *shape)


class Draws(NamedTuple):
    """What some images are made from.

    Attributes:
        noise: [B, *noise_shape] starting noise on the device, unit variance.
        seeds: one per image, for whatever else the method or sampler draws.
    """

    noise: Tensor
    seeds: list[int]


def draws(
    experiment_seed: int,
    images: Sequence[tuple[str, int]],
    shape: Sequence[int],
    device: torch.device | str,
) -> Draws:
    """Noise and seeds of several images, given as (prompt_id, image_index)."""
    noise = on_device(batch_noise(experiment_seed, images, shape), device)
    return Draws(noise, [image_seed(experiment_seed, *image, stream="search") for image in images])


def half_squared_norm(delta: Tensor) -> Tensor:
    """Half the squared norm per image, in nats: the KL surrogate that training uses.

    KL(law of x0 + f(x0) || N(0, I)) = E[half the squared norm of f + Tr J - log|det(I + J)|]; the
    last two terms are small where f is a contraction, and are dropped (paper, equation 10).

    Args:
        delta: [B, ...] displacement of the noise.

    Returns:
        [B], float32.
    """
    return 0.5 * delta.float().flatten(1).square().sum(dim=1)


def clip_each(gradient: Tensor, largest: float) -> Tensor:
    """A gradient [B, ...] in which no image's own norm exceeds ``largest``; NaN stays NaN."""
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    factors = (largest / (norms + _TINY)).clamp(max=1.0)
    clipped: Tensor = gradient * factors.view(-1, *[1] * (gradient.ndim - 1))
    return clipped


def reduced(nats: Tensor, n_dimensions: int, reduction: Reduction) -> Tensor:
    """A KL per image as the training loss counts it.

    Args:
        nats: [B], the KL in nats.
        n_dimensions: d, of the noise.
        reduction: ``"sum"`` over the d noise dimensions is the paper's objective; ``"mean"`` is
            the authors' code, and equals the paper's at a temperature d times smaller.
    """
    return nats if reduction == "sum" else nats / n_dimensions
