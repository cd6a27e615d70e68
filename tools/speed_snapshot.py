"""Everything about speed that a machine can tell, within minutes.

For each model: base, noise network, a candidate of Best-of-N and an iteration of ReNO, single, in
eights and at the batch size that draws most images per second; a training step; the first of these
compiled. Time is shared out among the parts and files are written after each, so that a part which
takes too long, needs too much memory or fails costs no other part. What is missing for it is named
in the provenance and at the end, not left out in silence.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from harness.analysis.latency_table import latency
from harness.build.devices import default_device
from harness.build.generators import build_generator
from harness.build.rewards import build_reward
from harness.cli.profile import jobs_of
from harness.experiment.jobs import TimingJob
from harness.report.formats import markdown
from harness.results import frames, provenance
from harness.results.stage_names import END_TO_END
from harness.timing import machine, profile
from harness.timing.contenders import Contender, Task, contenders_of, models_of, prompts_of, task_of
from harness.timing.meter import Spans, stopwatch, watched
from hypernoise.models.protocol import Generator
from hypernoise.training.kinds import KINDS as TRAINABLE
from hypernoise.training.loop import Run, Training
from hypernoise.training.measurements import Row
from tools import command
from tools.speed_limits import EIGHT, Check, search_costs, targets
from tools.time_limits import TimeIsUp, time_limit
from tools.training_trace import options_of

#: Iterations and candidates are differences: three less one are two iterations, whatever a method
#: does once per image.
SEARCHES = ("best_of_n:n=1", "best_of_n:n=3", "reno:iterations=1", "reno:iterations=3")
#: The noise network that needs least memory first: of a model that fills a GPU, not all fit.
NETWORKS = (
    "hypernoise:merged=per_layer",
    "hypernoise:merged=in_place",
    "hypernoise",
    "hypernoise:merged=true",
)
#: What is in memory together with the base: searches need the room that copies of weights take.
GROUPS = (NETWORKS, SEARCHES)
#: What is compiled, the first of all models first.
_COMPILED = ((), NETWORKS[-1:], SEARCHES[2:])
KINDS = ("hypernoise", "lora_finetune")
#: A batch twice as large has to draw this much more per second to be worth it.
_WORTH = 1.05
#: Compiled images may differ from eager ones by this much of the pixels' range: float32 rounds in
#: another order; half precision rounds at each of a few hundred layers.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.05}
_TRAINING_STEPS = 6
#: Before the steps that are measured: the first one allocates.
_WARM_UP_STEPS = 1
#: More steps than are taken: the last one would be saved.
_NEVER = 1000
#: When the eager calls, then the training steps have to be done, as a share of the time.
_EAGER_BY, _TRAINING_BY = 0.6, 0.75


class Part(NamedTuple):
    """A part of a snapshot; ``run`` is told when it should be done, on the monotonic clock."""

    what: str
    run: Callable[[float], None]


@dataclass(frozen=True)
class Found:
    """What came of a snapshot so far.

    Attributes:
        rows: of timings.
        steps: rows of training steps.
        checks: of results, noted on the way.
        skipped: parts, or methods, without the time or the memory.
        failed: parts that raised another error.
        states: the machine's, after each part.
    """

    rows: list[pd.DataFrame] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=lambda: [machine.state()])

    def attempt(self, part: Part, until: float) -> None:
        """Do a part by then, or note what kept it from being done."""
        left = until - time.monotonic()
        if left <= 0:
            self.skipped.append(f"{part.what}: no time left")
            return
        try:
            with time_limit(left):
                part.run(until)
        except TimeIsUp:
            self.skipped.append(f"{part.what}: not finished within {left:.0f} s")
        except torch.OutOfMemoryError as error:
            self.no_room(part.what, error)
        except Exception as error:
            # A compiler that fails here must not cost what others measured on a borrowed GPU.
            traceback.print_exc()
            self.failed.append(f"{part.what}: {type(error).__name__}: {_first_line(error)}")
        finally:
            gc.collect()
            torch.cuda.empty_cache()
        self.states.append(machine.state())

    def no_room(self, what: str, error: torch.OutOfMemoryError) -> None:
        """Note what memory does not suffice for."""
        self.skipped.append(f"{what}: {_first_line(error)}")

    def all_checks(self) -> list[Check]:
        """Those noted on the way, and the targets of what has been measured."""
        table = latency(pd.concat(self.rows)) if self.rows else None
        return [*self.checks, *targets(table, pd.DataFrame(self.steps))]


@dataclass(frozen=True)
class Snapshot:
    """One model, and where its numbers go."""

    job: TimingJob
    found: Found

    @property
    def name(self) -> str:
        return self.job.model.name

    def ready(self, job: TimingJob, plain: Generator | None = None) -> list[Contender]:
        """The contenders of a job on this model, of which those without room are noted."""
        return contenders_of(job, models_of(job)[0], plain, self._no_room)

    def measure(
        self, job: TimingJob, contenders: Sequence[Contender], size: int, limit_s: float
    ) -> None:
        """Time contenders; calls count even where time is up before the last."""
        rows: list[dict[str, Any]] = []
        try:
            task, model = self.task(size), models_of(job)[0]
            for row in profile.rows_of(job, model, contenders, task, self._no_room, limit_s):
                rows.append(row)
        finally:
            # Of the call that was cut, the last row is missing.
            whole = {row["turn"] for row in rows if row["stage"] == END_TO_END}
            if whole:
                measured = pd.DataFrame([row for row in rows if row["turn"] in whole])
                self.found.rows.append(continued(measured, self.found.rows))

    def task(self, size: int) -> Task:
        """A call that makes so many images."""
        return task_of(prompts_of(self.job), size, self.job.model.steps)

    def check(self, check: str, value: float, limit: float) -> None:
        """Note a value that must not exceed its limit."""
        self.found.checks.append(Check(self.name, check, value, limit))

    def named(self, names: Sequence[str], **changes: Any) -> TimingJob:
        """The job of the base and of the methods of these names, in their order."""
        by_name = {timed.method.name: timed for timed in self.job.methods}
        methods = tuple(by_name[name] for name in ("base", *names))
        return replace(self.job, methods=methods, **changes)

    def _no_room(self, what: str, error: torch.OutOfMemoryError) -> None:
        self.found.no_room(f"{self.name} {what}", error)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")


def continued(rows: pd.DataFrame, earlier: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows whose turns and repeats come after those of all earlier rows."""
    done = max((int(each["turn"].max()) + 1 for each in earlier), default=0)
    done = max([done, *(int(each["repeat"].max()) + 1 for each in earlier)])
    return rows.assign(turn=rows["turn"] + done, repeat=rows["repeat"] + done)


