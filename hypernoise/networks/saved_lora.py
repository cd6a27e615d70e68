"""A LoRA's files, as peft and diffusers write them: sizes, and the names of the weights.

A weight's name is its layer's after a prefix: peft's is ``base_model.model.``, a diffusers
pipeline's the component, and a diffusers model has none. A state dict that was saved as it is also
has the adapter's own name before ``weight``.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from safetensors import safe_open

from hypernoise.weights.folders import check_file

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
#: peft's options under which the same weights mean something else.
_OTHER_LORA = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern")
PEFT_PREFIX = "base_model.model."
PREFIXES = (PEFT_PREFIX, "transformer.", "unet.", "")
_KEY = re.compile(
    rf"(?P<prefix>{'|'.join(map(re.escape, PREFIXES))})"
    r"(?P<layer>.+)\.(?P<half>lora_[AB])(\.(?P<adapter>[^.]+))?\.weight"
)


def peft_key(layer: str, half: str) -> str:
    """PEFT's name of a weight: ``half`` is ``"lora_A"`` or ``"lora_B"``."""
    return f"{PEFT_PREFIX}{layer}.{half}.weight"


def saved_keys(folder: Path) -> dict[str, str]:
    """The keys of a saved LoRA's file by the names that PEFT gives them today.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, or a key is no LoRA weight's, or has another prefix or adapter
            than those before.
    """
    path = folder / WEIGHTS_FILE
    check_file(path)
    with safe_open(path, framework="pt") as handle:
        keys = sorted(handle.keys())
    found: dict[str, str] = {}
    layout = None
    for key in keys:
        match = _KEY.fullmatch(key)
        if match is None:
            raise ValueError(
                f"{path}: {key!r} is not the name of a LoRA weight. Known is "
                "[PREFIX]LAYER.lora_A[.ADAPTER].weight, and lora_B; prefixes are "
                f"{', '.join(filter(None, PREFIXES))}"
            )
        layout = layout or match.group("prefix", "adapter")
        if match.group("prefix", "adapter") != layout:
            first = next(iter(found.values()))
            raise ValueError(f"{path}: {key!r} has another prefix or adapter than {first!r}")
        found[peft_key(match["layer"], match["half"])] = key
    return found


def saved_rank_and_alpha(folder: Path) -> tuple[int, float]:
    """Rank and alpha of a saved LoRA.

    Raises:
        FileNotFoundError: there is no ``adapter_config.json``.
        ValueError: it is not a LoRA's, or a LoRA's of another kind than ours.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no adapter in {folder}: {CONFIG_FILE} is missing")
    try:
        config = json.loads(path.read_text())
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the configuration of a LoRA: {error}") from error
    for option in _OTHER_LORA:
        if config.get(option):
            raise ValueError(f"{path} has {option} {config[option]!r}; only plain LoRA is known")
    return rank, alpha


def saved_n_parameters(folder: Path) -> int:
    """Number of parameters of a saved LoRA, from the file's header."""
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as handle:
        keys = handle.keys()
        return sum(math.prod(handle.get_slice(key).get_shape()) for key in keys)
