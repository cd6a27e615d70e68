"""The most memory that a training step takes, counted without a GPU and without the memory.

The step is the trainer's own: forward passes, what gradient checkpointing repeats, backward pass,
reward and optimizer. Its tensors have shapes and no values (:mod:`harness.timing.live_memory`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.build.generators import build_generator
from harness.build.memory_peaks import GIB, RECORDED, TRAINS, StepPeak, savings_of, write
from harness.build.rewards import build_reward
from harness.experiment.component_files import declared
from harness.experiment.components import RANDOM_WEIGHTS, ModelSpec, RewardSpec
from harness.timing.live_memory import NETWORKS, TRAINED, LiveMemory, without_values
from hypernoise.models.loading import free_text_encoders
from hypernoise.models.protocol import Conditioning, CutsPrompts, Generator
from hypernoise.networks.protocol import Trainable
from hypernoise.rewards.protocol import Reward
from hypernoise.training.kinds import KINDS
from hypernoise.training.loop import Run, Training
from hypernoise.training.options import TrainingOptions
from tools import command

REDNESS = RewardSpec("redness", "hypernoise.rewards.redness:Redness", version=1)
_TEXT = "a photo of a bench"
#: More steps than are taken, so that none is the last, which would read values.
_NEVER = 1000
#: Models whose steps are recorded, and how their VAE saves memory.
_RECORDED = (
    ("sd_turbo", ""),
    ("sana_sprint_0_6b", ""),
    ("sana_sprint_0_6b", "slicing"),
    ("sana_sprint_0_6b", "tiling"),
    ("sana_sprint_1_6b", ""),
    ("sana_sprint_1_6b", "slicing"),
    ("sana_sprint_1_6b", "tiling"),
    ("flux_schnell", ""),
    ("sdxl_turbo", ""),
    ("flux2_klein_4b", "slicing"),
    ("z_image_turbo", "slicing"),
    ("sd3_5_medium_turbo", "slicing"),
    ("qwen_image_lightning_4steps", "slicing"),
    ("qwen_image_lightning_8steps", "slicing"),
    ("sdxl_lightning", "slicing"),
    ("hyper_sdxl", "slicing"),
    ("dmd2_sdxl", "slicing"),
    ("lcm_lora_sdxl", "slicing"),
)


class Peak(NamedTuple):
    """Bytes at the moment when a step holds most.

    Attributes:
        networks: backbone, VAE and the reward's networks.
        trained: LoRA, its gradients, the optimizer's moments.
        forward: kept for the backward pass, and casts of weights.
        backward: made in the backward pass: blocks that are repeated, gradients of activations.
    """

    networks: int
    trained: int
    forward: int
    backward: int


def count(
    model: ModelSpec, reward: RewardSpec, trains: str, options: TrainingOptions, gpu: bool = True
) -> Peak:
    """The peak of a training step, in bytes, with nothing allocated.

    Args:
        model: one whose architecture is known; text encoders are gone, as in a training with
            ``encodings``.
        reward: a reward; its networks are made on the meta device.
        trains: what is trained (:data:`hypernoise.training.kinds.KINDS`).
        options: of the training.
        gpu: with a GPU's autocast (:func:`harness.timing.live_memory.without_values`).
    """
    plain = replace(model, weights=RANDOM_WEIGHTS, revision="", encodings="")
    generator, judge = build_generator(plain, "meta"), build_reward(reward, "meta")
    with torch.device("meta"):
        objective = KINDS[trains].build(generator, options)
    memory = LiveMemory()
    with without_values(gpu):
        for network in (*_networks_in(generator.pipeline.components), *_networks_in(judge)):
            network.to_empty(device="cpu")
        _encode_once(generator)
        _encode_once(judge)
        free_text_encoders(generator.pipeline)
        with memory:
            return step_peak(memory, objective, generator, judge, options)


def step_peak(
    memory: LiveMemory,
    objective: Trainable,
    generator: Generator,
    reward: Reward,
    options: TrainingOptions,
) -> Peak:
    """The peak of a training's step, with the optimizer's moments, which the first step lacks.

    Args:
        memory: the counter, active.
        objective: what is trained; networks may be real or without values.
        generator: its generator.
        reward: what is raised.
        options: of the training.
    """
    never = dict.fromkeys(("steps", "validate_every", "checkpoint_every", "sync_every"), _NEVER)
    count_steps = options.changed(**never, keep="last")
    prompts = [(str(row), _TEXT) for row in range(options.batch_size)]
    run = Run(Training(objective, reward, prompts, count_steps))
    for network in (generator.backbone, generator.pipeline.vae, *_networks_in(reward)):
        memory.assign((*network.parameters(), *network.buffers()), NETWORKS)
    memory.assign(run.parameters, TRAINED)
    hooks = [
        p.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
            lambda p: memory.assign([p.grad], TRAINED)
        )
        for p in run.parameters
    ]
    # A step without gradients to speak of makes the moments.
    for parameter in run.parameters:
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    moments = run.optimizer.state.values()
    memory.assign((m for s in moments for m in s.values() if isinstance(m, Tensor)), TRAINED)
    memory.forget_peak()
    with run.recomputed():
        run.advance()
    for hook in hooks:
        hook.remove()
    return Peak(**memory.peak)


def _networks_in(value: Any) -> Iterator[nn.Module]:
    """Networks that an object, or what it is made of, has as attributes."""
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _networks_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _networks_in(each)
    elif type(value).__module__.startswith("hypernoise."):
        yield from _networks_in(vars(value))


def _encode_once(encoder: Any) -> None:
    """Let every prompt have the encoding of one, as if it were read from a file."""
    with torch.no_grad():
        found = encoder.longest(1) if isinstance(encoder, CutsPrompts) else encoder.encode([_TEXT])
        tensors = found.tensors

    def encode(prompts: Sequence[str]) -> Conditioning:
        shapes = {name: (len(prompts), *value.shape[1:]) for name, value in tensors.items()}
        zeros = {n: torch.zeros(shape, dtype=tensors[n].dtype) for n, shape in shapes.items()}
        return Conditioning(zeros, tuple(prompts))

    encoder.__dict__.update(encode=encode)


def recorded_peak(model: ModelSpec, recompute: bool) -> StepPeak:
    """What :mod:`harness.build.memory_peaks` records of a model, from a step with one image and
    with two.

    Args:
        model: as declared, but for ``vae_savings``.
        recompute: with gradient checkpointing.
    """
    options = RECORDED.changed(gradient_checkpointing=recompute)
    counts = (count(model, REDNESS, TRAINS, options.changed(batch_size=n)) for n in (1, 2))
    one, two = counts
    return StepPeak(
        model.name,
        model.size_px,
        savings_of(model),
        recompute,
        networks_gib=one.networks / GIB,
        trained_gib=one.trained / GIB,
        first_gib=(one.forward + one.backward) / GIB,
        next_gib=(sum(two) - sum(one)) / GIB,
    )


def run(out: Path) -> None:
    """Count everything that is recorded again, and write the file."""
    models = declared(Path("workflows")).models
    peaks = []
    for name, savings in _RECORDED:
        declared_as = models[f"{name}_random"]
        arguments = {**declared_as.arguments, "vae_savings": [savings] if savings else []}
        for recompute in (True, False):
            peaks.append(recorded_peak(replace(declared_as, arguments=arguments), recompute))
            # Each takes minutes: what is counted is kept.
            write(peaks, out)
            print(peaks[-1], flush=True)


def main(given: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = command.parser_of("step_memory", __doc__)
    file = Path("harness/build/memory_peaks.csv")
    parser.add_argument("--out", type=Path, default=file, help="CSV; default: %(default)s")
    return command.main(parser, run, given)


if __name__ == "__main__":
    sys.exit(main())
