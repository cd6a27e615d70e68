"""Bytes that a run leaves on disk, from what is declared; upper bounds where contents decide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from harness.analysis import published
from harness.base.signatures import signature_of
from harness.experiment.components import ModelSpec

_ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}
#: An encoder of CLIP's has this many tokens, whatever a family allows the others.
_CLIP_TOKENS = 77
#: How backbones call the width of the prompts that they take. Where there is a caption's, the
#: cross-attention's is that of a projection of it.
_WIDTHS = ("joint_attention_dim", "caption_channels", "cap_feat_dim", "cross_attention_dim")
#: Original size, crop and target size of an image, two numbers each.
_N_SDXL_SIZES = 6
#: What the paper's added parameters are of.
_PRINTED_RANK = 128
#: Adapters are kept in float32.
_ADAPTER_ITEM_BYTES = 4


def image_bytes(size_px: int) -> int:
    """At most: an 8-bit RGB image without compression."""
    return 3 * size_px**2


def encoding_bytes(model: ModelSpec) -> int | None:
    """Of one prompt's encoding on disk; 0 for a model that keeps none, None where its architecture
    or number of tokens is not known.

    It is as wide as what the backbone takes: a family may keep several of an encoder's layers side
    by side, or pad one encoder's values to another's width. Masks and lengths do not count: they
    are under 1 % at published widths.
    """
    if not model.encodings:
        return 0
    parts = _architectures().get(model.architecture)
    if parts is None:
        return None
    encoders = [part for name, part in parts.items() if name.startswith("text_encoder")]
    n_clip = sum("CLIP" in part["class"] for part in encoders)
    tokens = _CLIP_TOKENS if n_clip == len(encoders) else _max_tokens(model)
    if tokens is None:
        return None
    if 1 < n_clip < len(encoders):
        # Stable Diffusion 3 sets its CLIP encoders' tokens before the others'.
        tokens += _CLIP_TOKENS
    backbone = parts.get("transformer") or parts["unet"]
    width = next(int(backbone[name]) for name in _WIDTHS if name in backbone)
    dtype = str(model.arguments.get("dtype", "float32"))
    return (tokens * width + _pooled_width(backbone)) * _ITEM_BYTES[dtype]


def _max_tokens(model: ModelSpec) -> int | None:
    """As declared, or the family's own; None where neither is known."""
    known = signature_of(model.target, model.file)
    own = known.parameters.get("max_tokens") if known else None
    tokens = model.arguments.get("max_tokens", own.constant if own else None)
    return tokens if isinstance(tokens, int) else None


def _pooled_width(backbone: Mapping[str, Any]) -> int:
    """Of the one vector of a prompt beside its tokens; 0 where the backbone takes none."""
    if "projection_class_embeddings_input_dim" in backbone:
        # SDXL's stands before six numbers of image sizes, each embedded.
        sizes = _N_SDXL_SIZES * int(backbone["addition_time_embed_dim"])
        return int(backbone["projection_class_embeddings_input_dim"]) - sizes
    return int(backbone.get("pooled_projection_dim", 0))


def adapter_bytes(model: str, rank: int | None) -> int | None:
    """Of a LoRA network of a rank, in float32, from the parameters that the paper prints; None
    where it prints none."""
    name = published.MODELS.get(model, model)
    rows = published.results().query("table == 'table1' and metric == 'params_b'")
    own = rows[rows["model"] == name].set_index("method")["value"]
    if rank is None or not {"base", "hypernoise"} <= set(own.index):
        return None
    added = float(own["hypernoise"] - own["base"]) * 1e9
    return round(added * rank / _PRINTED_RANK * _ADAPTER_ITEM_BYTES)


@cache
def _architectures() -> dict[str, dict[str, Any]]:
    file = resources.files("hypernoise.models") / "architectures.json"
    found: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return {name: {k: v for k, v in p.items() if isinstance(v, dict)} for name, p in found.items()}
