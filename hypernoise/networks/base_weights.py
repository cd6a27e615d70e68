"""A few of a base's own weights, by which it is known again: adapters fit every base of one shape.

Values are compared to a few parts in a thousand of a layer's largest, which rounding to bfloat16
stays within; another model, or one that a LoRA was fused into, does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


def sample(
    backbone: nn.Module, names: Sequence[str], most: int = MOST_LAYERS
) -> dict[str, list[float]]:
    """The first few weights of evenly spaced layers.

    Layers that are offloaded, quantised or have a LoRA fused into them are left out.

    Args:
        backbone: UNet or transformer.
        names: of its layers that have a weight.
        most: how many of them at most.
    """
    found: dict[str, Tensor] = {}
    for name in names[:: max(1, -(-len(names) // most))]:
        weight = own_layer(backbone, name).weight
        is_fused = getattr(backbone.get_submodule(name), "merged", False)
        if weight.is_floating_point() and not weight.is_meta and not is_fused:
            found[name] = weight.detach().flatten()[:_VALUES].float()
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
    return [
        name
        for name, values in now.items()
        if any(
            abs(a - b) > _RELATIVE * max(map(abs, before[name]))
            for a, b in zip(values, before[name], strict=True)
        )
    ]
