"""What methods cost, stage by stage: time, operations, memory, parameters.

Methods take turns (A B A B), so that whatever else the machine does falls on all of them alike.
Each (method, mode) makes one image, is called until two calls in a row agree within 5 % or two
seconds have passed, and is then timed, in further calls. Stages: :mod:`harness.timing.meter`.
Each row says how busy the machine was, and calls that other work disturbed are made again:
:mod:`harness.timing.machine_speed`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch

from harness.build.devices import check_device, dtype_of
from harness.build.generators import check_generator
from harness.build.methods import (
    check_adapter,
    check_arguments,
    check_method_for,
    check_search,
)
from harness.build.rewards import check_reward_of
from harness.experiment.components import ModelSpec
from harness.experiment.jobs import TimingJob
from harness.experiment.methods import check_sampling
from harness.results import frames
from harness.results.stage_names import END_TO_END, GENERATION, STAGES
from harness.results.weight_hashes import hashes
from harness.timing import machine, machine_speed
from harness.timing.contenders import (
    Contender,
    NoRoom,
    Task,
    contenders_of,
    models_of,
    prompts_of,
    raise_it,
    task_of,
)
from harness.timing.turns import (
    MIN_REPEATS,
    affordable,
    interleaved,
    repeats_of,
    warm_up,
)
from hypernoise.compilation import MODES
from hypernoise.errors import check_choice
from hypernoise.models.protocol import check_steps
from hypernoise.progress import Progress


def run(job: TimingJob) -> None:
    """Time every combination of a job and write the rows.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first).
    """
    check(job)
    began = time.monotonic()
    weights = hashes(job.weights)
    torch.set_num_threads(job.threads)
    before = machine.state()
    prompts = prompts_of(job)
    rows: list[dict[str, Any]] = []
    for model in models_of(job):
        contenders = contenders_of(job, model)
        for steps in job.sampling_steps or (model.steps,):
            for size in sorted(job.batch_sizes, reverse=True):
                rows += rows_of(job, model, contenders, task_of(prompts, size, steps))
    states = [before, machine.state()]
    facts = {"machine": states, "weights": weights, "wall_s": time.monotonic() - began}
    frames.write(pd.DataFrame(rows), job.out, frames.TIMINGS, job, **facts)


def check(job: TimingJob) -> None:
    """Check a job without loading any network.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    check_ahead(job)
    for timed in job.methods:
        if timed.adapter:
            check_adapter(timed.method, timed.adapter)


def check_ahead(job: TimingJob) -> None:
    """As :func:`check`, for networks that may be yet to be trained."""
    check_device(job.device)
    for name in ("methods", "batch_sizes"):
        if not getattr(job, name):
            raise ValueError(f"{name} are empty, must name at least one")
    for name in ("batch_sizes", "sizes_px"):
        if min(getattr(job, name), default=1) < 1:
            raise ValueError(f"{name} must be at least 1, got {min(getattr(job, name))}")
    for steps in job.sampling_steps:
        check_steps(steps)
    if job.repeats < MIN_REPEATS:
        raise ValueError(f"repeats must be at least {MIN_REPEATS}, got {job.repeats}")
    for mode in job.modes:
        check_choice("mode", mode, MODES)
    for timed in job.methods:
        check_arguments(timed.method)
        check_method_for(timed.method, job.model)
        if timed.method.needs_reward and job.reward is None:
            raise ValueError(f"method {timed.method.name!r} searches for a reward; name one")
        if job.searched:
            check_search(timed.method, job.searched)
    for model in models_of(job):
        dtype_of(_precision(model), model.file)
        check_generator(model)
        least = min(job.sampling_steps or (model.steps,))
        for timed in job.methods:
            check_sampling(timed.method, least, f"timing on {model.name}")
    if job.searched:
        check_reward_of(job.searched, job.model)
    prompts_of(job)


def _precision(model: ModelSpec) -> str:
    return str(model.arguments.get("dtype", "float32"))


