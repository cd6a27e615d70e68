"""What methods cost, stage by stage: latency, operations, memory, parameters.

Methods take turns (A B A B), so that whatever else the machine does falls on all of them alike. A
call goes from texts to images, text encoding included. Each (method, mode) is called once to
compile and allocate, then until two calls in a row agree within 5 % or two seconds have passed.
Trained methods run with untrained networks of the same shape. Stages: :mod:`harness.timing.meter`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
import torch

from harness.build.devices import check_device, default_device, dtype_of
from harness.build.generators import build_generator, check_generator
from harness.build.methods import build_untrained_method, check_arguments
from harness.build.prompts import load_prompts
from harness.build.rewards import build_reward, check_reward
from harness.experiment.components import MethodSpec, ModelSpec
from harness.experiment.jobs import LatencyJob
from harness.results import frames
from harness.stages.generate import SEARCH_STREAM
from harness.timing import machine
from harness.timing.live_memory import peak_memory_mib
from harness.timing.meter import Meter, Spans, flop_counter, flop_meter, stopwatch, watched
from harness.timing.profile import MIN_REPEATS, interleaved, n_parameters, repeats_of, warm_up
from harness.timing.stage_names import END_TO_END, GENERATION, STAGES
from hypernoise.choices import check_choice
from hypernoise.compilation import MODES, Compiled
from hypernoise.methods.protocol import Generated, Method
from hypernoise.models.protocol import Generator, check_steps
from hypernoise.noise import batch_noise, image_seed
from hypernoise.progress import Progress
from hypernoise.rewards.protocol import Reward
from hypernoise.transfers import on_device

#: Noise seed; times do not depend on it.
_SEED = 0
#: Told of a method, by its name, that memory does not suffice for; it may raise, or let it be.
NoRoom = Callable[[str, torch.OutOfMemoryError], None]


@dataclass(frozen=True)
class Task:
    """What one call makes: images of some texts, each with its key for noise and seeds."""

    texts: tuple[str, ...]
    keys: tuple[tuple[str, int], ...]
    steps: int


def task_of(prompts: Sequence[Any], n_images: int, steps: int) -> Task:
    """A call that makes images of the first prompts, of all again where there are too few."""
    drawn = [(prompts[i % len(prompts)], i // len(prompts)) for i in range(n_images)]
    texts = tuple(prompt.text for prompt, _ in drawn)
    return Task(texts, tuple((prompt.prompt_id, index) for prompt, index in drawn), steps)


@dataclass(frozen=True)
class Contender:
    """A method that is ready to run in one mode, on a generator that it may share."""

    spec: MethodSpec
    mode: str
    method: Method
    generator: Generator
    reward: Reward | None
    compiled: Compiled
    params_m: float
    device: str

    def call(self, task: Task, spans: Spans) -> Generated:
        """From texts to images."""
        with spans.whole(END_TO_END):
            with torch.no_grad():
                conditioning = self.generator.encode(task.texts)
                features = self.reward.encode(task.texts) if self.reward else None
            noise = batch_noise(_SEED, task.keys, self.generator.noise_shape)
            noise = on_device(noise, self.device)
            seeds = [image_seed(_SEED, *key, stream=SEARCH_STREAM) for key in task.keys]
            with spans.whole(GENERATION):
                return self.method.run(
                    self.generator, self.reward, conditioning, features, noise, seeds, task.steps
                )


def run(job: LatencyJob) -> None:
    """Measure every combination of a job and write the rows.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first).
    """
    frames.write(*measured(job))


def measured(job: LatencyJob) -> tuple[pd.DataFrame, str, str, dict[str, Any]]:
    """The rows of a job, with what :func:`harness.results.frames.write` needs besides: path, kind
    and the job with the machine's state before and after."""
    check(job)
    torch.set_num_threads(job.threads)
    states = [machine.state()]
    rows = [row for model in models_of(job) for row in _measure(job, model)]
    states.append(machine.state())
    facts = {"job": asdict(job), "machine": states}
    return pd.DataFrame(rows), job.out, frames.LATENCIES.kind, facts