def run(
    models: Sequence[str],
    out: Path,
    device: str,
    minutes: float,
    modes: Sequence[str],
    largest_batch: int,
    **given: Any,
) -> int:
    """Measure, and write CSVs with their provenance to a folder named after the device.

    Returns:
        The exit code: 1 if a part failed, for another reason than time or memory.

    Raises:
        ValueError, FileNotFoundError: a name or value is wrong; nothing has been measured then.
    """
    device = device or default_device()
    methods = ("base", *NETWORKS, *SEARCHES)
    jobs = jobs_of(models, methods, out, device=device, modes=("eager",), **given)
    for job in jobs:
        profile.check(replace(job, modes=tuple(modes)))
    torch.set_num_threads(jobs[0].threads)
    name = str(torch.cuda.get_device_name(0)) if device.startswith("cuda") else "cpu"
    folder = out / re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    found = Found()
    begin = time.monotonic()
    snapshots = [Snapshot(job, found) for job in jobs]
    for parts, share, is_shared in _phases(snapshots, modes, largest_batch):
        for index, part in enumerate(parts):
            left = begin + share * 60 * minutes - time.monotonic()
            found.attempt(part, time.monotonic() + left / (len(parts) - index if is_shared else 1))
            _write(found, folder, jobs)
    missed = [str(check) for check in found.all_checks() if not check.passed]
    for line in (*missed, *found.skipped, *found.failed):
        print(f"not as wanted: {line}")
    print(f"rows: {folder}")
    return 1 if found.failed else 0


def _phases(
    snapshots: Sequence[Snapshot], modes: Sequence[str], largest_batch: int
) -> Iterator[tuple[list[Part], float, bool]]:
    """Parts, when they have to be done (a share of all time), and whether they share it equally.

    Compilers are not hurried: each takes what is left, and the last ones may get nothing.
    """
    eager = [Part(f"{s.name} eager", partial(_eager, s, largest_batch)) for s in snapshots]
    steps = [
        Part(f"{s.name} training step of {kind}", partial(_train, s, kind))
        for s in snapshots
        for kind in KINDS
    ]
    compiled = [
        Part(f"{s.name} {mode} {' '.join(('base', *methods))}", partial(_mode, s, mode, methods))
        for mode in modes
        if mode != "eager"
        for methods in _COMPILED
        for s in snapshots
    ]
    yield eager, _EAGER_BY, True
    yield steps, _TRAINING_BY, True
    yield compiled, 1.0, False


