"""Training steps under torch's profiler: a Chrome trace, and the share of each stage from it.

``python -m harness profile --trace``. The trace is for chrome://tracing or Perfetto; stages are
ranges in it beside torch's operators, so that whoever doubts the shares can look. The profiler
notes every operator, which costs more where operators are small.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.profiler import ProfilerActivity

from harness.build.devices import check_device
from harness.build.generators import build_generator, check_generator
from harness.build.methods import check_arguments
from harness.build.prompts import load_prompts
from harness.build.rewards import build_reward, check_reward
from harness.experiment.components import MethodSpec
from harness.experiment.jobs import LatencyJob
from harness.timing.meter import Spans, ranges, watched
from harness.timing.stage_names import STAGES
from hypernoise.networks import kinds
from hypernoise.rewards.protocol import Reward
from hypernoise.training.loop import Row, TrainingOptions, train

#: Steps in a trace, and before it: the first allocates, the second lets the profiler warm up.
TRACED_STEPS, SKIPPED_STEPS = 6, 2
OPTIMIZER, OTHER = "optimizer", "other"
#: What a step consists of; texts are encoded before the first one.
PARTS = (*STAGES[1:], OPTIMIZER, OTHER)
#: How torch names the ranges of a step and of the optimizer's part of it.
_STEP_RANGE, _OPTIMIZER_RANGE = "ProfilerStep#", "Optimizer.step#"
_PROMPTS = 64


def check(job: LatencyJob) -> list[MethodSpec]:
    """Check a job without loading any network; returns its methods that train.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    check_device(job.device)
    if job.reward is None:
        raise ValueError("a training step needs a reward; name one with --reward")
    trained = [method for method in job.methods if method.trains]
    if not trained:
        named = ", ".join(method.name for method in job.methods)
        raise ValueError(f"no training step to trace: nothing is trained for {named}")
    for method in trained:
        check_arguments(method)
    check_generator(job.model)
    check_reward(job.reward)
    load_prompts(job.prompts)
    return trained


def run(job: LatencyJob) -> list[Path]:
    """Trace training steps of every method that trains, at every batch size.

    Returns:
        The traces, in the folder ``job.out``, and beside each its shares as CSV.
    """
    torch.set_num_threads(job.threads)
    assert job.reward is not None  # checked
    reward = build_reward(job.reward, job.device)
    made = []
    for method in check(job):
        for batch_size in job.batch_sizes:
            name = f"{job.model.name}_{method.trains}_batch_{batch_size}"
            trace = Path(job.out) / f"{name}.json.gz"
            _trace(job, str(method.trains), reward, batch_size, trace)
            stages_of(trace).to_csv(trace.with_name(f"{name}.csv"), index=False)
            made.append(trace)
    return made


def options_of(job: LatencyJob, batch_size: int, steps: int) -> TrainingOptions:
    """How a few steps of a job's model are trained: measured one by one, and nothing validated."""
    return TrainingOptions(
        steps=steps,
        batch_size=batch_size,
        rank=job.rank,
        alpha=float(job.rank),
        precision="bf16" if job.device.startswith("cuda") else "fp32",
        sync_every=1,
        checkpoint_every=steps,
        validate_every=steps,
        gradient_checkpointing=job.model.size_px > 64,
    )


def stages_of(trace: Path) -> pd.DataFrame:
    """The parts of every step of a trace.

    Returns:
        Rows with step, part (of :data:`PARTS`), ms and share of the step's time.
    """
    with gzip.open(trace, "rt", encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    noted = [event for event in events if event.get("cat") == "user_annotation"]
    return pd.DataFrame(_rows(noted), columns=["step", "part", "ms", "share"])


def median_shares(parts: pd.DataFrame) -> pd.DataFrame:
    """A row per part: median ms and share over the steps of :func:`stages_of`."""
    medians = parts.groupby("part")[["ms", "share"]].median()
    return medians.loc[list(PARTS)].reset_index()


def in_stages(parts: pd.DataFrame) -> float:
    """Median share of a step in noise network, backbone, VAE and reward, forward and backward."""
    of_stages = parts[parts["part"].isin(STAGES)]
    return float(of_stages.groupby("step")["share"].sum().median())


def _rows(noted: Sequence[dict[str, Any]]) -> Iterator[tuple[int, str, float, float]]:
    for step in noted:
        if not step["name"].startswith(_STEP_RANGE):
            continue
        number = int(step["name"].removeprefix(_STEP_RANGE))
        us = dict.fromkeys(PARTS, 0.0)
        for event in noted:
            part = _part(event["name"])
            if part and 0 <= event["ts"] - step["ts"] < step["dur"]:
                us[part] += event["dur"]
        us[OTHER] = step["dur"] - sum(us.values())
        yield from ((number, part, us[part] / 1000, us[part] / step["dur"]) for part in PARTS)


def _part(name: str) -> str:
    if name.startswith(_OPTIMIZER_RANGE):
        return OPTIMIZER
    return name if name in PARTS else ""


def _trace(job: LatencyJob, kind: str, reward: Reward, batch_size: int, trace: Path) -> None:
    generator = build_generator(replace(job.model, encodings=""), job.device)
    options = options_of(job, batch_size, SKIPPED_STEPS + TRACED_STEPS)
    objective = kinds.build(kind, generator, options)
    prompts = [(p.prompt_id, p.text) for p in load_prompts(job.prompts)[:_PROMPTS]]
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if job.device.startswith("cuda") else []
    schedule = torch.profiler.schedule(wait=1, warmup=1, active=TRACED_STEPS, repeat=1)
    trace.parent.mkdir(parents=True, exist_ok=True)
    spans = Spans(ranges(job.device))
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.profiler.profile(
            activities=activities,
            schedule=schedule,
            on_trace_ready=lambda profile: profile.export_chrome_trace(str(trace)),
        ) as profile,
        watched(spans, generator, reward),
    ):

        def on_row(_row: Row) -> None:
            spans.take()
            profile.step()

        train(objective, generator, reward, prompts, options, Path(folder), None, on_row)
