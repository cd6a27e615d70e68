"""Everything about speed that a machine can tell, within minutes: ``python -m harness snapshot``.

For each model: base, noise network, a candidate of Best-of-N and an iteration of ReNO, single and
at the batch size that draws most images per second; a training step; the first of these compiled.
What there is no time or memory left for is named in the provenance, not left out in silence.
"""

from __future__ import annotations

import gc
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from harness import frames, latency, machine, provenance
from harness.components import build_generator, build_reward, default_device, load_prompts
from harness.declared import declared, method_variant
from harness.jobs import LatencyJob
from harness.latency import Contender, Task, task_of
from harness.latency_table import latency as latency_table
from harness.specs import Registry
from harness.stage_names import END_TO_END
from harness.stages import Spans, stopwatch, watched
from harness.table_formats import markdown
from harness.traces import options_of
from hypernoise.lora_networks import build
from hypernoise.training import Row, train

#: Iterations and candidates are differences: three less one are two iterations, whatever a method
#: does once per image.
SEARCHES = ("best_of_n:n=1", "best_of_n:n=3", "reno:iterations=1", "reno:iterations=3")
METHODS = ("base", "hypernoise", "hypernoise:merged=true", "hypernoise:merged=per_layer")
KINDS = ("hypernoise", "lora_finetune")
#: A batch twice as large has to draw this much more per second to be worth it.
_WORTH = 1.05
_LARGEST_BATCH = 64
#: Compiled images may differ from eager ones by this much of the pixels' range: float32 rounds in
#: another order; half precision rounds at each of a few hundred layers.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.05}
_TRAINING_STEPS = 6


@dataclass(frozen=True)
class Snapshot:
    """What is measured, and what came of it so far."""

    registry: Registry
    job: LatencyJob
    deadline: float
    rows: list[pd.DataFrame]
    steps: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    skipped: list[str]

    def attempt(self, what: str, unit: Callable[[], None]) -> None:
        """Do one part if time is left; too little memory ends the part and not the snapshot."""
        if time.monotonic() > self.deadline:
            self.skipped.append(f"{what}: no time left")
            return
        try:
            unit()
        except torch.OutOfMemoryError as error:
            self.skipped.append(f"{what}: {str(error).splitlines()[0]}")
        finally:
            gc.collect()
            torch.cuda.empty_cache()


def run(
    models: Sequence[str],
    out: Path,
    components: Path,
    reward: str,
    benchmark: str = "shapeworld",
    minutes: float = 10.0,
    modes: Sequence[str] = ("eager", "compiled"),
    repeats: int = 12,
    rank: int = 128,
    threads: int = 1,
    device: str = "",
    largest_batch: int = _LARGEST_BATCH,
) -> None:
    """Measure, then write CSVs with their provenance to a folder named after the device.

    Raises:
        ValueError, FileNotFoundError: a name or value is wrong; nothing has been measured then.
    """
    registry = declared(components)
    device = device or default_device()
    shared = LatencyJob(
        model=registry.find(registry.models, "model", models[0]),
        methods=tuple(method_variant(registry, text) for text in (*METHODS, *SEARCHES)),
        prompts=registry.find(registry.benchmarks, "benchmark", benchmark).prompts,
        out="",
        reward=registry.reward(reward),
        modes=("eager",),
        repeats=repeats,
        rank=rank,
        device=device,
        threads=threads,
    )
    found = [registry.find(registry.models, "model", name) for name in models]
    jobs = [replace(shared, model=model) for model in found]
    for job in jobs:
        latency.check(replace(job, modes=tuple(modes)))
    torch.set_num_threads(threads)
    states = [machine.state()]
    deadline = time.monotonic() + 60 * minutes
    empty = Snapshot(registry, jobs[0], deadline, [], [], [], [])
    _measure([replace(empty, job=job) for job in jobs], modes, largest_batch)
    states.append(machine.state())
    _write(empty, out / _slug(device), [asdict(job) for job in jobs], states)


def _measure(snapshots: Sequence[Snapshot], modes: Sequence[str], largest_batch: int) -> None:
    """All parts, those that matter most of all models first: time may run out."""
    for snapshot in snapshots:
        name = snapshot.job.model.name
        snapshot.attempt(f"{name} eager", lambda s=snapshot: _eager(s, largest_batch))  # type: ignore[misc]
    for snapshot in snapshots:
        for kind in KINDS:
            what = f"{snapshot.job.model.name} training step of {kind}"
            snapshot.attempt(what, lambda s=snapshot, k=kind: _train(s, k))  # type: ignore[misc]
    for snapshot in snapshots:
        for mode in modes:
            if mode != "eager":
                what = f"{snapshot.job.model.name} {mode}"
                snapshot.attempt(what, lambda s=snapshot, m=mode: _other_mode(s, m))  # type: ignore[misc]


def _eager(snapshot: Snapshot, largest_batch: int) -> None:
    job = snapshot.job
    base = replace(job, methods=job.methods[:1], reward=None)
    for size in sorted({1, _best_of_base(snapshot, base, largest_batch)}):
        snapshot.rows.append(latency.measured(replace(job, batch_sizes=(size,)))[0])


def _best_of_base(snapshot: Snapshot, base: LatencyJob, largest: int) -> int:
    (contender,) = latency.contenders_of(base, replace(base.model, encodings=""))
    _check_images(snapshot, contender)
    return best_batch_size(lambda size: _seconds(contender, _task(base, size)), largest)


