"""Train a noise network, or fine-tune the generator, and keep every checkpoint's adapter."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from harness.build.devices import default_device, free_memory_bytes
from harness.build.encodings import prepare
from harness.build.generators import build_generator, check_generator, generator_files
from harness.build.memory_peaks import check_step
from harness.build.prompts import load_prompts, prompt_texts
from harness.build.rewards import build_reward, check_reward, reward_files
from harness.experiment.components import SpecError, unknown
from harness.experiment.jobs import TrainJob, job_hash
from harness.results import frames
from harness.results.resume import Work
from harness.results.training_folder import CHECKPOINTS, NETWORK_FILES, STEPS_FILE
from hypernoise.networks import kinds
from hypernoise.training.loop import (
    Prompt,
    Row,
    Trained,
    TrainingDiverged,
    TrainingOptions,
    Validation,
    train,
)
from hypernoise.training.processes import Processes, joined


@dataclass(frozen=True)
class Plan:
    """A checked job."""

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
        hypernoise.training.loop.TrainingDiverged: a loss or gradient is not finite; the checkpoints
            so far stay in the work folder.
    """
    with joined() as processes:
        _train(job, processes)


def _train(job: TrainJob, processes: Processes) -> None:
    torch.set_num_threads(max(1, job.threads // processes.count))
    plan = check(job, processes.count)
    work = _open_work(job, plan) if processes.is_first else None
    processes.wait()
    folder = Path(job.work)
    device = default_device()
    generator = build_generator(job.model, device)
    prepare(generator, [text for _, text in plan.all_prompts], processes)
    reward = build_reward(job.reward, device)
    judges = {name: build_reward(spec, device) for name, spec in job.extra_rewards.items()}
    objective = kinds.build(str(job.method.trains), generator, plan.options)
    validation = Validation(plan.validation_prompts, job.validation_images, judges)
    trained = train(
        objective,
        generator,
        reward,
        plan.prompts,
        plan.options,
        folder,
        validation,
        progress=f"train {job.model.name} {job.method.name} on {job.reward.name}",
        processes=processes,
    )
    _check_finite(trained)
    if work:
        _publish(job, trained, folder)
        work.remove()


def _open_work(job: TrainJob, plan: Plan) -> Work:
    rewards = [job.reward, *job.extra_rewards.values()]
    files = [file for reward in rewards for file in reward_files(reward)]
    inputs = [*generator_files(job.model), *files]
    return Work(job.work, job_hash(job, inputs, plan.all_prompts))


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
    if "reward" in job.extra_rewards:
        raise SpecError("an extra reward cannot be called 'reward': that is the training reward")
    options = _options(job)
    check_generator(job.model)
    for reward in (job.reward, *job.extra_rewards.values()):
        check_reward(reward)
    if default_device() == "cuda":
        check_step(job.model, job.method.trains, options, n_processes, free_memory_bytes("cuda"))
    prompts = prompt_texts(load_prompts(job.train_prompts))
    validation_prompts = prompt_texts(load_prompts(job.validation_prompts))
    return Plan(options, prompts, validation_prompts)


def to_frame(job: TrainJob, rows: Iterable[Row]) -> pd.DataFrame:
    """Measurements as training rows, one per quantity."""
    records: list[dict[str, Any]] = [
        {
            "model": job.model.name,
            "method": job.method.name,
            "reward": job.reward.name,
            "kind": row.kind,
            "step": row.step,
            "name": name,
            "value": float(value),
        }
        for row in rows
        for name, value in row.values.items()
    ]
    return pd.DataFrame(records, columns=frames.TRAINING.names)


def _options(job: TrainJob) -> TrainingOptions:
    known = [entry.name for entry in fields(TrainingOptions)]
    for name in job.options:
        if name not in known:
            raise unknown("training option", name, known)
    if "steps" not in job.options:
        raise SpecError("training options lack 'steps'")
    return TrainingOptions(**job.options)


def _check_finite(trained: Trained) -> None:
    # The last steps may have ruined the network without another loss to show it.
    for row in trained.rows:
        for name, value in row.values.items():
            if not math.isfinite(value):
                raise TrainingDiverged(row.step, f"{row.kind} {name} is {value}", None)


def _publish(job: TrainJob, trained: Trained, folder: Path) -> None:
    # The frame comes last: where it exists, the adapters do.
    out = Path(job.out)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    _copy_adapter(folder, out)
    for checkpoint in trained.checkpoints:
        _copy_adapter(checkpoint, out / CHECKPOINTS / checkpoint.name)
    frames.write(to_frame(job, trained.rows), out / STEPS_FILE, frames.TRAINING, job)


def _copy_adapter(source: Path, target: Path) -> None:
    """Copy a trained network's two files into a folder, which is made."""
    target.mkdir(parents=True, exist_ok=True)
    for name in NETWORK_FILES:
        shutil.copyfile(source / name, target / name)
