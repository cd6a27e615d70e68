"""What a training step of a published model keeps in memory: an estimate, with nothing allocated.

Everything is on torch's meta device, which has shapes and no values. Counted are the weights of
backbone and VAE, LoRA in float32 with its gradient and one moment, and what the forward pass keeps
for the backward pass. Not counted: the block that gradient checkpointing repeats, the reward, and
what the allocator wastes. Left out unless asked for: ``pytest -m full_size -s``.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler, EulerDiscreteScheduler
from published import registered

from harness.components import build_generator
from hypernoise.checkpointing import gradient_checkpointing
from hypernoise.lora_networks import build
from hypernoise.models.protocol import Generator

GIB = 2**30
#: LoRA's weights, gradients and one moment, as SGD with momentum has it.
COPIES = 3
FLOAT32_BYTES = 4


@pytest.fixture
def _schedulers_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # Euler's schedulers copy their table from the device, and meta tensors have no values.
    for scheduler in (EulerDiscreteScheduler, EulerAncestralDiscreteScheduler):
        plain = scheduler.set_timesteps

        def on_cpu(self: Any, *steps: Any, plain: Any = plain, device: Any = None, **k: Any) -> Any:
            return plain(self, *steps, device="cpu", **k)

        monkeypatch.setattr(scheduler, "set_timesteps", on_cpu)


def storages(tensors: Any) -> dict[int, int]:
    """Bytes by storage: views share one."""
    found = (tensor.untyped_storage() for tensor in tensors)
    return {storage._cdata: storage.nbytes() for storage in found}


def kept_bytes(generator: Generator, batch_size: int, rank: int, recompute: bool) -> list[int]:
    """Bytes of weights, of LoRA and its copies, and of activations."""
    objective = build("hypernoise", generator, rank, 2.0 * rank)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    noise = torch.zeros(batch_size, *generator.noise_shape, device="meta")
    with torch.no_grad():
        conditioning = generator.encode(["a photo of a bench"] * batch_size)
    context = gradient_checkpointing(generator) if recompute else nullcontext()
    with context, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        objective.draw(noise, conditioning, 1, [0] * batch_size)
    lora = objective.adapter.parameters()
    networks = (generator.backbone, generator.pipeline.vae)
    weights = storages(p for n in networks for p in n.parameters())
    mine = weights.keys() | storages(lora).keys()
    activations = sum(size for key, size in storages(kept).items() if key not in mine)
    frozen = sum(weights.values()) - sum(storages(lora).values())
    return [frozen, COPIES * FLOAT32_BYTES * objective.adapter.n_parameters, activations]


@pytest.mark.full_size
@pytest.mark.usefixtures("_schedulers_on_the_cpu")
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize(
    ("name", "batch_size", "limit_gib"),
    [
        ("sd_turbo", 1, 80),
        ("sd_turbo", 8, 80),
        ("sana_sprint_0_6b", 1, 40),
        ("sana_sprint_0_6b", 3, 40),
        ("sana_sprint_1_6b", 1, 80),
        ("sana_sprint_1_6b", 3, 80),
        ("flux_schnell", 1, 80),
        ("sdxl_turbo", 1, 80),
    ],
)
def test_a_training_step_fits_where_activations_are_recomputed(
    name: str, batch_size: int, limit_gib: int, recompute: bool
) -> None:
    spec = registered().models[f"{name}_random"]
    generator = getattr(build_generator(spec, "meta"), "_generator")  # noqa: B009
    parts = kept_bytes(generator, batch_size, rank=128, recompute=recompute)
    weights, lora, activations = (part / GIB for part in parts)
    how = "recomputed" if recompute else "kept"
    print(
        f"\n| {name} | {spec.size_px} | {batch_size} | {how} | {weights:.1f} | {lora:.1f} "
        f"| {activations:.1f} | {weights + lora + activations:.1f} |"
    )
    if recompute:
        assert weights + lora + activations < limit_gib
