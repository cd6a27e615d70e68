"""Training steps under torch's profiler: a Chrome trace, and the share of each stage from it.

``python -m tools.training_trace``. The trace is for chrome://tracing or Perfetto; stages are
ranges in it beside torch's operators, so that whoever doubts the shares can look. The profiler
notes every operator, which costs more where operators are small.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.profiler import ProfilerActivity

from harness.build.devices import check_device, default_device
from harness.build.generators import build_generator, check_generator
from harness.build.methods import check_arguments
from harness.build.rewards import build_reward, check_reward
from harness.cli.profile import jobs_of
from harness.experiment.components import MethodSpec
from harness.experiment.jobs import TimingJob
from harness.results.stage_names import STAGES
from harness.timing.contenders import prompts_of
from harness.timing.meter import Spans, ranges, watched
from hypernoise.rewards.protocol import Reward
from hypernoise.training.kinds import KINDS
from hypernoise.training.loop import Training, train
from hypernoise.training.measurements import Row
from hypernoise.training.options import TrainingOptions
from tools import command

#: Steps in a trace, and before it: the first allocates, the second lets the profiler warm up.
TRACED_STEPS, SKIPPED_STEPS = 6, 2
OPTIMIZER, OTHER = "optimizer", "other"
#: What a step consists of; texts are encoded before the first one.
PARTS = (*STAGES[1:], OPTIMIZER, OTHER)
#: How torch names the ranges of a step and of the optimizer's part of it.
_STEP_RANGE, _OPTIMIZER_RANGE = "ProfilerStep#", "Optimizer.step#"
_PROMPTS = 64


def check(job: TimingJob) -> list[MethodSpec]:
    """Check a job without loading any network; returns its methods that train.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    check_device(job.device)
    if job.reward is None:
        raise ValueError("a training step needs a reward; name one with --reward")
    trained = [timed.method for timed in job.methods if timed.method.trains]
    if not trained:
        named = ", ".join(timed.method.name for timed in job.methods)
        raise ValueError(f"no training step to trace: nothing is trained for {named}")
    for method in trained:
        check_arguments(method)
    check_generator(job.model)
    check_reward(job.reward)
    prompts_of(job)
    return trained


def trace(job: TimingJob) -> list[Path]:
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
            path = Path(job.out) / f"{name}.json.gz"
            _trace(job, str(method.trains), reward, batch_size, path)
            stages_of(path).to_csv(path.with_name(f"{name}.csv"), index=False)
            made.append(path)
    return made


def options_of(job: TimingJob, kind: str, batch_size: int, steps: int) -> TrainingOptions:
    """How a few steps of a job's model are trained: measured one by one, and nothing validated."""
    options = {
        "steps": steps,
        "batch_size": batch_size,
        "rank": job.rank,
        "alpha": float(job.rank),
        "precision": "bf16" if job.device.startswith("cuda") else "fp32",
        "sync_every": 1,
        "checkpoint_every": steps,
        "validate_every": steps,
        "gradient_checkpointing": job.model.size_px > 64,
    }
    return KINDS[kind].checked(KINDS[kind].known(options))


def stages_of(trace: Path) -> pd.DataFrame:
    """The parts of every step of a trace.

    Returns:
        Rows with step, part (of :data:`PARTS`), ms and share of the step's time.
    """
    with gzip.open(trace, "rt", encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    noted = [event for event in events if event.get("cat") == "user_annotation"]
    rows = []
    for step in noted:
        if not step["name"].startswith(_STEP_RANGE):
            continue
        number = int(step["name"].removeprefix(_STEP_RANGE))
        us = dict.fromkeys(PARTS, 0.0)
        for event in noted:
            name = event["name"]
            part = OPTIMIZER if name.startswith(_OPTIMIZER_RANGE) else name
            if part in PARTS and 0 <= event["ts"] - step["ts"] < step["dur"]:
                us[part] += event["dur"]
        us[OTHER] = step["dur"] - sum(us.values())
        rows += [(number, part, us[part] / 1000, us[part] / step["dur"]) for part in PARTS]
    return pd.DataFrame(rows, columns=["step", "part", "ms", "share"])


def median_shares(parts: pd.DataFrame) -> pd.DataFrame:
    """A row per part: median ms and share over the steps of :func:`stages_of`."""
    medians = parts.groupby("part")[["ms", "share"]].median()
    return medians.loc[list(PARTS)].reset_index()


def in_stages(parts: pd.DataFrame) -> float:
    """Median share of a step in noise network, backbone, VAE and reward, forward and backward."""
    of_stages = parts[parts["part"].isin(STAGES)]
    return float(of_stages.groupby("step")["share"].sum().median())


def _trace(job: TimingJob, kind: str, reward: Reward, batch_size: int, trace: Path) -> None:
    generator = build_generator(replace(job.model, encodings=""), job.device)
    options = options_of(job, kind, batch_size, SKIPPED_STEPS + TRACED_STEPS)
    objective = KINDS[kind].build(generator, options)
    prompts = [(p.prompt_id, p.text) for p in prompts_of(job)[:_PROMPTS]]
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

        training = Training(objective, reward, prompts, options, Path(folder), on_row=on_row)
        train(training)


def run(
    models: Sequence[str], out: Path, device: str, methods: Sequence[str], **given: Any
) -> None:
    """Trace training steps of models, and print the shares of their stages.

    Raises:
        ValueError, FileNotFoundError: a name or value is wrong; nothing has been traced then.
    """
    jobs = jobs_of(models, methods, out, device=device or default_device(), **given)
    jobs = [replace(job, out=str(out)) for job in jobs]
    checked = [check(job) for job in jobs]
    for timed in jobs[0].methods:
        if timed.method not in checked[0]:
            print(f"{timed.method.name} trains nothing: there is no training step to trace")
    for path in (path for job in jobs for path in trace(job)):
        parts = stages_of(path)
        print(median_shares(parts).to_string(index=False, float_format="%.3f"))
        print(f"in noise network, backbone, VAE and reward: {in_stages(parts):.1%}")
        print(f"trace: {path}")


def main(given: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = command.parser_of("training_trace", __doc__)
    parser.add_argument("--methods", nargs="+", default=("hypernoise",), metavar="METHOD")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=(1,), metavar="N")
    command.measuring_options(parser, ("tiny_sd",), "matcher", rank=8, out="results/traces")
    return command.main(parser, run, given)


if __name__ == "__main__":
    sys.exit(main())
