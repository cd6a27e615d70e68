"""``python -m harness profile --model … --methods …``: timings without any workflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.analysis.interval_columns import with_interval
from harness.analysis.latency_table import latency
from harness.base.atomic_files import output_file
from harness.experiment.component_files import declared
from harness.experiment.jobs import Timed, TimingJob
from harness.experiment.methods import method_variant
from harness.report.formats import for_people
from harness.results import frames
from harness.timing import profile

#: Columns that are printed; the file has them all.
_SHOWN = (
    "model",
    "method",
    "mode",
    "batch_size",
    *with_interval("generation_ms"),
    *with_interval("end_to_end_ms"),
    *with_interval("ratio_to_base"),
    "nfe",
    "gflops",
    "peak_memory_mib",
)


def jobs_of(
    models: Sequence[str],
    methods: Sequence[str],
    out: Path,
    components: Sequence[Path],
    reward: str,
    benchmark: str,
    steps: Sequence[int] = (),
    **given: Any,
) -> list[TimingJob]:
    """A job for each model, with an untrained network for each method that trains one.

    Args:
        models, methods, reward, benchmark: names of declared components; an empty reward is none.
        out: folder that gets a file for each model.
        components: folder of the declarations.
        steps: sampling steps; the model's own if empty.
        given: other fields of the job.

    Raises:
        ValueError, FileNotFoundError: a name is unknown, or the declarations are broken.
    """
    registry = declared(*components)
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return [
        TimingJob(
            model=registry.find(registry.models, "model", name),
            methods=tuple(Timed(method_variant(registry, text)) for text in methods),
            benchmark=registry.find(registry.benchmarks, "benchmark", benchmark),
            out=str(out / f"{name}.parquet"),
            reward=registry.reward(reward) if reward else None,
            sampling_steps=tuple(steps),
            **options,
        )
        for name in models
    ]


def run(model: Sequence[str] | None, methods: Sequence[str], **given: Any) -> None:
    """Measure models one after another; a file each in the folder, and a table on the screen.

    Raises:
        ValueError, FileNotFoundError: a name or value is wrong; nothing has been measured then.
    """
    if not model:
        raise ValueError("name a model with --model, or give the workflow's job with --job")
    jobs = jobs_of(model, methods, **given)
    for job in jobs:
        output_file(job.out)
        profile.check(job)
    for job in jobs:
        profile.run(job)
        table = latency(frames.read(job.out, "timings"), methods=methods)
        print(for_people(table[list(_SHOWN)]).to_string(index=False))
        print(f"rows: {job.out}")
