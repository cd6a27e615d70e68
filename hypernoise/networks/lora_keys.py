"""Names of LoRA weights in the files that peft and diffusers write.

Both put what was saved in front of the layer's name: peft ``base_model.model.``, a diffusers
pipeline its component, a diffusers model nothing. A state dict that was saved as it is also has
the adapter's own name before ``weight``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

PEFT_PREFIX = "base_model.model."
PREFIXES = (PEFT_PREFIX, "transformer.", "unet.", "")
_KEY = re.compile(
    rf"(?P<prefix>{'|'.join(map(re.escape, PREFIXES))})"
    r"(?P<layer>.+)\.(?P<half>lora_[AB])(\.(?P<adapter>[^.]+))?\.weight"
)


def peft_key(layer: str, half: str) -> str:
    """PEFT's name of a weight: ``half`` is ``"lora_A"`` or ``"lora_B"``."""
    return f"{PEFT_PREFIX}{layer}.{half}.weight"


def by_peft_key(keys: Iterable[str], path: Path) -> dict[str, str]:
    """The keys of a LoRA's file by the names that PEFT gives them today.

    Raises:
        ValueError: a key is no LoRA weight's, or has another prefix or adapter than those before.
    """
    found: dict[str, str] = {}
    layout = None
    for key in sorted(keys):
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
