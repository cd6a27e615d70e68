"""A few of a base's own weights, by which it is known again: adapters fit every base of one shape.

Eight values of a layer are compared, to .8 % of the largest of them, which rounding to bfloat16
stays within. Another model does not, nor one that an ordinary LoRA was fused into; a LoRA that is
weaker than that, or that adapts none of the layers looked at, is not noticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

_VALUES = 8
#: Layers that a description names, evenly spaced.
MOST_LAYERS = 64
_RELATIVE = 2**-7


def own_layer(backbone: nn.Module, name: str) -> Any:
    """A layer of a backbone, without the LoRA that may be around it."""
    layer = backbone.get_submodule(name)
    return layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer


def is_plain(layer: Any) -> bool:
    """Whether all that is fused into a layer is plain LoRA, which can be taken off again."""
    fused = layer.merged_adapters
    return isinstance(layer, LoraLayer) and all(
        name in layer.lora_A and name not in layer.lora_variant for name in fused
    )


def fused_values(layer: Any) -> Tensor:
    """What fused LoRA adds to a layer's first weights, if its scale is still that of the fusing.

    peft adds scale * B A to the weight (``get_delta_weight``); only its first rows are computed.

    Returns:
        [the number of weights compared] float32; a zero without dimensions if nothing is fused.
    """
    added = torch.zeros(())
    for name in layer.merged_adapters if getattr(layer, "merged", False) else ():
        a, b = layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach()
        n_rows = -(-_VALUES // a[0].numel())
        first = b.flatten(1)[:n_rows].float() @ a.flatten(1).float()
        added = added + first.flatten()[:_VALUES] * layer.scaling[name]
    return added


def sample(
    backbone: nn.Module, names: Sequence[str], most: int = MOST_LAYERS
) -> dict[str, list[float]]:
    """The first few weights of evenly spaced layers, without the LoRA that is fused into them.

    Layers that are offloaded, quantised or have more than plain LoRA fused into them are left out.

    Args:
        backbone: UNet or transformer.
        names: of its layers that have a weight.
        most: how many of them at most.
    """
    found: dict[str, Tensor] = {}
    for name in names[:: max(1, -(-len(names) // most))]:
        layer, weight = backbone.get_submodule(name), own_layer(backbone, name).weight
        is_known = not getattr(layer, "merged", False) or is_plain(layer)
        if weight.is_floating_point() and not weight.is_meta and is_known:
            found[name] = weight.detach().flatten()[:_VALUES].float() - fused_values(layer)
    if not found:
        return {}
    values = pad_sequence(list(found.values()), batch_first=True).cpu().tolist()
    return dict(zip(found, values, strict=True))


def changed(before: Mapping[str, Sequence[float]], backbone: nn.Module) -> list[str]:
    """Names of the layers whose weights are not those of an earlier sample, or that are missing."""
    present = {name for name, _ in backbone.named_modules()}
    if missing := [name for name in before if name not in present]:
        return missing
    now = sample(backbone, list(before), most=len(before) or 1)
    found: list[str] = []
    for name, values in now.items():
        # A sum with fused LoRA was rounded as large as it is.
        fused = float(fused_values(backbone.get_submodule(name)).abs().max())
        most = _RELATIVE * (max(map(abs, before[name])) + fused)
        if any(abs(a - b) > most for a, b in zip(values, before[name], strict=True)):
            found.append(name)
    return found
