"""What makes a few-step model of a published pipeline: a LoRA in its weights, another sampler."""

from __future__ import annotations

import math
from typing import Any

from diffusers import (
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
)

from hypernoise.errors import check_choice
from hypernoise.weights.foreign_lora import load, read
from hypernoise.weights.lora_layouts import component_of
from hypernoise.weights.pinned_files import PinnedFile, check_safetensors_file

#: Qwen-Image-Lightning's: sigmas are shifted by three at every image size, and end at zero.
_SHIFT_3 = {"base_shift": math.log(3), "max_shift": math.log(3), "shift_terminal": None}
#: Samplers by name: the scheduler, and what of the pipeline's own settings is another one.
SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "euler_trailing": (EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "flow_shift_3": (FlowMatchEulerDiscreteScheduler, _SHIFT_3),
    "lcm": (LCMScheduler, {}),
    "tcd": (TCDScheduler, {}),
}
#: The LoRA's name while it is added.
_FUSED = "fused"


def set_scheduler(pipeline: Any, name: str) -> None:
    """Give a pipeline a scheduler of :data:`SCHEDULERS`, with the settings of its own otherwise.

    Raises:
        ValueError: there is none of this name.
    """
    check_choice("scheduler", name, SCHEDULERS)
    kind, changes = SCHEDULERS[name]
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **changes)


def fuse_lora(pipeline: Any, place: str) -> None:
    """Add a LoRA to the weights of a pipeline's UNet or transformer, for good, in their dtype.

    Args:
        pipeline: a stock pipeline that loads LoRAs.
        place: a pinned file (:mod:`hypernoise.weights.pinned_files`) in any layout of
            :mod:`hypernoise.weights.foreign_lora`.

    Raises:
        ValueError, FileNotFoundError: as :func:`check_safetensors_file`, or as
            :func:`hypernoise.weights.foreign_lora.read` and ``load``.
    """
    check_safetensors_file(place)
    backbone = pipeline.components[component_of(type(pipeline))]
    lora = read(PinnedFile.parse(place).fetch(), backbone, type(pipeline))
    load(lora, backbone, _FUSED)
    backbone.fuse_lora(adapter_names=[_FUSED])
    backbone.unload_lora()
