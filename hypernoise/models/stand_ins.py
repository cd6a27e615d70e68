"""Stand-ins of generators: the published classes and files, narrow and with few layers.

By pipeline, ``stand_ins.json`` says what of each component is smaller than in
``architectures.json``.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import torch

from hypernoise.models.loading import RANDOM
from hypernoise.models.random_weights import build, parts_of
from hypernoise.weights.lora_layouts import component_of
from hypernoise.weights.stand_ins import SHARD, Shelf, commit_of

#: Of all stand-ins: four latents a side for SANA's autoencoder, which shrinks images 32 times.
SIZE_PX = 128
_FILE = "stand_ins.json"


@cache
def changes() -> dict[str, dict[str, dict[str, Any]]]:
    """Pipeline class -> component -> fields of the architecture that are smaller."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    known: dict[str, dict[str, dict[str, Any]]] = json.loads(text)
    return known


def small_pipeline(
    family: Any,
    /,
    shelf: Shelf,
    *,
    weights: str = "",
    revision: str = "",
    architecture: str = "",
    variant: str = "",
    lora: str = "",
    **_: Any,
) -> dict[str, Any]:
    """Lay a pipeline of a family onto a shelf; a ``stand_in`` of families with one repository.

    Raises:
        ValueError: the architecture is not declared or unknown, or its pipeline has no entry in
            ``stand_ins.json``.
    """
    if not architecture:
        raise ValueError(f"{weights}: a stand-in is made of its declaration's `architecture`")
    kind = family.pipeline_class
    if kind.__name__ not in changes():
        raise ValueError(f"{_FILE} says nothing of {kind.__name__}: add what shall be smaller")
    smaller = changes()[kind.__name__]
    parts = {
        name: {**part, **smaller[name]} if name in smaller else part
        for name, part in parts_of(architecture).items()
    }
    if weights == RANDOM:
        # Without files there is nothing that could name a smaller network.
        weights = f"random/{architecture}"
    commit = commit_of(weights, revision)
    pipeline = build(kind, parts, torch.bfloat16, "cpu")
    folder = shelf.repository(weights, commit)
    pipeline.save_pretrained(folder, variant=variant or None, max_shard_size=SHARD)
    changed = {"weights": weights, "revision": commit, "architecture": "", "size_px": SIZE_PX}
    return {**changed, "lora": shelf.file(lora, small_lora(pipeline))} if lora else changed


def small_lora(pipeline: Any, rank: int = 2) -> dict[str, torch.Tensor]:
    """A random LoRA on the attention of a pipeline's UNet or transformer, in diffusers' layout."""
    part = component_of(type(pipeline))
    network = pipeline.components[part]
    made = {}
    for name, layer in network.named_modules():
        if name.endswith((".to_q", ".to_k")):
            n_out, n_in = layer.weight.shape
            made[f"{part}.{name}.lora_A.weight"] = torch.randn(rank, n_in) / n_in
            made[f"{part}.{name}.lora_B.weight"] = torch.randn(n_out, rank)
    return {name: value.to(network.dtype) for name, value in made.items()}
