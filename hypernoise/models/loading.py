"""From a folder, a pinned hub repository or an architecture's name to a frozen stock pipeline."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, TypedDict

import torch
from torch import nn

from hypernoise.compilation import MODES, Compiled
from hypernoise.errors import check_choice
from hypernoise.identity import SPEED_ONLY
from hypernoise.models.random_weights import random_pipeline
from hypernoise.weights.pins import located
from hypernoise.weights.pipelines import check_pipeline

#: In place of a folder or repository: the published architecture with random weights.
RANDOM = "random"
#: Ways of decoding in less memory: one image, or one tile of an image, at a time. Tiles are decoded
#: with less context, so their images differ a little.
VAE_SAVINGS = ("slicing", "tiling")
DTYPE = torch.float32


class Loading(TypedDict, total=False):
    """What every family can be told about its networks, next to its own arguments.

    Attributes:
        revision: commit of the hub repository, 40 hexadecimal digits.
        variant: e.g. ``"fp16"`` for weight files that are named so.
        architecture: with weights ``"random"``, the published architecture to build
            (:mod:`hypernoise.models.random_weights`).
        lora: pinned .safetensors file of a LoRA that is added to the weights, for good; random
            weights go without.
        vae_savings: any of :data:`VAE_SAVINGS`.
        mode: how the backbone and the VAE's decoder run: ``"eager"``, ``"compiled"`` or
            ``"cuda_graphs"`` (:data:`hypernoise.compilation.MODES`).
        dtype: dtype of all networks.
        device: torch device.
    """

    revision: str
    variant: str
    architecture: str
    lora: str
    vae_savings: Sequence[str]
    mode: Annotated[str, SPEED_ONLY]
    dtype: torch.dtype
    device: Annotated[str, SPEED_ONLY]


def load_pipeline(
    pipeline_class: Any,
    weights: str,
    pipeline: Any = None,
    components: Mapping[str, Any] = MappingProxyType({}),
    *,
    revision: str = "",
    variant: str = "",
    architecture: str = "",
    lora: str = "",
    vae_savings: Sequence[str] = (),
    mode: str = "eager",
    dtype: torch.dtype = DTYPE,
    device: str = "cpu",
) -> Any:
    """Load a frozen pipeline; weights are safetensors, and code of a repository is never run.

    Args:
        pipeline_class: the stock pipeline.
        weights: diffusers folder, hub repository (with ``revision``), or ``"random"`` (with
            ``architecture``).
        pipeline: one that is built already, and returned as it is.
        components: components that replace the pipeline's own; None leaves one out.
        revision, variant, architecture, lora, vae_savings, mode, dtype, device: :class:`Loading`.

    Raises:
        FileNotFoundError: there is no such folder, or a file in it is missing.
        ValueError: a weight file cannot be read, the hub does not give the revision, or an option
            is unknown.
    """
    if pipeline is not None:
        return pipeline
    for saving in vae_savings:
        check_choice("saving of VAE memory", saving, VAE_SAVINGS)
    check_choice("mode", mode, MODES)
    if weights == RANDOM:
        pipeline = random_pipeline(pipeline_class, architecture, dtype, device)
    else:
        check_pipeline(weights, revision, variant)
        pipeline = pipeline_class.from_pretrained(
            weights if revision else str(located(weights)),
            revision=revision or None,
            variant=variant or None,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            **components,
        )
        check_filled(pipeline, weights)
        if lora:
            # Lazy import: it brings peft, which other pipelines do not need.
            from hypernoise.models.distilled import fuse_lora

            fuse_lora(pipeline, lora)
    freeze(pipeline)
    pipeline.to(device)
    for saving in vae_savings:
        getattr(pipeline.vae, f"enable_{saving}")()
    Compiled(pipeline, mode).install()
    return pipeline


def check_filled(pipeline: Any, weights: str) -> None:
    """Check that every weight was in a file: diffusers leaves the others without numbers.

    Raises:
        ValueError: one was not; names it.
    """
    for name, component in pipeline.components.items():
        if isinstance(component, nn.Module):
            empty = [f"{name}.{key}" for key, p in component.named_parameters() if p.is_meta]
            if empty:
                raise ValueError(f"{weights} lacks {len(empty)} weights, the first is {empty[0]}")


def freeze(pipeline: Any) -> Any:
    """The pipeline, silent, in evaluation mode and without parameters that ask for gradients."""
    pipeline.set_progress_bar_config(disable=True)
    for component in pipeline.components.values():
        if isinstance(component, nn.Module):
            component.requires_grad_(False)
            component.eval()
    return pipeline


def free_text_encoders(pipeline: Any) -> None:
    """Take a pipeline's text encoders out of memory; it still draws from encoded prompts."""
    for name in list(pipeline.components):
        if name.startswith("text_encoder"):
            pipeline.register_modules(**{name: None})
    gc.collect()
    torch.cuda.empty_cache()
