"""``python -m harness profile --model … --methods …``: latencies without any workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.analysis.interval_columns import with_interval
from harness.analysis.latency_table import latency as latency_table
from harness.build.devices import default_device
from harness.experiment.component_files import declared, method_variant
from harness.experiment.jobs import LatencyJob
from harness.report.formats import for_people
from harness.results import frames
from harness.timing import latency
from tools import training_trace

#: Columns that are printed; the file has them all.
_SHOWN = (
    "model",
    "method",
    "mode",
    "batch_size",
    *with_interval("latency_ms"),
    *with_interval("ratio_to_base"),
    "nfe",
    "gflops",
    "peak_memory_mib",
)


def run(
    model: Sequence[str] | None,
    methods: Sequence[str],
    out: Path,
    components: Path,
    reward: str = "",
    benchmark: str = "shapeworld",
    batch_sizes: Sequence[int] = (1,),
    steps: Sequence[int] = (),
    sizes_px: Sequence[int] = (),
    precisions: Sequence[str] = (),
    modes: Sequence[str] = ("eager",),
    repeats: int = 20,
    rank: int = 8,
    threads: int = 1,
    device: str = "",
    trace: bool = False,
) -> None:
    """Measure models one after another; a file each in ``out``, and a table on the screen.

    With ``trace``, trace their training steps instead (:mod:`tools.training_trace`).

    Raises:
        ValueError, FileNotFoundError: a name or value is wrong; nothing has been measured then.
    """
    if not model:
        raise ValueError("name a model with --model, or give the workflow's job with --job")
    registry = declared(components)
    jobs = [
        LatencyJob(
            model=registry.find(registry.models, "model", name),
            methods=tuple(method_variant(registry, text) for text in methods),
            prompts=registry.find(registry.benchmarks, "benchmark", benchmark).prompts,
            out=str(out / f"{name}.parquet"),
            reward=registry.reward(reward) if reward else None,
            batch_sizes=tuple(batch_sizes),
            sampling_steps=tuple(steps),
            sizes_px=tuple(sizes_px),
            precisions=tuple(precisions),
            modes=tuple(modes),
            repeats=repeats,
            rank=rank,
            device=device,
            threads=threads,
        )
        for name in model
    ]
    if trace:
        _trace([replace(job, out=str(out), device=device or default_device()) for job in jobs])
        return
    for job in jobs:
        latency.check(job)
    for job in jobs:
        latency.run(job)
        table = latency_table(frames.read(job.out, "latencies"), methods=methods)
        print(for_people(table[list(_SHOWN)]).to_string(index=False))
        print(f"rows: {job.out}")


def _trace(jobs: Sequence[LatencyJob]) -> None:
    checked = [training_trace.check(job) for job in jobs]
    for name in [method.name for method in jobs[0].methods if method not in checked[0]]:
        print(f"{name} trains nothing: there is no training step to trace")
    for job in jobs:
        for path in training_trace.run(job):
            parts = training_trace.stages_of(path)
            print(training_trace.median_shares(parts).to_string(index=False, float_format="%.3f"))
            print(
                f"in noise network, backbone, VAE and reward: {training_trace.in_stages(parts):.1%}"
            )
            print(f"trace: {path}")
