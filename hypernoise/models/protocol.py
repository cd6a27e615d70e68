"""What the method needs of a text-to-image generator, and what the families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from hypernoise.noise import seeded_generator
from hypernoise.transfers import on_device

#: One per image, for samplers that draw noise of their own after the first step. A random generator
#: goes on from where it is.
Seeds: TypeAlias = Sequence[int] | Sequence[torch.Generator] | None
_ENCODE_BATCH = 64


@dataclass(frozen=True)
class Conditioning:
    """Encoded prompts: named tensors whose first dimension is the batch, B prompts."""

    tensors: Mapping[str, Tensor]
    prompts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, index: Sequence[int]) -> Conditioning:
        """The conditioning of some prompts, in the given order; rows may repeat."""
        chosen = torch.as_tensor(list(index), dtype=torch.long)
        tensors = {n: value[on_device(chosen, value.device)] for n, value in self.tensors.items()}
        return Conditioning(tensors, tuple(self.prompts[i] for i in index))

    def to(self, device: torch.device | str) -> Conditioning:
        """The same on another device: encodings of many prompts may rest where memory is cheap."""
        tensors = {name: on_device(value, device) for name, value in self.tensors.items()}
        return Conditioning(tensors, self.prompts)


class Encoded(Protocol):
    """Encoded prompts, wherever they are."""

    def rows(self, index: Sequence[int]) -> Conditioning:
        """The conditioning of some prompts, in the given order; rows may repeat."""
        ...


@torch.no_grad()
def encode_in_chunks(
    encode: Callable[[Sequence[str]], Conditioning],
    texts: Sequence[str],
    chunk: int = _ENCODE_BATCH,
) -> Conditioning:
    """Encode many prompts once, ``chunk`` at a time: one row per prompt, without gradients.

    Raises:
        ValueError: ``encode`` gives something else than encoded prompts, or too few.
    """
    parts = []
    for some in (texts[start : start + chunk] for start in range(0, len(texts), chunk)):
        part: object = encode(some)
        if not isinstance(part, Conditioning) or len(part) != len(some):
            given = (
                f"{len(part)} prompts" if isinstance(part, Conditioning) else type(part).__name__
            )
            name = getattr(encode, "__qualname__", "encode")
            raise ValueError(
                f"{name} gives {given}, must give a Conditioning of {len(some)} prompts"
            )
        parts.append(part)
    names = parts[0].tensors
    tensors = {name: torch.cat([part.tensors[name] for part in parts]) for name in names}
    return Conditioning(tensors, tuple(texts))


class Step(NamedTuple):
    """What a sampler has done in one step; tensors are [B, ...] as the stock pipeline has latents.

    Latents at a noise level are z = a x0 + s e, with x0 the clean latents and e of unit variance.

    Attributes:
        number: which step, from 0.
        n_steps: how many the sampler makes in all.
        latents: what it goes on from, in the networks' dtype.
        clean: the step's prediction of x0.
        noise: float32, the e that belongs to it in the latents that the step was given.
        signal, level: a and s of ``latents``.
    """

    number: int
    n_steps: int
    latents: Tensor
    clean: Tensor
    noise: Tensor
    signal: float
    level: float

    def redrawn(self, fresh: Tensor, eta: float) -> Tensor:
        """Other latents of the same noise level: a x0 + s (sqrt(1 - eta^2) e + eta fresh).

        With any ``eta`` they have the distribution that the sampler's own have as far as x0 and e
        have theirs: DDIM's family of samplers (arXiv 2010.02502, equation 12), for any a and s.

        Args:
            fresh: standard normal, of the latents' shape.
            eta: from 0, the deterministic sampler, to 1, none of the noise that there was.
        """
        old = (1.0 - eta**2) ** 0.5
        mixed = old * self.noise + eta * fresh.to(self.noise)
        drawn: Tensor = self.signal * self.clean.float() + self.level * mixed
        return drawn.to(self.latents.dtype)


class Stop(Enum):
    """What a hook answers to leave the other steps out."""

    STOP = "stop"


STOP: Final = Stop.STOP
#: Called after every step. With None the sampler goes on, with latents [B, ...] it goes on from
#: these, and with STOP the image is that of the step's clean prediction.
OnStep: TypeAlias = Callable[[Step], Tensor | Literal[Stop.STOP] | None]


@dataclass(frozen=True)
class Walk:
    """How a sampler's steps are seen.

    Attributes:
        on_step: the hook.
        start: the step to start with. The noise that a generator is given is then the latents that
            a hook saw after the step before, and random generators are where that step left them.
    """

    on_step: OnStep
    start: int = 0


class Generator(Protocol):
    """A frozen text-to-image generator that starts from unit-variance noise.

    Attributes:
        noise_shape: shape of one image's noise, without the batch dimension.
        size_px: width and height of an image.
        pipeline: the stock diffusers pipeline that samples.
        backbone: the pipeline's UNet or transformer; noise networks are its LoRA.
        last_layer: name of the backbone's output layer.
        packing: how noise is packed; None where it is a latent grid [C, H, W].
    """

    noise_shape: tuple[int, ...]
    size_px: int
    last_layer: str

    @property
    def pipeline(self) -> Any: ...

    @property
    def backbone(self) -> nn.Module: ...

    @property
    def packing(self) -> Packing | None: ...

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts once; the result is used for every pass."""
        ...

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """One backbone pass at the largest timestep: [B, *noise_shape] to the same shape."""
        ...

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Seeds = None,
        walk: Walk | None = None,
    ) -> Tensor:
        """Images from noise, differentiable in the noise.

        Args:
            noise: [B, *noise_shape], unit variance; or latents, as ``walk`` says.
            conditioning: B encoded prompts.
            steps: sampling steps, at least 1.
            seeds: one per image, for samplers that draw noise of their own after the first step.
            walk: a hook that sees every step, and may change what the sampler goes on from.

        Returns:
            [B, 3, size_px, size_px] in [0, 1], float32.

        Raises:
            ValueError: ``steps`` < 1, a stochastic sampler was given no seeds, or as of
                :func:`hypernoise.models.steps.watched_call`.
        """
        ...


