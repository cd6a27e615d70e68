"""Train a noise network, or fine-tune the generator, and keep every checkpoint's adapter."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from harness.base.errors import SpecError
from harness.build.descriptions import describe, publish
from harness.build.devices import default_device, free_memory_bytes
from harness.build.encodings import prepare
from harness.build.generators import (
    build_generator,
    check_generator,
    generator_files,
    text_encoder_bytes,
)
from harness.build.memory_peaks import check_step
from harness.build.prompt_cuts import Cuts, cuts, lengths_of, lengths_to, warn
from harness.build.prompts import load_prompts, prompt_texts
from harness.build.rewards import (
    build_reward,
    check_gradient,
    check_reward_of,
    reward_files,
)
from harness.experiment.identity import job_hash
from harness.experiment.jobs import TrainJob
from harness.results import frames
from harness.results.resume import Work
from harness.results.training_folder import (
    CHECKPOINTS,
    STEPS_FILE,
    network_hashes,
)
from harness.results.weight_hashes import hashes
from harness.stages.trackers import check_installed, tracking
from hypernoise.durable_files import sync_all
from hypernoise.models.protocol import Generator
from hypernoise.rewards.protocol import Reward
from hypernoise.training.checkpoints import newest_checkpoint, read_rows
from hypernoise.training.kinds import Kind, kind_of
from hypernoise.training.loop import Training, train
from hypernoise.training.measurements import Prompt, Row, check_finite
from hypernoise.training.options import TrainingOptions
from hypernoise.training.processes import Processes, joined
from hypernoise.training.validation import Validation


@dataclass(frozen=True)
class Plan:
    """A checked job."""

    kind: Kind
    options: TrainingOptions
    prompts: list[Prompt]
    validation_prompts: list[Prompt]

    @property
    def all_prompts(self) -> list[Prompt]:
        return self.prompts + self.validation_prompts


def run(job: TrainJob) -> None:
    """Train, or continue a killed training, and publish adapter, checkpoints and measurements.

    Under ``torchrun`` or ``accelerate launch`` all processes train together, and share the job's
    threads.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first).
        TrainingDiverged: a loss or gradient is not finite; the checkpoints so far stay in the work
            folder.
    """
    with joined() as processes:
        _train(job, processes)


def _train(job: TrainJob, processes: Processes) -> None:
    torch.set_num_threads(max(1, job.threads // processes.count))
    plan = check(job, processes.count)
    work, weights = None, {}
    if processes.is_first:
        weights = hashes(job.weights)
        rewards = [job.reward, *job.extra_rewards.values()]
        inputs = generator_files(job.model)
        inputs += [file for reward in rewards for file in reward_files(reward)]
        identity = job_hash(job, inputs, plan.all_prompts)
        work = Work(job.work, identity, Path(job.out) / STEPS_FILE)
    device = default_device()
    if processes.any(work is not None and work.is_done, device):
        return
    folder = Path(job.work)
    generator = build_generator(job.model, device)
    kept, passing = ([text for _, text in own] for own in (plan.validation_prompts, plan.prompts))
    prepare(generator, kept, processes, passing=passing)
    reward = build_reward(job.reward, device)
    judges = {name: build_reward(spec, device) for name, spec in job.extra_rewards.items()}
    training = Training(
        plan.kind.build(generator, plan.options),
        reward,
        plan.prompts,
        plan.options,
        folder,
        Validation(plan.validation_prompts, job.validation_images, judges),
        processes=processes,
    )
    last = newest_checkpoint(folder) if job.trackers else None
    with tracking(job if work else None, read_rows(last) if last else ()) as tell:
        training = replace(training, on_row=tell)
        trained = train(training, f"train {job.model.name} {job.method.name} on {job.reward.name}")
    for row in trained.rows:
        # The last steps may have ruined the network without another loss to show it.
        check_finite(row.values, row.step, f" of the {row.kind}")
    if work:
        # The frame comes last: where it exists, the adapters do.
        out = Path(job.out)
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        told = describe(job, trained.rows[-1].step, generator)
        publish(folder, out, told, for_diffusers=True)
        for checkpoint in trained.checkpoints:
            step = int(checkpoint.name.removeprefix("step_"))
            at_step = told.model_copy(update={"step": step})
            publish(checkpoint, out / CHECKPOINTS / checkpoint.name, at_step)
        sync_all(out)
        facts = {
            "weights": weights,
            "outputs": network_hashes(out),
            "cut_prompts": _cuts(job, plan, generator, {"reward": reward, **judges}),
        }
        frames.write(to_frame(job, trained.rows), out / STEPS_FILE, frames.TRAINING, job, **facts)
        work.remove()


def check(job: TrainJob, n_processes: int = 1) -> Plan:
    """Check a job without loading any network.

    Args:
        job: the job.
        n_processes: how many processes will train together, each with a GPU.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    if job.method.trains is None:
        raise SpecError(f"method {job.method.name!r} trains nothing")
    check_installed(job.trackers)
    if "reward" in job.extra_rewards:
        raise SpecError("an extra reward cannot be called 'reward': that is the training reward")
    kind = kind_of(job.method.trains)
    options = kind.checked(job.options)
    check_generator(job.model)
    if options.follows_gradient:
        check_gradient(job.reward, f"training {job.method.name!r}")
    for reward in (job.reward, *job.extra_rewards.values()):
        check_reward_of(reward, job.model)
    if default_device() == "cuda":
        free = free_memory_bytes("cuda") - text_encoder_bytes(job.model)
        check_step(job.model, options, n_processes, free)
    prompts = prompt_texts(load_prompts(job.train_prompts))
    validation_prompts = prompt_texts(load_prompts(job.validation_prompts))
    return Plan(kind, options, prompts, validation_prompts)


def _cuts(
    job: TrainJob, plan: Plan, generator: Generator, rewards: Mapping[str, Reward]
) -> dict[str, Cuts]:
    """Component and kind of prompts -> which of them it cut. To the model those are unknown that no
    step drew; judges see those of the validation alone."""
    kinds = {"train": dict(plan.prompts), "validation": dict(plan.validation_prompts)}
    seen = [("model " + job.model.name, lengths_of(generator), kinds)]
    for name, reward in rewards.items():
        spec = job.extra_rewards.get(name, job.reward)
        own = {kind: kinds[kind] for kind in kinds if spec is job.reward or kind == "validation"}
        texts = [text for prompts in own.values() for text in prompts.values()]
        seen.append(("reward " + spec.name, lengths_to(reward, texts), own))
    found = {f"{c}, {k}": cuts(known, of[k]) for c, known, of in seen for k in of}
    for component, own in found.items():
        warn(component, own)
    return found


def to_frame(job: TrainJob, rows: Iterable[Row]) -> pd.DataFrame:
    """Measurements as training rows, one per quantity."""
    seed = kind_of(str(job.method.trains)).checked(job.options).seed
    records: list[dict[str, Any]] = [
        {
            "model": job.model.name,
            "method": job.method.name,
            "reward": job.reward.name,
            "training_seed": seed,
            "kind": row.kind,
            "step": row.step,
            "name": name,
            "value": float(value),
        }
        for row in rows
        for name, value in row.values.items()
    ]
    return pd.DataFrame(records, columns=frames.TRAINING.names)
