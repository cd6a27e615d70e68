"""What makes a few-step model of a published pipeline: a LoRA in its weights, another sampler."""

from __future__ import annotations

import re
from typing import Any

from diffusers import EulerDiscreteScheduler, LCMScheduler, TCDScheduler
from peft.tuners.lora import LoraLayer
from torch import nn

from hypernoise.errors import check_choice
from hypernoise.weights.pinned_files import PinnedFile, check_safetensors_file, read

#: Samplers by name: the scheduler, and what of the pipeline's own settings is another one.
SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "euler_trailing": (EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "lcm": (LCMScheduler, {}),
    "tcd": (TCDScheduler, {}),
}
#: One for each adapted layer, in the layouts of peft, diffusers and kohya.
_FIRST_FACTOR = re.compile(r"[._]lora(_A|_down|\.down)(\.\w+)?\.weight$")


def set_scheduler(pipeline: Any, name: str) -> None:
    """Give a pipeline a scheduler of :data:`SCHEDULERS`, with the settings of its own otherwise.

    Raises:
        ValueError: there is none of this name.
    """
    check_choice("scheduler", name, SCHEDULERS)
    kind, changes = SCHEDULERS[name]
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **changes)


def fuse_lora(pipeline: Any, place: str) -> None:
    """Add a LoRA to the weights that it is of, for good, in the dtype of the weights.

    Args:
        pipeline: a stock pipeline that loads LoRAs.
        place: a pinned file (:mod:`hypernoise.weights.pinned_files`) in any layout that diffusers
            reads.

    Raises:
        ValueError, FileNotFoundError: as :func:`check_safetensors_file`, or some of its layers are
            none of the pipeline's.
    """
    check_safetensors_file(place)
    weights = read(PinnedFile.parse(place).fetch())
    n_given = sum(bool(_FIRST_FACTOR.search(name)) for name in weights)
    pipeline.load_lora_weights(weights)
    networks = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    found = [m for part in networks for m in part.modules() if isinstance(m, LoraLayer)]
    # Diffusers leaves out what it does not know, with a warning.
    if not found or len(found) != n_given:
        raise ValueError(f"{place} adapts {n_given} layers, of which the pipeline has {len(found)}")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