def _eager(snapshot: Snapshot, largest_batch: int, until: float) -> None:
    job = snapshot.job
    plain = build_generator(models_of(job)[0], job.device)
    (base,) = contenders_of(snapshot.named(()), job.model, plain)
    images = base.call(snapshot.task(1), Spans(stopwatch("cpu"))).images
    good = tuple(images.shape) == (1, 3, *2 * (job.model.size_px,))
    good = good and bool(torch.isfinite(images).all())
    snapshot.check("image is finite and of the model's size", float(not good), 0.0)

    def seconds(size: int) -> float:
        call = base.timer(snapshot.task(size))
        return min(call()[END_TO_END] for _ in range(3))

    best = best_batch_size(seconds, largest_batch)
    sizes = sorted({1, min(EIGHT, largest_batch), best})
    for group, names in enumerate(GROUPS):
        grouped = snapshot.named(names)
        contenders = snapshot.ready(grouped, plain)
        for index, size in enumerate(sizes):
            n_left = (len(GROUPS) - group) * len(sizes) - index
            snapshot.measure(grouped, contenders, size, (until - time.monotonic()) / n_left)
        # The next group needs the memory.
        del contenders
        gc.collect()


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


def _mode(snapshot: Snapshot, mode: str, names: Sequence[str], until: float) -> None:
    """The base and other methods, eager and compiled in turns; images of the base compared."""
    job = snapshot.named(names, modes=("eager", mode), repeats=6)
    contenders = snapshot.ready(job)
    if not names:
        eager, other = contenders
        images = eager.call(snapshot.task(1), Spans(stopwatch("cpu"))).images
        with other.compiled.active():
            compiled = other.call(snapshot.task(1), Spans(stopwatch("cpu"))).images
        tolerance = _TOLERANCE[str(job.model.arguments.get("dtype", "float32"))]
        difference = float((compiled - images).abs().max())
        snapshot.check(f"{mode} image differs from eager", difference, tolerance)
    # The eager rows of this part are there to be compared with, and are in the first part already.
    model = replace(job.model, name=f"{snapshot.name} ({mode} and eager in turns)")
    snapshot.measure(replace(job, model=model), contenders, 1, until - time.monotonic())


def _train(snapshot: Snapshot, kind: str, _until: float) -> None:
    job = snapshot.job
    (model,) = models_of(job)
    generator = build_generator(model, job.device)
    assert job.reward is not None  # a snapshot names one
    reward = build_reward(job.reward, job.device)
    # On the device: hundreds of millions of random weights take the CPU seconds.
    with torch.device(job.device):
        options = options_of(job, kind, 1, _NEVER)
        objective = TRAINABLE[kind].build(generator, options)
    prompts = [(p.prompt_id, p.text) for p in prompts_of(job)[:8]]
    spans = Spans(stopwatch(job.device))

    def on_row(row: Row) -> None:
        taken, whole = spans.take(), row.values["seconds"]
        if row.step <= _WARM_UP_STEPS:
            return
        who = {"model": job.model.name, "method": kind, "batch_size": 1, "step": row.step}
        for stage, seconds in {**taken, "step": whole, "stages": sum(taken.values())}.items():
            cost = {"stage": stage, "ms": 1000 * seconds, "share": seconds / whole}
            snapshot.found.steps.append(who | cost)

    run = Run(Training(objective, reward, prompts, options, on_row=on_row))
    with watched(spans, generator, reward), run.recomputed():
        for _ in range(_WARM_UP_STEPS + _TRAINING_STEPS):
            run.advance()


def _write(found: Found, folder: Path, jobs: Sequence[TimingJob]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    checks = pd.DataFrame([check.row() for check in found.all_checks()])
    written = {"training_steps": pd.DataFrame(found.steps), "checks": checks}
    if found.rows:
        rows = frames.check(pd.concat(found.rows, ignore_index=True), frames.TIMINGS, "snapshot")
        table = latency(rows)
        written |= {"timings": rows, "latency": table, "searches": search_costs(table)}
        text = markdown(table, "The rows are in timings.csv, the machine in provenance.json.")
        (folder / "latency.md").write_text(text, encoding="utf-8")
    for name, frame in written.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.4g")
    facts: dict[str, Any] = {"jobs": [asdict(job) for job in jobs], "machine": found.states}
    facts |= {"skipped": found.skipped, "failed": found.failed}
    text = json.dumps(json.loads(provenance.collect("snapshot", facts)), indent=1)
    (folder / "provenance.json").write_text(text, encoding="utf-8")


def main(given: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = command.parser_of("speed_snapshot", __doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="all parts share these")
    modes = ("eager", "compiled")
    parser.add_argument("--modes", nargs="+", default=modes, help="eager, compiled, cuda_graphs")
    parser.add_argument("--largest-batch", type=int, default=64, metavar="N", help="to try")
    parser.add_argument("--repeats", type=int, default=12, metavar="N", help="calls per method")
    models = ("sd_turbo_random", "sana_sprint_0_6b_random", "flux_schnell_random")
    # Searches cost what their reward costs; this one needs no download.
    command.measuring_options(parser, models, "hpsv2_1_random", rank=128, out="results/snapshots")
    return command.main(parser, run, given)


if __name__ == "__main__":
    sys.exit(main())
