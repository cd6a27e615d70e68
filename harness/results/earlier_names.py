"""What methods were called before a variant had a text of its own (commit 9239d5b and older)."""

from __future__ import annotations

import re

#: A name of old -> the text of today's variant; in numbers, "_" stood for the point.
_METHODS = {
    r"hypernoise_rank_(\d+)": "hypernoise:rank={}",
    r"lora_finetune_rank_(\d+)": "lora_finetune_final:rank={}",
    r"lora_finetune_step_(\d+)": "lora_finetune_final:checkpoint={}",
    r"hypernoise_alpha_(sum|mean)_([\d_]+)": "hypernoise:l2_reduction={},temperature={}",
    r"(reno|white_reno)_lr_([\d_]+)": "{}:learning_rate={}",
    r"zero_order_([\d_]+)": "zero_order:similarity={}",
}


def method_today(name: str) -> str:
    """The text that a method of old has today; a name that stayed is given back."""
    for pattern, text in _METHODS.items():
        if found := re.fullmatch(pattern, name):
            return text.format(*(_number(part) for part in found.groups()))
    return name


def _number(part: str) -> str:
    if not part[0].isdigit():
        return part
    return f"{float(part.replace('_', '.')):g}"
