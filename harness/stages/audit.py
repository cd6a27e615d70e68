"""The KL terms that a training drops, at its checkpoints, and a table of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from harness.base.errors import SpecError
from harness.build.devices import default_device
from harness.build.generators import build_generator, check_generator, generator_files
from harness.build.methods import check_adapter, check_arguments
from harness.build.prompts import load_prompts, meaning_of, prompt_texts
from harness.experiment.identity import job_hash
from harness.experiment.jobs import AuditJob
from harness.results import frames
from harness.results.resume import Work
from harness.results.training_folder import STEPS_FILE, checkpoints_of
from harness.results.weight_hashes import hashes
from hypernoise.errors import checked
from hypernoise.models.protocol import Conditioning, encode_in_chunks
from hypernoise.networks.audit_options import AuditOptions
from hypernoise.networks.kl_audit import audit
from hypernoise.networks.protocol import NoiseMover
from hypernoise.noise import image_noise, image_seed
from hypernoise.progress import Progress
from hypernoise.training.kinds import kind_of

_TERMS = ("half_squared_norm", "inner_product", "trace", "log_abs_det", "dropped", "kl")
_ERRORS = ("trace_se", "log_abs_det_se", "dropped_se")


@dataclass(frozen=True)
class Plan:
    """A checked job: checkpoints by their step, the kept step, prompts, and what is done."""

    checkpoints: Mapping[int, Path]
    kept: int
    prompts: Sequence[Any]
    options: AuditOptions


def run(job: AuditJob) -> None:
    """Audit checkpoints on every prompt and noise; a killed job goes on where it was.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first), or a
            displacement is not finite.
    """
    torch.set_num_threads(job.threads)
    plan = check(job)
    weights = hashes(job.weights)
    texts = prompt_texts(plan.prompts)
    inputs = [*generator_files(job.model), *map(str, plan.checkpoints.values())]
    work = Work(job.work, job_hash(job, inputs, texts), job.out)
    if work.is_done:
        return
    done = {(row["step"], row["prompt_id"], row["image_index"]): row for row in work.rows()}
    total = len(plan.checkpoints) * len(plan.prompts) * job.n_images
    name = f"audit {job.model.name} {job.method.name}"
    with Progress(name, total, "noises", len(done)) as progress:
        for step in plan.checkpoints:
            for row in _audit_checkpoint(job, plan, step, done):
                work.add([row])
                done[row["step"], row["prompt_id"], row["image_index"]] = row
                progress.update()
    rows = pd.DataFrame(list(done.values()), columns=frames.AUDITS.names)
    # A column that is nowhere known is no number to pandas.
    unknowns = rows.astype({"sign": "float64", "bound_nats": "float64"})
    rows = unknowns.sort_values(list(frames.AUDITS.key))
    frames.write(rows, job.out, frames.AUDITS, job, weights=weights)
    work.remove()


def check(job: AuditJob) -> Plan:
    """Check a job without loading any network.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    options, prompts = check_ahead(job)
    training = Path(job.training)
    rows = frames.read(training / STEPS_FILE, frames.TRAINING)
    kept = int(rows.loc[rows["kind"] == "kept", "step"].iloc[0])
    saved = checkpoints_of(training)
    if kept not in saved:
        raise FileNotFoundError(f"{training} kept step {kept}, whose checkpoint is missing")
    for folder in saved.values():
        check_adapter(job.method, str(folder))
    steps = sorted({kept, *spread(list(saved), job.checkpoints)})
    return Plan({step: saved[step] for step in steps}, kept, prompts, options)


def check_ahead(job: AuditJob) -> tuple[AuditOptions, list[Any]]:
    """As :func:`check`, for a network that may be yet to be trained; options and prompts."""
    if not kind_of(str(job.method.trains)).moves_noise:
        raise SpecError(f"method {job.method.name!r} does not move noise: nothing to audit")
    options = checked(AuditOptions, job.options, "audit option")
    check_arguments(job.method)
    check_generator(job.model)
    return options, load_prompts(job.prompts)


def spread(items: Sequence[int], n: int) -> list[int]:
    """At most ``n`` of some items, evenly from the first to the last; one alone is the last."""
    chosen = np.linspace(len(items) - 1, 0, min(n, len(items))).round().astype(int)
    return [items[index] for index in sorted(set(chosen.tolist()))]


def _audit_checkpoint(
    job: AuditJob, plan: Plan, step: int, done: Mapping[tuple[Any, ...], Any]
) -> Iterator[dict[str, Any]]:
    """The rows of a checkpoint that are not done yet."""
    wanted = [
        (row, prompt, index)
        for row, prompt in enumerate(plan.prompts)
        for index in range(job.n_images)
        if (step, prompt.prompt_id, index) not in done
    ]
    if not wanted:
        return
    device = default_device()
    generator = build_generator(job.model, device)
    trained = kind_of(str(job.method.trains)).load(generator, plan.checkpoints[step])
    network = cast(NoiseMover, trained)
    texts = [text for _, text in prompt_texts(plan.prompts)]
    encoded = encode_in_chunks(generator.encode, texts).to(device)
    if job.precision != "float32":
        # The network's LoRA is among the backbone's modules.
        generator.backbone.double()
        tensors = encoded.tensors.items()
        doubled = {n: t.double() if t.is_floating_point() else t for n, t in tensors}
        encoded = replace(encoded, tensors=doubled)
    for row, prompt, index in wanted:
        own = encoded.rows([row])

        def displacement(noise: Tensor, own: Conditioning = own) -> Tensor:
            return network.delta(noise, own.rows([0] * len(noise)))

        who = (job.seed, prompt.prompt_id, index)
        noise = image_noise(*who, generator.noise_shape).to(device, getattr(torch, job.precision))
        measured = audit(displacement, noise, plan.options, image_seed(*who, "audit"))
        yield {
            "model": job.model.name,
            "method": job.method.name,
            "reward": job.reward,
            "training_seed": job.method.training_seed,
            "step": step,
            "is_kept": step == plan.kept,
            "prompt_id": prompt.prompt_id,
            "prompt_meaning": meaning_of(prompt),
            "task": prompt.task,
            "image_index": index,
            "seed": job.seed,
            "n_dimensions": measured.n_dimensions,
            "exact": measured.exact,
            **{f"{name}_nats": getattr(measured, name) for name in (*_TERMS, *_ERRORS)},
            "sign": measured.sign,
            "largest_singular_value": measured.largest_singular_value,
            "smallest_singular_value": measured.smallest_singular_value,
            "bound_nats": measured.bound,
        }
