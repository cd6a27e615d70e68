"""Which family a stock pipeline is of, for scripts that have a pipeline and no declaration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from hypernoise.models.protocol import Generator
from hypernoise.weights.pipelines import COMPONENTS


class Family(NamedTuple):
    """A family of :mod:`hypernoise.models`.

    Attributes:
        target: its class, ``"module:Class"``.
        arguments: those of its arguments that its encodings and its noise pass depend on.
        draws_in_float32: whether its pipeline draws noise in float32, whatever its networks have.
    """

    target: str
    arguments: tuple[str, ...] = ()
    draws_in_float32: bool = False


#: Stock pipeline -> its family.
FAMILIES: Mapping[str, Family] = {
    "StableDiffusionPipeline": Family("hypernoise.models.unet:SdTurbo"),
    "StableDiffusionXLPipeline": Family("hypernoise.models.sdxl:SdxlTurbo"),
    "StableDiffusion3Pipeline": Family("hypernoise.models.sd3:Sd3Turbo", ("max_tokens",)),
    "SanaSprintPipeline": Family(
        "hypernoise.models.sana:SanaSprint", ("guidance", "max_tokens", "human_instruction"), True
    ),
    "PixArtAlphaPipeline": Family("hypernoise.models.pixart:PixartDmd", ("max_tokens", "timestep")),
    "FluxPipeline": Family("hypernoise.models.flux:FluxSchnell", ("max_tokens",)),
    "Flux2KleinPipeline": Family("hypernoise.models.flux2:Flux2Klein", ("max_tokens",)),
    "ZImagePipeline": Family("hypernoise.models.z_image:ZImageTurbo", ("max_tokens",), True),
}


def family_of(pipeline: Any) -> Family:
    """The family of a stock pipeline, or of one that is derived from it.

    Raises:
        ValueError: there is none.
    """
    for ancestor in type(pipeline).__mro__:
        if ancestor.__name__ in FAMILIES:
            return FAMILIES[ancestor.__name__]
    raise ValueError(
        f"noise networks have no family of {type(pipeline).__name__}; there are those of "
        f"{', '.join(FAMILIES)}"
    )


def generator_of(pipeline: Any, size_px: int, arguments: Mapping[str, Any]) -> Generator:
    """A stock pipeline as a generator; its weights and its scheduler's settings are left alone.

    Args:
        pipeline: of any class of :data:`FAMILIES`.
        size_px: width and height of images.
        arguments: of a declared model; those that only sampling depends on are left out.

    Raises:
        ValueError: the family is unknown, or an image of that size is none of its.
    """
    family = family_of(pipeline)
    module, _, name = family.target.partition(":")
    known = {key: arguments[key] for key in family.arguments if key in arguments}
    made: Any = getattr(importlib.import_module(module), name)
    generator: Generator = made(pipeline=pipeline, size_px=size_px, **known)
    return generator


def noise_dtype(pipeline: Any) -> torch.dtype:
    """The dtype that a stock pipeline draws its noise in, and takes it in."""
    if family_of(pipeline).draws_in_float32:
        return torch.float32
    backbone = next(b for name in COMPONENTS if (b := getattr(pipeline, name, None)) is not None)
    dtype: torch.dtype = backbone.dtype
    return dtype
