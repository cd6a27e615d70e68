"""A LoRA's files, as peft and diffusers write them: sizes, and the names of the weights.

A weight's name is its layer's after a prefix: peft's is ``base_model.model.``, a diffusers
pipeline's the component, and a diffusers model has none. A state dict that was saved as it is also
has the adapter's own name before ``weight``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig
from safetensors import safe_open
from torch import Tensor

from hypernoise.weights.folders import check_file

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
#: What a training writes, and reads again.
PLAIN = frozenset({"r", "lora_alpha"})
#: Options that say how it was trained, for which base and by what, and not what the weights mean.
_HARMLESS = {
    *("auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "exclude_modules"),
    *("inference_mode", "lora_dropout", "peft_version", "revision", "target_modules", "task_type"),
}
#: Ways to begin that leave the base's weights as they are.
_BEGINNINGS = (True, False, "gaussian", "orthogonal")
#: Beyond it is no scale, but a fault.
LARGEST_ALPHA = 1e9
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
    """Rank and alpha of a saved LoRA; the rank is that of its weights, too.

    Raises:
        FileNotFoundError: there is no ``adapter_config.json``, or no weights.
        ValueError: it is not a LoRA's, or a LoRA's of another kind than ours, or its weights have
            another rank: who asks memory for a rank asks for what the file has.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no adapter in {folder}: {CONFIG_FILE} is missing")
    config = lora_config(path.read_bytes(), str(path), PLAIN)
    rank, keys = int(config["r"]), saved_keys(folder)
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as handle:
        shapes = {name: handle.get_slice(key).get_shape() for name, key in keys.items()}
    ranks = {s[0 if ".lora_A." in name else 1] for name, s in shapes.items() if len(s) > 1}
    if rank not in ranks:
        raise ValueError(f"{path}: r is {rank}, and its weights have rank {sorted(ranks)}")
    return rank, float(config["lora_alpha"])


def _is_rank(value: object) -> bool:
    return type(value) in (int, float) and 1 <= value == value // 1  # type: ignore[operator]


def _is_alpha(value: object) -> bool:
    # Compared, and not converted: a whole number may be larger than any float.
    return type(value) in (int, float) and 0 < value < LARGEST_ALPHA  # type: ignore[operator]


def check_numbers(weights: Mapping[str, Tensor], path: Path) -> None:
    """Check that weights are what a LoRA can be made of.

    Args:
        weights: name -> tensor, as the file at ``path`` has them; alphas may be among them.

    Raises:
        ValueError: one is of whole numbers (an alpha may be), of truth values or complex, or not
            finite.
    """
    for name, weight in weights.items():
        if name.endswith(".alpha"):
            if weight.numel() != 1 or not 0 < float(weight) < LARGEST_ALPHA:
                found = weight.flatten()[:3].tolist()
                raise ValueError(f"{path}: {name!r} is {found}, must be positive, and one number")
        elif not weight.is_floating_point():
            raise ValueError(f"{path}: {name!r} has {weight.dtype}, must have floating point")
        # Of eight bits, not every format has an `isfinite`.
        elif not bool(weight.float().isfinite().all()):
            raise ValueError(f"{path}: {name!r} has numbers that are not finite")


def lora_config(text: str | bytes, where: str, known: Collection[str]) -> dict[str, Any]:
    """The options of a LoRA that its weights cannot be read without.

    Args:
        text: JSON of peft's ``LoraConfig``, by whatever version of it.
        where: the file, for messages.
        known: names of options that the caller applies.

    Returns:
        the known options, rank ``r`` and ``lora_alpha`` always among them.

    Raises:
        ValueError: it is no LoRA's, or has an option that is neither known nor harmless: that one
            is named.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        config = json.loads(decoded)
        # Everything that peft writes of an option that is not used is its default, or nothing.
        peft_default: Any = LoraConfig()
        defaults = {**peft_default.to_dict(), "peft_type": "LORA", "init_lora_weights": True}
        given = config["r"], config["lora_alpha"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{where} is not the configuration of a LoRA: {error}") from error
    if not (_is_rank(given[0]) and _is_alpha(given[1])):
        raise ValueError(
            f"{where}: r must be a whole number from 1 and lora_alpha positive, got "
            f"{given[0]!r:.40} and {given[1]!r:.40}"
        )
    sizes = {"r": int(given[0]), "lora_alpha": float(given[1])}
    for name, is_right in (("rank_pattern", _is_rank), ("alpha_pattern", _is_alpha)):
        pattern = config.get(name) or {}
        if not (isinstance(pattern, dict) and all(map(is_right, pattern.values()))):
            raise ValueError(f"{where}: {name} has {pattern!r:.80}, no numbers as r and lora_alpha")
    for name, value in config.items():
        is_off = value is None or value is False or value in ("", [], {}) or value == "none"
        is_default = name in defaults and value == defaults[name]
        begins = name == "init_lora_weights" and value in _BEGINNINGS
        if not (name in known or name in _HARMLESS or is_off or is_default or begins):
            raise ValueError(
                f"{where} has {name} {value!r}: LoRA with that option means something else, and "
                f"is not known here; known are {', '.join(sorted(known))}"
            )
    return {name: config[name] for name in known if name in config} | sizes


def name_base(folder: Path, base: str, revision: str) -> None:
    """Write into a LoRA's options which base it is for, as peft itself names it.

    Files of networks that are no LoRA are left as they are.
    """
    path = folder / CONFIG_FILE
    config = json.loads(path.read_text(encoding="utf-8"))
    if "base_model_name_or_path" in config:
        config |= {"base_model_name_or_path": base, "revision": revision or None}
        path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def saved_n_parameters(folder: Path) -> int:
    """Number of parameters of a saved LoRA, from the file's header."""
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as handle:
        keys = handle.keys()
        return sum(math.prod(handle.get_slice(key).get_shape()) for key in keys)
