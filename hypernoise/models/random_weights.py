"""Published architectures with random weights: enough to measure time and memory on.

The facts are in ``architectures.json``: per architecture the pipeline's components, each with its
class and what its constructor is given; what is left out is the class's default.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import torch
from torch import nn

from hypernoise.errors import check_choice

Parts = Mapping[str, Any]
_FILE = "architectures.json"
_SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


@cache
def architectures() -> dict[str, dict[str, Any]]:
    """The pipelines' components of every published architecture by its name."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = json.loads(text)
    return known


def parts_of(architecture: str) -> dict[str, Any]:
    """The components of one architecture.

    Raises:
        ValueError: it is unknown.
    """
    check_choice("architecture", architecture, architectures())
    return architectures()[architecture]


def random_pipeline(
    pipeline_class: Any, architecture: str, dtype: torch.dtype, device: str, seed: int = 0
) -> Any:
    """A pipeline of full size: see :func:`build`, and :func:`parts_of` for the error."""
    return build(pipeline_class, parts_of(architecture), dtype, device, seed)


def build(pipeline_class: Any, parts: Parts, dtype: torch.dtype, device: str, seed: int = 0) -> Any:
    """A pipeline with random weights, made in its dtype on its device.

    Args:
        pipeline_class: the stock pipeline.
        parts: its components, as in ``architectures.json``.
        dtype: dtype of all networks.
        device: torch device; ``"meta"`` takes no memory.
        seed: the same seed gives the same weights on the same kind of device.
    """
    # Lazy import: it brings transformers' tokenizers, which trained pipelines do not need.
    from hypernoise.models.tokenizers import TOKENIZERS

    made = {name: part for name, part in parts.items() if not isinstance(part, Mapping)}
    for name, part in parts.items():
        if name not in made and not _is_network(part):
            make = TOKENIZERS.get(part["class"].partition(".")[2]) or _class(part)
            made[name] = make(**_arguments(part))
    before = torch.get_default_dtype()
    target = torch.device(device)
    devices = [target] if target.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), target:
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            networks = {
                name: _network(part, made.get(name.replace("text_encoder", "tokenizer")))
                for name, part in parts.items()
                if _is_network(part)
            }
        finally:
            torch.set_default_dtype(before)
    return pipeline_class(**made, **networks)


@cache
def n_parameters(architecture: str) -> dict[str, int]:
    """Parameters of each network of an architecture; nothing is allocated."""
    parts = parts_of(architecture)
    with torch.device("meta"):
        networks = {name: _network(part) for name, part in parts.items() if _is_network(part)}
    return {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}


def _is_network(part: Any) -> bool:
    # Schedulers keep their tables on the CPU in float32, whatever the networks do.
    return isinstance(part, Mapping) and not part["class"].endswith(("Tokenizer", "Scheduler"))


def _network(part: Mapping[str, Any], tokenizer: Any = None) -> nn.Module:
    made, arguments = _class(part), _arguments(part)
    if not part["class"].startswith("transformers."):
        network: nn.Module = made(**arguments)
        return network
    special = {name: getattr(tokenizer, name) for name in _SPECIAL_TOKENS if tokenizer}
    encoder: nn.Module = made(made.config_class(**special, **arguments))
    return encoder


def _class(part: Mapping[str, Any]) -> Any:
    package, _, name = part["class"].partition(".")
    return getattr(importlib.import_module(package), name)


def _arguments(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "class"}
