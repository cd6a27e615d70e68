"""Which family a stock pipeline is of, for scripts that have a pipeline and no declaration."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from types import MappingProxyType
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
        call: options of a stock call that draws as the family does, beside size and steps.
        passed: its arguments that are such options -> the option's name.
    """

    target: str
    arguments: tuple[str, ...] = ()
    draws_in_float32: bool = False
    call: Mapping[str, Any] = MappingProxyType({"guidance_scale": 0.0})
    passed: Mapping[str, str] = MappingProxyType({"max_tokens": "max_sequence_length"})

    @property
    def made_by(self) -> Any:
        """The class itself."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)


#: Stock pipeline -> its family.
FAMILIES: Mapping[str, Family] = {
    "StableDiffusionPipeline": Family("hypernoise.models.unet:SdTurbo", passed={}),
    "StableDiffusionXLPipeline": Family(
        "hypernoise.models.sdxl:SdxlTurbo", passed={"timesteps": "timesteps", "eta": "eta"}
    ),
    "StableDiffusion3Pipeline": Family("hypernoise.models.sd3:Sd3Turbo", ("max_tokens",)),
    "SanaSprintPipeline": Family(
        "hypernoise.models.sana:SanaSprint",
        ("guidance", "max_tokens", "human_instruction"),
        draws_in_float32=True,
        call={"use_resolution_binning": False},
        passed={
            "guidance": "guidance_scale",
            "max_tokens": "max_sequence_length",
            "intermediate_timestep": "intermediate_timesteps",
        },
    ),
    "PixArtAlphaPipeline": Family(
        "hypernoise.models.pixart:PixartDmd",
        ("max_tokens", "timestep"),
        call={"guidance_scale": 1.0, "use_resolution_binning": False, "clean_caption": False},
        passed={"timestep": "timesteps", "max_tokens": "max_sequence_length"},
    ),
    "FluxPipeline": Family("hypernoise.models.flux:FluxSchnell", ("max_tokens",)),
    "Flux2KleinPipeline": Family(
        "hypernoise.models.flux2:Flux2Klein", ("max_tokens",), call={"guidance_scale": 1.0}
    ),
    "ZImagePipeline": Family("hypernoise.models.z_image:ZImageTurbo", ("max_tokens",), True),
    "QwenImagePipeline": Family(
        "hypernoise.models.qwen_image:QwenImage", ("max_tokens",), call={"true_cfg_scale": 1.0}
    ),
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
    known = {key: arguments[key] for key in family.arguments if key in arguments}
    generator: Generator = family.made_by(pipeline=pipeline, size_px=size_px, **known)
    return generator


def call_options(
    pipeline: str, size_px: int, steps: int, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """What a stock pipeline's call is given to draw as a declared model does.

    Args:
        pipeline: name of a class of :data:`FAMILIES`.
        size_px: width and height of images.
        steps: sampling steps.
        arguments: of the declared model.

    Returns:
        options by name; those that are the pipeline's own defaults are left out.
    """
    family = FAMILIES[pipeline]
    own = inspect.signature(family.made_by).parameters
    stock = inspect.signature(family.made_by.pipeline_class.__call__).parameters
    given = {
        option: arguments.get(name, own[name].default) for name, option in family.passed.items()
    }
    if steps != 2 and "intermediate_timesteps" in given:
        # SANA's pipeline refuses one for any other number of steps.
        given["intermediate_timesteps"] = None
    if "timesteps" in given:
        moments = given["timesteps"]
        few = [moments] if isinstance(moments, int) else list(moments[:steps])
        given["timesteps"] = few or None
    if not arguments.get("human_instruction", True):
        given["complex_human_instruction"] = None
    changed = {key: value for key, value in given.items() if value != stock[key].default}
    size = {"height": size_px, "width": size_px}
    return {"num_inference_steps": steps, **size, **family.call, **changed}


def noise_dtype(pipeline: Any) -> torch.dtype:
    """The dtype that a stock pipeline draws its noise in, and takes it in."""
    if family_of(pipeline).draws_in_float32:
        return torch.float32
    backbone = next(b for name in COMPONENTS if (b := getattr(pipeline, name, None)) is not None)
    dtype: torch.dtype = backbone.dtype
    return dtype