def check(job: LatencyJob) -> None:
    """Check a job without loading any network.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    check_device(job.device)
    for name in ("methods", "batch_sizes", "modes"):
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
    for method in job.methods:
        check_arguments(method)
        if method.needs_reward and job.reward is None:
            raise ValueError(f"method {method.name!r} searches for a reward; name one")
    for model in models_of(job):
        check_generator(model)
    if job.reward:
        check_reward(job.reward)
        dtype_of(_precision(model), model.file)
    load_prompts(job.prompts)


def models_of(job: LatencyJob) -> list[ModelSpec]:
    """The job's model at every size and precision; its encodings are not kept, but timed."""
    sizes = job.sizes_px or (job.model.size_px,)
    # The modes are the job's to choose.
    own = {name: value for name, value in job.model.arguments.items() if name != "mode"}
    plain = replace(job.model, encodings="", arguments=own)
    dtypes: list[Mapping[str, Any]] = [{"dtype": name} for name in job.precisions] or [{}]
    return [
        replace(plain, size_px=size, arguments={**plain.arguments, **dtype})
        for size in sizes
        for dtype in dtypes
    ]


def _precision(model: ModelSpec) -> str:
    return str(model.arguments.get("dtype", "float32"))


def _measure(job: LatencyJob, model: ModelSpec) -> Iterator[dict[str, Any]]:
    contenders = contenders_of(job, model)
    prompts = load_prompts(job.prompts)
    for steps in job.sampling_steps or (model.steps,):
        for size in sorted(job.batch_sizes):
            yield from rows_of(job, model, contenders, task_of(prompts, size, steps))


def rows_of(
    job: LatencyJob,
    model: ModelSpec,
    contenders: Sequence[Contender],
    task: Task,
    no_room: NoRoom | None = None,
    limit_s: float = math.inf,
) -> Iterator[dict[str, Any]]:
    """Time contenders in turns on one task.

    Args:
        job: says how often.
        model: that of :func:`models_of` which the contenders were made of.
        contenders: those of :func:`contenders_of`.
        task: what a call makes.
        no_room: told of contenders that run out of memory, which are left out; without, it raises.
        limit_s: what it should take at most; calls get fewer for it, but not below
            :data:`harness.timing.profile.MIN_REPEATS`.

    Yields:
        Rows of :data:`harness.results.frames.LATENCIES`, as they are measured.
    """
    constant = {
        "model": job.model.name,
        "size_px": model.size_px,
        "precision": _precision(model),
        "device": torch.device(job.device or default_device()).type,
        "threads": torch.get_num_threads(),
    }
    for row in _time_all(contenders, task, job.repeats, no_room or _stop, limit_s):
        yield row | constant


def contenders_of(
    job: LatencyJob,
    model: ModelSpec,
    plain: Generator | None = None,
    no_room: NoRoom | None = None,
) -> list[Contender]:
    """Every method in every mode; methods that leave the backbone as it is share a generator.

    Args:
        job: names methods, reward, modes and device.
        model: one of :func:`models_of`.
        plain: its generator, if there is one already.
        no_room: told of methods that do not fit beside the others; without, it raises.
    """
    device = job.device or default_device()
    plain = plain or build_generator(model, device)
    reward = build_reward(job.reward, device) if _searches(job) and job.reward else None
    n_plain = n_parameters(plain)
    found = []
    for spec in job.methods:
        own = reward if spec.needs_reward else None
        try:
            found += _in_modes(job, spec, plain, own, device, n_plain)
        except torch.OutOfMemoryError as error:
            (no_room or _stop)(spec.name, error)
    return found


def _in_modes(
    job: LatencyJob,
    spec: MethodSpec,
    plain: Generator,
    reward: Reward | None,
    device: str,
    n_plain: int,
) -> list[Contender]:
    # LoRA that is not merged stays in the backbone, and even switched off it costs a little.
    is_plain = spec.trains is None or bool(spec.arguments.get("merged"))
    generator = plain if is_plain else _with_own_backbone(plain)
    # On the device: hundreds of millions of random weights take the CPU seconds.
    with torch.device(device):
        made = build_untrained_method(spec, generator, job.rank)
    params_m = (n_plain + made.n_parameters) / 1e6
    contenders = []
    for mode in job.modes:
        compiled = Compiled(generator.pipeline, mode, reward)
        contenders.append(
            Contender(spec, mode, made.method, generator, reward, compiled, params_m, device)
        )
    return contenders


