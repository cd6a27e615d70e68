"""What methods were called before a variant had a text of its own (commit 9239d5b and older)."""

from __future__ import annotations

import re

#: A name of old -> the text of today's variant; in numbers, "_" stood for the point. Configs gave
#: networks of other ranks an alpha of twice the rank.
_METHODS = {
    r"hypernoise_rank_(\d+)": "hypernoise:alpha={double},rank={0}",
    r"lora_finetune_rank_(\d+)": "lora_finetune_final:alpha={double},rank={0}",
    r"lora_finetune_step_(\d+)": "lora_finetune_final:checkpoint={0}",
    r"hypernoise_alpha_(sum|mean)_([\d_]+)": "hypernoise:l2_reduction={0},temperature={1}",
    r"(reno|white_reno)_lr_([\d_]+)": "{0}:learning_rate={1}",
    r"zero_order_([\d_]+)": "zero_order:similarity={0}",
}


def method_today(name: str) -> str:
    """The text that a method of old has today; a name that stayed is given back."""
    for pattern, text in _METHODS.items():
        if found := re.fullmatch(pattern, name):
            parts = [
                f"{float(part.replace('_', '.')):g}" if part[0].isdigit() else part
                for part in found.groups()
            ]
            double = 2 * int(parts[0]) if parts[0].isdigit() else ""
            return text.format(*parts, double=double)
    return name