def best_batch_size(seconds: Callable[[int], float], largest: int) -> int:
    """The batch size of most images per second, doubling for as long as that is worth it.

    Args:
        seconds: duration of one call with so many images; may run out of GPU memory.
        largest: where to stop.
    """
    best, rate = 1, 1 / seconds(1)
    while 2 * best <= largest:
        try:
            doubled = 2 * best / seconds(2 * best)
        except torch.OutOfMemoryError:
            break
        if doubled < _WORTH * rate:
            break
        best, rate = 2 * best, doubled
    return best


def _seconds(contender: Contender, task: Task) -> float:
    spans = Spans(stopwatch(contender.device))
    taken = []
    for _ in range(3):
        contender.call(task, spans)
        taken.append(spans.take()[END_TO_END])
    return min(taken)


def _task(job: LatencyJob, size: int) -> Task:
    return task_of(load_prompts(job.prompts), size, job.model.steps)


def _check_images(snapshot: Snapshot, contender: Contender) -> None:
    images = contender.call(_task(snapshot.job, 1), Spans(stopwatch("cpu"))).images
    side = snapshot.job.model.size_px
    good = tuple(images.shape) == (1, 3, side, side) and bool(torch.isfinite(images).all())
    _note(snapshot, "image is finite and of the model's size", float(not good), 0.0)


def _note(snapshot: Snapshot, check: str, value: float, limit: float) -> None:
    snapshot.checks.append(
        {
            "model": snapshot.job.model.name,
            "check": check,
            "value": value,
            "limit": limit,
            "passed": value <= limit,
        }
    )


def _other_mode(snapshot: Snapshot, mode: str) -> None:
    """Base, merged noise network and ReNO, eager and compiled in turns; images compared."""
    wanted = ("base", "hypernoise:merged=true", "reno:iterations=1", "reno:iterations=3")
    methods = tuple(m for m in snapshot.job.methods if m.name in wanted)
    job = replace(snapshot.job, methods=methods, modes=("eager", mode), repeats=6)
    model = replace(job.model, encodings="")
    pair = latency.contenders_of(replace(job, methods=methods[:1], reward=None), model)
    task, spans = _task(job, 1), Spans(stopwatch("cpu"))
    eager = pair[0].call(task, spans).images
    with pair[1].compiled.active():
        difference = float((pair[1].call(task, spans).images - eager).abs().max())
    precision = str(model.arguments.get("dtype", "float32"))
    _note(snapshot, f"{mode} image differs from eager", difference, _TOLERANCE[precision])
    del pair
    rows = latency.measured(job)[0]
    # The eager rows of this part are there to be compared with, and are in the first part already.
    snapshot.rows.append(rows.assign(model=rows["model"] + f" ({mode} beside eager)"))


def _train(snapshot: Snapshot, kind: str) -> None:
    job = snapshot.job
    device = job.device
    generator = build_generator(replace(job.model, encodings=""), device)
    assert job.reward is not None  # a snapshot names one
    reward = build_reward(job.reward, device)
    objective = build(kind, generator, job.rank, float(job.rank))
    options = options_of(job, 1, _TRAINING_STEPS)
    prompts = [(p.prompt_id, p.text) for p in load_prompts(job.prompts)[:8]]
    spans = Spans(stopwatch(device))

    def on_row(row: Row) -> None:
        snapshot.steps.extend(_step_rows(job, kind, row, spans.take()))

    with tempfile.TemporaryDirectory() as folder, watched(spans, generator, reward):
        train(objective, generator, reward, prompts, options, Path(folder), None, on_row, False)


def _step_rows(
    job: LatencyJob, kind: str, row: Row, spans: dict[str, float]
) -> Iterator[dict[str, Any]]:
    who = {"model": job.model.name, "method": kind, "batch_size": 1, "step": row.step}
    whole = row.values["seconds"]
    # Texts are encoded before the first step.
    parts = {stage: seconds for stage, seconds in spans.items() if stage != "text_encoding"}
    for stage, seconds in {**parts, "step": whole, "stages": sum(parts.values())}.items():
        yield who | {"stage": stage, "latency_ms": 1000 * seconds, "share": seconds / whole}


def _slug(device: str) -> str:
    name = torch.cuda.get_device_name(0) if device.startswith("cuda") else "cpu"
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _write(
    snapshot: Snapshot, folder: Path, jobs: list[dict[str, Any]], states: list[dict[str, Any]]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if snapshot.rows:
        rows = pd.concat(snapshot.rows, ignore_index=True)
        frames.check(rows, "latencies", "snapshot").to_csv(
            folder / "latencies.csv", index=False, float_format="%.4g"
        )
        table = latency_table(rows)
        table.to_csv(folder / "latency.csv", index=False)
        text = markdown(table, "The rows are in latencies.csv, the machine in provenance.json.")
        (folder / "latency.md").write_text(text, encoding="utf-8")
    pd.DataFrame(snapshot.steps).to_csv(folder / "training_steps.csv", index=False)
    pd.DataFrame(snapshot.checks).to_csv(folder / "checks.csv", index=False)
    facts = {"jobs": jobs, "machine": states, "skipped": snapshot.skipped}
    text = provenance.collect("snapshot", facts)
    (folder / "provenance.json").write_text(json.dumps(json.loads(text), indent=1), "utf-8")
    failed = [check for check in snapshot.checks if not check["passed"]]
    for line in [*map(str, failed), *snapshot.skipped]:
        print(f"not as wanted: {line}")
    print(f"rows: {folder}")
