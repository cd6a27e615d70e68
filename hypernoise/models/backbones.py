"""The UNet or transformer of a pipeline without weights: its layers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import nn

from hypernoise.models.random_weights import parts_of
from hypernoise.weights.pinned_files import init_empty_weights
from hypernoise.weights.pins import located
from hypernoise.weights.pipelines import component_of


@cache
def empty_backbone(
    pipeline_class: Any, weights: str, revision: str = "", architecture: str = ""
) -> nn.Module:
    """A backbone without weights, on the meta device: names and shapes of its layers.

    Args:
        pipeline_class: the stock pipeline, whose own signature names the backbone's class.
        weights: diffusers folder or hub repository, whose config is read.
        revision: of the hub's repository.
        architecture: where it is recorded, nothing is read.

    Raises:
        ValueError: the architecture is unknown, or the config cannot be had.
    """
    component = component_of(pipeline_class)
    network: Any = get_type_hints(pipeline_class.__init__)[component]
    place = weights if revision else str(located(weights))
    if architecture and not Path(place).is_dir():
        part = parts_of(architecture)[component]
        with torch.device("meta"):
            made: nn.Module = network(**{k: v for k, v in part.items() if k != "class"})
        return made
    try:
        config = network.load_config(place, subfolder=component, revision=revision or None)
    except OSError as error:
        raise ValueError(f"{weights}: the config of its {component} cannot be had") from error
    with init_empty_weights():
        empty: nn.Module = network.from_config(config)
    return empty
