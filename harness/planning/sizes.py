"""Bytes that a run leaves on disk, from what is declared; upper bounds where contents decide."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from harness.analysis import published
from harness.experiment.components import ModelSpec

_ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}
#: An encoder of CLIP's has this many tokens, whatever a family allows the others.
_CLIP_TOKENS = 77
#: What the paper's added parameters are of.
_PRINTED_RANK = 128
#: Adapters are kept in float32.
_ADAPTER_ITEM_BYTES = 4


def image_bytes(size_px: int) -> int:
    """At most: an 8-bit RGB image without compression."""
    return 3 * size_px**2


def encoding_bytes(model: ModelSpec) -> int | None:
    """Of one prompt's encoding on disk; 0 for a model that keeps none, None where its architecture
    is not known."""
    if not model.encodings:
        return 0
    parts = _architectures().get(model.architecture)
    if parts is None:
        return None
    encoders = [part for name, part in sorted(parts.items()) if name.startswith("text_encoder")]
    clip = [part for part in encoders if "CLIP" in part["class"]]
    others = [part for part in encoders if part not in clip]
    tokens = int(model.arguments.get("max_tokens", _CLIP_TOKENS))
    if others:
        # Stable Diffusion 3 sets its CLIP encoders' tokens before the others'.
        tokens += _CLIP_TOKENS * (len(clip) > 1)
        # Of a network that reads pictures, too, the text's own part.
        text = others[-1].get("text_config", others[-1])
        values = tokens * int(text.get("hidden_size") or text["d_model"])
    else:
        values = tokens * sum(int(part["hidden_size"]) for part in clip)
    pooled = sum(int(part["projection_dim"]) for part in clip) if len(encoders) > 1 else 0
    dtype = str(model.arguments.get("dtype", "float32"))
    return (values + pooled) * _ITEM_BYTES[dtype]


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