class _Lane(NamedTuple):
    """A contender on one task, warmed up.

    Attributes:
        call: makes a call; gives seconds by stage.
        warm: those of the last call of the warm-up, which say how often to call; no timing.
        gflops: operations by stage.
        constant: what all rows have in common.
    """

    call: Callable[[], Mapping[str, float]]
    warm: Mapping[str, float]
    gflops: Mapping[str, float]
    constant: Mapping[str, Any]


def _warm(job: TimingJob, model: ModelSpec, contender: Contender, task: Task) -> _Lane:
    call = contender.timer(task)
    if contender.mode != "eager":
        # Compiles for the shapes of this task; one image was made before all tasks.
        call()
    warm = warm_up(call)
    gflops = contender.gflops(task) if job.operations else {}
    rewarded = contender.spec.needs_reward or contender.spec.trains is not None
    constant = {
        "model": job.model.name,
        "method": contender.spec.name,
        "reward": job.reward.name if job.reward and rewarded else "",
        "training_seed": contender.spec.training_seed,
        "steps": task.steps,
        "batch_size": len(task.items),
        "size_px": model.size_px,
        "precision": _precision(model),
        "mode": contender.mode,
        "device": torch.device(contender.device).type,
        "nfe": contender.nfe,
        "params_m": contender.params_m,
        "backbone_params_m": contender.backbone_params_m,
        "peak_memory_mib": contender.peak_memory_mib(task) if job.peak_memory else math.nan,
        "threads": torch.get_num_threads(),
    }
    return _Lane(call, warm, gflops, constant)


def rows_of(
    job: TimingJob,
    model: ModelSpec,
    contenders: Sequence[Contender],
    task: Task,
    no_room: NoRoom = raise_it,
    limit_s: float = math.inf,
) -> Iterator[dict[str, Any]]:
    """Time contenders in turns on one task.

    Args:
        job: says how often, and what is counted.
        model: that of :func:`harness.timing.contenders.models_of` which the contenders run.
        contenders: those of :func:`harness.timing.contenders.contenders_of`.
        task: what a call makes.
        no_room: called for contenders that run out of memory, which are left out.
        limit_s: what it should take at most; calls get fewer for it, but not below
            :data:`harness.timing.turns.MIN_REPEATS`.

    Yields:
        Rows of :data:`harness.results.frames.TIMINGS`, a call's stages in order, as it was made.
    """
    deadline = time.monotonic() + limit_s
    label = f"time {job.model.name}, batch {len(task.items)}, steps {task.steps}"
    lanes = []
    progress = Progress(f"{label}, warm-up", len(contenders), "methods")
    for contender in progress.each(contenders):
        try:
            lanes.append(_warm(job, model, contender, task))
        except torch.OutOfMemoryError as error:
            no_room(f"{contender.spec.name}, batch {len(task.items)}", error)
    wanted = repeats_of([lane.warm[GENERATION] for lane in lanes], job.repeats)
    whole = [lane.warm[END_TO_END] for lane in lanes]
    wanted = affordable(whole, wanted, deadline - time.monotonic())
    order = interleaved(wanted)
    progress = Progress(label, len(order), "calls")
    counts: Counter[int] = Counter()
    device = contenders[0].device if contenders else "cpu"
    speed = machine_speed.of(device, torch.get_num_threads())
    timed = zip(order, speed.steady([lanes[i].call for i in order], deadline), strict=True)
    for turn, (i, (spans, slowdown)) in enumerate(progress.each(timed)):
        for stage in (name for name in (*STAGES, GENERATION, END_TO_END) if name in spans):
            yield dict(lanes[i].constant) | {
                "stage": stage,
                "repeat": counts[i],
                "turn": turn,
                "ms": 1000 * spans[stage] / len(task.items),
                "gflops": lanes[i].gflops.get(stage, math.nan),
                "slowdown": slowdown,
            }
        counts[i] += 1