class Packing(Protocol):
    """How noise that is packed into tokens (FLUX) becomes a latent grid, and back."""

    def grid(self, tokens: Tensor) -> Tensor:
        """Packed latents [B, tokens, 4C] as a grid [B, C, H, W]."""
        ...

    def pack(self, grid: Tensor) -> Tensor:
        """A latent grid [B, C, H, W] as packed tokens [B, tokens, 4C]."""
        ...


@runtime_checkable
class KeepsEncodings(Protocol):
    """A generator that keeps the encodings of many prompts elsewhere than in memory."""

    def on_disk(self, prompts: Sequence[str]) -> Encoded:
        """The encodings of these prompts, which are made where they are missing."""
        ...


@runtime_checkable
class StartsAtTimestep(Protocol):
    """A generator whose largest timestep, of :meth:`Generator.predict`, its scheduler says.

    Attributes:
        first_timestep: a scalar, as the backbone takes it.
    """

    first_timestep: Tensor


@runtime_checkable
class CutsPrompts(Protocol):
    """A generator whose encodings have the length that their values say."""

    def longest(self, n_prompts: int) -> Conditioning:
        """Encodings of zeros, none of which is cut: what counts memory has shapes, no values."""
        ...


@runtime_checkable
class ChecksSources(Protocol):
    """A family that loads from more places than its weights, and can check them beforehand."""

    @staticmethod
    def check_sources(**arguments: Any) -> None:
        """Check what the declared arguments name, before anything is loaded.

        Raises:
            ValueError, FileNotFoundError: a place does not have what is wanted.
        """
        ...


def encode_all(generator: Generator, prompts: Sequence[str]) -> Encoded:
    """Encode many prompts once: one row per prompt, in memory or where the generator keeps them."""
    if isinstance(generator, KeepsEncodings):
        return generator.on_disk(prompts)
    return encode_in_chunks(generator.encode, prompts)


def stock_call(pipeline: Any, walk: Walk | None, **arguments: Any) -> Tensor:
    """Images [B, 3, H, W] in [0, 1], float32, of a stock pipeline's own call, with gradients.

    diffusers decorates ``__call__`` with ``torch.no_grad``; the function below the decorator is
    the same code, so nothing of the pipeline is copied. Its last act, the clamp to [0, 1], stays:
    it is part of the image that rewards see, and pixels beyond it get no gradient. Noise that a
    scheduler draws between steps is fixed by seeds (:func:`image_generators`), so that an image is
    a function of its starting noise. What ``walk`` does, :class:`Walk` says.
    """
    undecorated: Any = type(pipeline).__call__
    call = undecorated.__wrapped__
    arguments |= {"output_type": "pt", "return_dict": False}
    if walk is None:
        images = call(pipeline, **arguments)[0]
    else:
        # Imported here because it brings diffusers, which whoever reads this protocol does without.
        from hypernoise.models.steps import watched_call

        images = watched_call(pipeline, walk, call, arguments)[0]
    if not isinstance(images, Tensor):
        images = torch.stack(list(images))
    return images.float()


def check_steps(steps: int) -> None:
    """Raise ValueError unless ``steps`` is at least 1."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")


def image_generators(
    seeds: Seeds, device: torch.device, stochastic: bool, n_images: int
) -> list[torch.Generator] | None:
    """One random generator per image for a sampler's own noise, or None where it draws none.

    Raises:
        ValueError: seeds are needed and missing, or their number is not the batch's.
    """
    if not stochastic:
        return None
    if seeds is None or len(seeds) != n_images:
        given = "none" if seeds is None else str(len(seeds))
        raise ValueError(f"this sampler needs one seed per image: {n_images} images, {given} seeds")
    return [s if isinstance(s, torch.Generator) else seeded_generator(s) for s in seeds]


def latent_side(size_px: int, pixels_per_latent: int) -> int:
    """Width and height of the latents of an image.

    Raises:
        ValueError: the image is no whole number of latents wide.
    """
    if size_px < 1 or size_px % pixels_per_latent:
        raise ValueError(f"size_px is {size_px}, must be a multiple of {pixels_per_latent}")
    return size_px // pixels_per_latent
