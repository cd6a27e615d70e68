"""Adapters as other tools write them, made from a LoRA of ours: what they do is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from toys import stir

from hypernoise.models.protocol import Generator
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.weights.lora_layouts import component_of
from hypernoise.weights.saved_lora import PEFT_PREFIX, WEIGHTS_FILE

RANK, ALPHA = 4, 8.0
Weights = dict[str, Tensor]


def save_peft(generator: Generator, folder: Path, scale: float = 0.05) -> FineTuner:
    """A stirred LoRA of every layer in peft's folder; it stays in the generator, switched off."""
    tuner = FineTuner(generator, RANK, ALPHA)
    stir(tuner.adapter, scale)
    tuner.save(folder)
    return tuner


def halves(folder: Path) -> Iterator[tuple[str, str, Tensor]]:
    """(layer, ``"A"`` or ``"B"``, weight) of peft's folder."""
    for key, weight in load_file(folder / WEIGHTS_FILE).items():
        layer, _, half = key.removeprefix(PEFT_PREFIX).removesuffix(".weight").rpartition(".lora_")
        yield layer, half, weight


def diffusers(folder: Path, generator: Generator) -> tuple[Weights, dict[str, str], str]:
    """What diffusers writes today, with peft's options in the header."""
    part = component_of(type(generator.pipeline))
    weights = {f"{part}.{layer}.lora_{half}.weight": w for layer, half, w in halves(folder)}
    options = {f"{part}.r": RANK, f"{part}.lora_alpha": ALPHA, f"{part}.peft_type": "LORA"}
    return weights, {"lora_adapter_metadata": json.dumps(options)}, FILES["diffusers"]


def old_diffusers(folder: Path, generator: Generator) -> tuple[Weights, dict[str, str], str]:
    """What diffusers wrote: it knows no alpha, which is in the weights."""
    part, names = component_of(type(generator.pipeline)), {"A": "down", "B": "up"}
    weights = {
        f"{part}.{layer}.lora.{names[half]}.weight": w * (ALPHA / RANK if half == "B" else 1)
        for layer, half, w in halves(folder)
    }
    return weights, {"format": "pt"}, FILES["old_diffusers"]


def kohya(folder: Path, generator: Generator) -> tuple[Weights, dict[str, str], str]:
    weights, names = {}, {"A": "lora_down", "B": "lora_up"}
    for layer, half, weight in halves(folder):
        start = f"lora_unet_{layer.replace('.', '_')}"
        weights[f"{start}.{names[half]}.weight"] = weight
        weights[f"{start}.alpha"] = torch.tensor(ALPHA)
    return weights, {"ss_network_dim": str(RANK)}, FILES["kohya"]


FILES = {
    "diffusers": "pytorch_lora_weights.safetensors",
    "old_diffusers": "pytorch_lora_weights.safetensors",
    "kohya": "their_style.safetensors",
}
LAYOUTS: dict[str, Callable[[Path, Generator], tuple[Weights, dict[str, str], str]]] = {
    "diffusers": diffusers,
    "old_diffusers": old_diffusers,
    "kohya": kohya,
}


def write(layout: str, peft: Path, generator: Generator, out: Path, only: str = "") -> Path:
    """Write peft's folder in another layout; ``only`` keeps the layers whose names have it."""
    weights, header, file = LAYOUTS[layout](peft, generator)
    out.mkdir(parents=True, exist_ok=True)
    kept = {k: w.contiguous() for k, w in weights.items() if only in k}
    save_file(kept, out / file, metadata=header)
    return out