def _stop(_name: str, error: torch.OutOfMemoryError) -> None:
    raise error


def _searches(job: LatencyJob) -> bool:
    return any(method.needs_reward for method in job.methods)


def _with_own_backbone(generator: Generator) -> Generator:
    """A copy that shares everything but the backbone."""
    parts = generator.pipeline.components.values()
    shared = {id(part): part for part in parts if part is not generator.backbone}
    return copy.deepcopy(generator, shared)


def _time_all(
    contenders: Sequence[Contender], task: Task, repeats: int, no_room: NoRoom, limit_s: float
) -> Iterator[dict[str, Any]]:
    began = time.monotonic()
    label = f"latency of batch {len(task.texts)}, {task.steps} steps"
    first = Progress(f"{label}: first calls", len(contenders), "methods").each(contenders)
    contenders = [contender for contender in first if _fits(contender, task, no_room)]
    calls = [_timer(contender, task) for contender in contenders]
    seconds = [warm_up(lambda call=call: call()[END_TO_END]) for call in calls]  # type: ignore[misc]
    costs = [costs_of(contender, task) for contender in contenders]
    wanted = repeats_of(seconds, repeats) if seconds else []
    order = interleaved(affordable(seconds, wanted, limit_s - (time.monotonic() - began)))
    counts = [0] * len(contenders)
    for turn, index in enumerate(Progress(label, len(order), "calls").each(order)):
        spans = calls[index]()
        for stage, gflops in costs[index].gflops.items():
            yield {
                **_identity(contenders[index], task),
                **{"stage": stage, "repeat": counts[index], "turn": turn},
                "latency_ms": 1000 * spans.get(stage, 0.0) / len(task.texts),
                "gflops": gflops,
                "nfe": costs[index].nfe,
                "peak_memory_mib": costs[index].peak_memory_mib,
            }
        counts[index] += 1


def _fits(contender: Contender, task: Task, no_room: NoRoom) -> bool:
    try:
        _timer(contender, task)()
    except torch.OutOfMemoryError as error:
        no_room(f"{contender.spec.name}, batch {len(task.texts)}", error)
        return False
    return True


def affordable(seconds: Sequence[float], wanted: Sequence[int], limit_s: float) -> list[int]:
    """How often each method can be timed in so many seconds: at least thrice, all the same.

    Args:
        seconds: [n] duration of one call of each method.
        wanted: [n] timings without a limit.
        limit_s: what all of them should take; infinite for no limit.
    """
    if limit_s == math.inf:
        return list(wanted)
    needed = sum(each * n for each, n in zip(seconds, wanted, strict=True))
    share = max(0.0, limit_s) / needed if needed else 1.0
    return [max(MIN_REPEATS, min(n, int(n * share))) for n in wanted]


def _identity(contender: Contender, task: Task) -> dict[str, Any]:
    return {
        "method": contender.spec.name,
        "reward": contender.reward.name if contender.reward else "",
        "mode": contender.mode,
        "steps": task.steps,
        "batch_size": len(task.texts),
        "params_m": contender.params_m,
    }


def _timer(contender: Contender, task: Task) -> Callable[[], dict[str, float]]:
    spans = Spans(stopwatch(contender.device))

    def call() -> dict[str, float]:
        with contender.compiled.active(), watched(spans, contender.generator, contender.reward):
            spans.take()
            contender.call(task, spans)
            return spans.take()

    return call


@dataclass(frozen=True)
class Costs:
    """What every call costs alike: operations of each of its stages and images, NFE, memory."""

    gflops: dict[str, float]
    nfe: float
    peak_memory_mib: float


def costs_of(contender: Contender, task: Task) -> Costs:
    """Count one eager call."""
    counter = flop_counter()
    spans = Spans(flop_meter(counter))
    with watched(spans, contender.generator, contender.reward), counter:
        made = contender.call(task, spans)
    flops = spans.take()
    stages = [stage for stage in (*STAGES, GENERATION, END_TO_END) if stage in flops]
    gflops = {stage: flops[stage] / 1e9 / len(task.texts) for stage in stages}
    silent = Spans(Meter(lambda: None, lambda start, end: 0.0))
    peak = peak_memory_mib(lambda: contender.call(task, silent), contender.device)
    return Costs(gflops, float(made.spent.nfe), peak)
