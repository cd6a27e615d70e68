"""A fine-tuning in the layout of diffusers, which ``pipeline.load_lora_weights(folder)`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
from safetensors.torch import load_file

from hypernoise.models.families import FAMILIES
from hypernoise.weights.pipelines import component_of
from hypernoise.weights.saved_lora import (
    PEFT_PREFIX,
    WEIGHTS_FILE,
    saved_keys,
    saved_rank_and_alpha,
)

#: As diffusers itself names it.
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"


def write_for_diffusers(folder: Path, pipeline: str) -> bool:
    """Write a LoRA's weights once more beside peft's files, by diffusers' own means.

    Args:
        folder: peft's folder of a LoRA of plain layers.
        pipeline: name of the stock pipeline's class.

    Returns:
        whether diffusers can: it loads no LoRA into some pipelines (PixArt's), and knows nothing of
        those of others.

    Raises:
        FileNotFoundError, ValueError: as of :mod:`hypernoise.weights.saved_lora`.
    """
    rank, alpha = saved_rank_and_alpha(folder)
    stock: Any = getattr(diffusers, pipeline) if pipeline in FAMILIES else None
    if not hasattr(stock, "save_lora_weights"):
        return False
    keys, weights = saved_keys(folder), load_file(folder / WEIGHTS_FILE)
    named = {key.removeprefix(PEFT_PREFIX): weights[stored] for key, stored in keys.items()}
    layers = sorted({name.rpartition(".lora_")[0] for name in named})
    options = {"r": rank, "lora_alpha": alpha, "peft_type": "LORA", "target_modules": layers}
    component = component_of(stock)
    stock.save_lora_weights(
        str(folder),
        weight_name=DIFFUSERS_FILE,
        **{f"{component}_lora_layers": named, f"{component}_lora_adapter_metadata": options},
    )
    return True
