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
from typing import Any

import pandas as pd
import torch

from harness.analysis.latency_table import latency as latency_table
from harness.build.devices import default_device
from harness.build.generators import build_generator
from harness.build.rewards import build_reward
from harness.cli.profile import jobs_of
from harness.experiment.jobs import Timed, TimingJob
from harness.report.formats import markdown
from harness.results import frames, provenance
from harness.results.stage_names import END_TO_END
from harness.timing import machine, profile
from harness.timing.contenders import Contender, Task, contenders_of, models_of, prompts_of, task_of
from harness.timing.meter import Spans, stopwatch, watched
from hypernoise.models.protocol import Generator
from hypernoise.networks.lora_networks import build
from hypernoise.training.loop import Row, Run
from hypernoise.training.processes import ALONE
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
#: What is in memory together, beside the base: searches need the room that copies of weights take.
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
#: More steps than are taken: the last one would be saved.
_NEVER = 1000
#: When the eager calls, then the training steps have to be done, as a share of the time.
_EAGER_BY, _TRAINING_BY = 0.6, 0.75


@dataclass(frozen=True)
class Found:
    """What came of a snapshot so far.

    Attributes:
        rows: of timings.
        steps: rows of training steps.
        checks: of results and targets.
        skipped: parts, or methods, without the time or the memory.
        failed: parts that raised another error.
        states: the machine's, after each part.
    """

    rows: list[pd.DataFrame] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """A part of a snapshot; ``run`` is told when it should be done, on the monotonic clock."""

    what: str
    run: Callable[[float], None]

    def attempt(self, found: Found, until: float) -> None:
        """Do it by then, or note what kept it from being done."""
        left = until - time.monotonic()
        if left <= 0:
            found.skipped.append(f"{self.what}: no time left")
            return
        try:
            with time_limit(left):
                self.run(until)
        except TimeIsUp:
            found.skipped.append(f"{self.what}: not finished within {left:.0f} s")
        except torch.OutOfMemoryError as error:
            found.skipped.append(f"{self.what}: {_first_line(error)}")
        except Exception as error:
            # A compiler that fails here must not cost what others measured on a borrowed GPU.
            traceback.print_exc()
            found.failed.append(f"{self.what}: {type(error).__name__}: {_first_line(error)}")
        finally:
            gc.collect()
            torch.cuda.empty_cache()
        found.states.append(machine.state())


@dataclass(frozen=True)
class Snapshot:
    """One model, and where its numbers go."""

    job: TimingJob
    found: Found

    @property
    def name(self) -> str:
        return self.job.model.name

    def no_room(self, what: str, error: torch.OutOfMemoryError) -> None:
        """Note a method that memory does not suffice for."""
        self.found.skipped.append(f"{self.name} {what}: {_first_line(error)}")

    def check(self, check: str, value: float, limit: float) -> None:
        """Note a value that must not exceed its limit."""
        self.found.checks.append(Check(self.name, check, value, limit))

    def measure(
        self, job: TimingJob, contenders: Sequence[Contender], size: int, limit_s: float
    ) -> None:
        """Time contenders; calls count even where time is up before the last."""
        (model,) = models_of(job)
        rows: list[dict[str, Any]] = []
        task = _task(job, size)
        try:
            for row in profile.rows_of(job, model, contenders, task, self.no_room, limit_s):
                rows.append(row)
        finally:
            if whole := _of_whole_calls(rows):
                self.found.rows.append(continued(pd.DataFrame(whole), self.found.rows))


