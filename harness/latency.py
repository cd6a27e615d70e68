"""What methods cost, stage by stage: latency, operations, memory, parameters.

Methods take turns (A B A B), so that whatever else the machine does falls on all of them alike. A
call goes from texts to images, text encoding included. Each (method, mode) is called once to
compile and allocate, then until two calls in a row agree within 5 % or two seconds have passed.
Trained methods run with untrained networks of the same shape. Stages: :mod:`harness.stages`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from harness import frames, machine
from harness.components import (
    build_generator,
    build_reward,
    build_untrained_method,
    check_keywords,
    check_weights,
    default_device,
    dtype_of,
    load_prompts,
)
from harness.generate import SEARCH_STREAM
from harness.jobs import LatencyJob
from harness.live_memory import peak_memory_mib
from harness.profile import MIN_REPEATS, interleaved, n_parameters, repeats_of, warm_up
from harness.specs import MethodSpec, ModelSpec
from harness.stage_names import END_TO_END, GENERATION, STAGES
from harness.stages import Meter, Spans, flop_counter, flop_meter, stopwatch, watched
from hypernoise.choices import check_choice
from hypernoise.compilation import MODES, Compiled
from hypernoise.methods.protocol import Generated, Method
from hypernoise.models.protocol import Generator, check_steps
from hypernoise.noise import batch_noise, image_seed
from hypernoise.rewards.protocol import Reward

#: Noise seed; times do not depend on it.
_SEED = 0


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
            noise = batch_noise(_SEED, task.keys, self.generator.noise_shape).to(self.device)
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
    """The rows of a job, with what :func:`harness.frames.write` needs besides: path, kind and the
    job with the machine's state before and after."""
    check(job)
    torch.set_num_threads(job.threads)
    states = [machine.state()]
    rows = [row for model in _models(job) for row in _measure(job, model)]
    states.append(machine.state())
    facts = {"job": asdict(job), "machine": states}
    return pd.DataFrame(rows), job.out, frames.LATENCIES.kind, facts


def check(job: LatencyJob) -> None:
    """Check a job without loading any network.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
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
        check_keywords(method)
        if method.needs_reward and job.reward is None:
            raise ValueError(f"method {method.name!r} searches for a reward; name one")
    for model in _models(job):
        check_weights(model, [job.reward] if job.reward else [])
        dtype_of(_precision(model), model.file)
    load_prompts(job.prompts)


def _models(job: LatencyJob) -> list[ModelSpec]:
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
            task = task_of(prompts, size, steps)
            constant = {
                "model": job.model.name,
                "size_px": model.size_px,
                "precision": _precision(model),
                "device": torch.device(job.device or default_device()).type,
                "threads": torch.get_num_threads(),
            }
            for row in _time_all(contenders, task, job.repeats):
                yield row | constant


def contenders_of(job: LatencyJob, model: ModelSpec) -> list[Contender]:
    """Every method in every mode; methods that leave the backbone as it is share a generator."""
    device = job.device or default_device()
    plain = build_generator(model, device)
    n_plain = n_parameters(plain)
    reward = build_reward(job.reward, device) if _searches(job) and job.reward else None
    found = []
    for spec in job.methods:
        # LoRA that is not merged stays in the backbone, and even switched off it costs a little.
        is_plain = spec.trains is None or bool(spec.arguments.get("merged"))
        generator = plain if is_plain else _with_own_backbone(plain)
        made = build_untrained_method(spec, generator, job.rank)
        own = reward if spec.needs_reward else None
        params_m = (n_plain + made.n_parameters) / 1e6
        for mode in job.modes:
            compiled = Compiled(generator.pipeline, mode, own)
            found.append(
                Contender(spec, mode, made.method, generator, own, compiled, params_m, device)
            )
    return found


def _searches(job: LatencyJob) -> bool:
    return any(method.needs_reward for method in job.methods)


def _with_own_backbone(generator: Generator) -> Generator:
    """A copy that shares everything but the backbone."""
    parts = generator.pipeline.components.values()
    shared = {id(part): part for part in parts if part is not generator.backbone}
    return copy.deepcopy(generator, shared)


def _time_all(
    contenders: Sequence[Contender], task: Task, repeats: int
) -> Iterator[dict[str, Any]]:
    calls = [_timer(contender, task) for contender in contenders]
    label = f"batch {len(task.texts)}, {task.steps} steps"
    for call in tqdm(calls, desc=f"{label}: first call", unit="method"):
        call()
    seconds = [warm_up(lambda call=call: call()[END_TO_END]) for call in calls]  # type: ignore[misc]
    order = interleaved(repeats_of(seconds, repeats))
    costs = [costs_of(contender, task) for contender in contenders]
    counts = [0] * len(contenders)
    for turn, index in enumerate(tqdm(order, desc=f"{label}: timing", unit="call")):
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
