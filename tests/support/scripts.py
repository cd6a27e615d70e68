"""Trained networks in folders, and stock pipelines to use them in, as a user's script has them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor
from toys import PROMPTS, stir

from hypernoise.models.protocol import Generator, StartsAtTimestep
from hypernoise.networks import base_weights
from hypernoise.networks.adapter import adaptable
from hypernoise.networks.description import Description
from hypernoise.networks.noise_network import NoiseNetwork

#: Options of a stock call in one step, where they are not those of all.
_STOCK: dict[str, dict[str, Any]] = {
    "PixArtAlphaPipeline": {"timesteps": [400], "use_resolution_binning": False},
    "SanaSprintPipeline": {"intermediate_timesteps": None, "use_resolution_binning": False},
}


def described(generator: Generator, kind: str = "hypernoise", **changes: Any) -> Description:
    """What a training on a generator says of its network."""
    start = generator.first_timestep if isinstance(generator, StartsAtTimestep) else None
    layers = adaptable(generator.backbone)[0]
    known = ("max_tokens", "guidance", "timestep")
    told: dict[str, Any] = {
        "kind": kind,
        "moves_noise": kind != "lora_finetune",
        "base": "a/base",
        "pipeline": type(generator.pipeline).__name__,
        "size_px": generator.size_px,
        "first_timestep": None if start is None else float(start),
        "arguments": {name: vars(generator)[name] for name in known if name in vars(generator)},
        "base_sample": base_weights.sample(generator.backbone, layers),
    }
    if "_instruction" in vars(generator):
        told["arguments"]["human_instruction"] = bool(vars(generator)["_instruction"])
    return Description(**told | changes)


def save_noise_network(generator: Generator, folder: Path, scale: float = 0.05) -> NoiseNetwork:
    """A stirred noise network, saved and described; take it out of the generator with ``adapter``.

    Args:
        scale: of its weights; 0 leaves it untrained.
    """
    network = NoiseNetwork(generator, rank=4, alpha=8.0)
    if scale:
        stir(network.adapter, scale)
    network.save(folder)
    described(generator).write(folder)
    return network


def stock_images(
    of: Generator,
    prompts: Sequence[str] = PROMPTS[:2],
    stock: dict[str, Any] | None = None,
    **options: Any,
) -> Tensor:
    """Images [B, 3, H, W] of a stock pipeline's own call in one step, as a script makes it, or with
    the ``stock`` options in place of those."""
    pipeline, size = of.pipeline, of.size_px
    given = {"num_inference_steps": 1, "guidance_scale": 1.0, "height": size, "width": size}
    given |= _STOCK.get(type(pipeline).__name__, {})
    given = given if stock is None else stock
    # FLUX.2's pipeline has another first argument.
    images = pipeline(prompt=list(prompts), output_type="pt", **(given | options)).images
    return images if isinstance(images, Tensor) else torch.stack(list(images))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def add_style(pipeline: Any, name: str = "style", only: str = "attn", scale: float = 0.3) -> None:
    """Load a LoRA into a pipeline's backbone by diffusers' own means, as somebody's style."""
    component = "unet" if getattr(pipeline, "unet", None) is not None else "transformer"
    backbone = getattr(pipeline, component)
    layers = [layer for layer in adaptable(backbone)[0] if only in layer]
    with warnings.catch_warnings():
        # peft warns of a second adapter.
        warnings.simplefilter("ignore")
        backbone.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=layers), name)
    source = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, weight in backbone.named_parameters():
            if f".{name}." in key:
                weight.copy_(torch.randn(weight.shape, generator=source) * scale)