def _of_whole_calls(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those of a call whose last row is missing: time was up among them."""
    whole = {row["turn"] for row in rows if row["stage"] == END_TO_END}
    return [row for row in rows if row["turn"] in whole]


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")


def continued(rows: pd.DataFrame, earlier: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows whose turns, and repeats of a method, go on from those of earlier rows like them.

    Args:
        rows: of one model, batch size and mode of comparison.
        earlier: other rows of a snapshot, each frame likewise.
    """
    same = ["model", "batch_size", "steps"]
    before = [each for each in earlier if (each[same].iloc[0] == rows[same].iloc[0]).all()]
    if not before:
        return rows
    past = pd.concat(before)
    who = ["method", "reward", "mode"]
    last = past.groupby(who)["repeat"].max().to_dict()
    keys = zip(*(rows[name] for name in who), strict=True)
    done = pd.Series([last.get(key, -1) + 1 for key in keys], index=rows.index)
    return rows.assign(turn=rows["turn"] + past["turn"].max() + 1, repeat=rows["repeat"] + done)


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
    return _measure(jobs, modes, largest_batch, 60 * minutes, out / _slug(device))


def _measure(
    jobs: Sequence[TimingJob],
    modes: Sequence[str],
    largest_batch: int,
    seconds: float,
    folder: Path,
) -> int:
    found = Found(states=[machine.state()])
    snapshots = [Snapshot(job, found) for job in jobs]
    begin = time.monotonic()
    for parts, share, is_shared in _phases(snapshots, modes, largest_batch):
        for index, part in enumerate(parts):
            left = begin + share * seconds - time.monotonic()
            part.attempt(found, time.monotonic() + left / (len(parts) - index if is_shared else 1))
            _write(found, folder, jobs)
    for line in _not_as_wanted(found):
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
    (model,) = models_of(job)
    plain = build_generator(model, job.device)
    best = _best_of_base(snapshot, plain, largest_batch)
    sizes = sorted({1, min(EIGHT, largest_batch), best})
    for group, names in enumerate(GROUPS):
        grouped = replace(job, methods=_named(job, names))
        contenders = contenders_of(grouped, model, plain, snapshot.no_room)
        for index, size in enumerate(sizes):
            n_left = (len(GROUPS) - group) * len(sizes) - index
            snapshot.measure(grouped, contenders, size, (until - time.monotonic()) / n_left)
        # The next group needs the memory.
        del contenders
        gc.collect()


def _named(job: TimingJob, names: Sequence[str]) -> tuple[Timed, ...]:
    """The base and the methods of these names, in their order."""
    by_name = {timed.method.name: timed for timed in job.methods}
    return tuple(by_name[name] for name in ("base", *names))


def _best_of_base(snapshot: Snapshot, plain: Generator, largest: int) -> int:
    base = replace(snapshot.job, methods=_named(snapshot.job, ()))
    (contender,) = contenders_of(base, base.model, plain)
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


def _task(job: TimingJob, size: int) -> Task:
    return task_of(prompts_of(job), size, job.model.steps)


def _check_images(snapshot: Snapshot, contender: Contender) -> None:
    images = contender.call(_task(snapshot.job, 1), Spans(stopwatch("cpu"))).images
    side = snapshot.job.model.size_px
    good = tuple(images.shape) == (1, 3, side, side) and bool(torch.isfinite(images).all())
    snapshot.check("image is finite and of the model's size", float(not good), 0.0)


def _mode(snapshot: Snapshot, mode: str, names: Sequence[str], until: float) -> None:
    """The base, and methods beside it, eager and compiled in turns; images of the base compared."""
    job = replace(
        snapshot.job, methods=_named(snapshot.job, names), modes=("eager", mode), repeats=6
    )
    (model,) = models_of(job)
    contenders = contenders_of(job, model, None, snapshot.no_room)
    if not names:
        _compare(snapshot, mode, contenders[0], contenders[1])
    # The eager rows of this part are there to be compared with, and are in the first part already.
    named = replace(job, model=replace(job.model, name=f"{snapshot.name} ({mode} beside eager)"))
    snapshot.measure(named, contenders, 1, until - time.monotonic())


def _compare(snapshot: Snapshot, mode: str, eager: Contender, other: Contender) -> None:
    task, spans = _task(snapshot.job, 1), Spans(stopwatch("cpu"))
    images = eager.call(task, spans).images
    with other.compiled.active():
        difference = float((other.call(task, spans).images - images).abs().max())
    precision = str(snapshot.job.model.arguments.get("dtype", "float32"))
    snapshot.check(f"{mode} image differs from eager", difference, _TOLERANCE[precision])


def _train(snapshot: Snapshot, kind: str, _until: float) -> None:
    job = snapshot.job
    (model,) = models_of(job)
    generator = build_generator(model, job.device)
    assert job.reward is not None  # a snapshot names one
    reward = build_reward(job.reward, job.device)
    # On the device: hundreds of millions of random weights take the CPU seconds.
    with torch.device(job.device):
        objective = build(kind, generator, job.rank, float(job.rank))
    prompts = [(p.prompt_id, p.text) for p in prompts_of(job)[:8]]
    spans = Spans(stopwatch(job.device))

    def on_row(row: Row) -> None:
        snapshot.found.steps.extend(_step_rows(job, kind, row, spans.take()))

    options = options_of(job, 1, _NEVER)
    run = Run(objective, generator, reward, prompts, options, Path(), None, on_row, ALONE)
    with watched(spans, generator, reward), run.recomputed():
        for _ in range(_TRAINING_STEPS):
            run.advance()


def _step_rows(
    job: TimingJob, kind: str, row: Row, spans: dict[str, float]
) -> Iterator[dict[str, Any]]:
    who = {"model": job.model.name, "method": kind, "batch_size": 1, "step": row.step}
    whole = row.values["seconds"]
    for stage, seconds in {**spans, "step": whole, "stages": sum(spans.values())}.items():
        yield who | {"stage": stage, "ms": 1000 * seconds, "share": seconds / whole}


def _slug(device: str) -> str:
    name = torch.cuda.get_device_name(0) if device.startswith("cuda") else "cpu"
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _not_as_wanted(found: Found) -> list[str]:
    failed = [str(check) for check in _checks(found) if not check.passed]
    return [*failed, *found.skipped, *found.failed]


def _checks(found: Found) -> list[Check]:
    """Those noted on the way, and the targets of what has been measured."""
    table = latency_table(pd.concat(found.rows)) if found.rows else None
    return [*found.checks, *targets(table, pd.DataFrame(found.steps))]


def _write(found: Found, folder: Path, jobs: Sequence[TimingJob]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if found.rows:
        rows = pd.concat(found.rows, ignore_index=True)
        frames.check(rows, "timings", "snapshot").to_csv(
            folder / "timings.csv", index=False, float_format="%.4g"
        )
        table = latency_table(rows)
        table.to_csv(folder / "latency.csv", index=False)
        search_costs(table).to_csv(folder / "searches.csv", index=False, float_format="%.4g")
        text = markdown(table, "The rows are in timings.csv, the machine in provenance.json.")
        (folder / "latency.md").write_text(text, encoding="utf-8")
    pd.DataFrame(found.steps).to_csv(folder / "training_steps.csv", index=False)
    checks = pd.DataFrame([check.row() for check in _checks(found)])
    checks.to_csv(folder / "checks.csv", index=False, float_format="%.4g")
    facts = {
        "jobs": [asdict(job) for job in jobs],
        "machine": found.states,
        "skipped": found.skipped,
        "failed": found.failed,
    }
    text = provenance.collect("snapshot", facts)
    (folder / "provenance.json").write_text(json.dumps(json.loads(text), indent=1), "utf-8")


def main(given: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = command.parser_of("speed_snapshot", __doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="all parts share these")
    parser.add_argument(
        "--modes", nargs="+", default=("eager", "compiled"), help="eager, compiled, cuda_graphs"
    )
    parser.add_argument("--largest-batch", type=int, default=64, metavar="N", help="to try")
    parser.add_argument("--repeats", type=int, default=12, metavar="N", help="calls per method")
    models = ("sd_turbo_random", "sana_sprint_0_6b_random", "flux_schnell_random")
    # Searches cost what their reward costs; this one needs no download.
    command.measuring_options(parser, models, "hpsv2_1_random", rank=128, out="results/snapshots")
    return command.main(parser, run, given)


if __name__ == "__main__":
    sys.exit(main())
