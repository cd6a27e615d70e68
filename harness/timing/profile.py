"""Time methods against one another.

The methods take turns, so that whatever else the machine does falls on all of them alike. A time
is that of one call of the method on a batch whose prompts are encoded already. Each trained method
has a generator of its own: a switched-off adapter still costs a little, and the untrained methods
must not pay for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import nn

from harness.build.devices import default_device
from harness.build.encodings import prepare
from harness.build.generators import build_generator, check_generator
from harness.build.methods import build_method, check_adapter, check_arguments, words_prompts
from harness.build.prompts import load_prompts
from harness.build.rewards import build_reward, check_reward
from harness.experiment.jobs import ProfileJob, Timed
from harness.results import frames
from harness.stages.generate import Item, Setup
from harness.timing.live_memory import peak_memory_mib
from hypernoise.models.protocol import Conditioning, Generator, check_steps, encode_in_chunks
from hypernoise.networks.adapter import saved_n_parameters
from hypernoise.progress import Progress
from hypernoise.rewards.protocol import Features, Reward

MIN_REPEATS = 3
#: A method this many times slower than the fastest is timed less often.
_SLOW = 10.0
#: Warm-up ends when two calls in a row agree within this share, or after this many seconds.
_STABLE = 0.05
_WARM_UP_S = 2.0
#: Noise seed; times do not depend on it.
_SEED = 0


@dataclass(frozen=True)
class Contender:
    """One method, ready to run; ``params_m`` in millions, ``nfe`` per image."""

    timed: Timed
    setup: Setup
    params_m: float
    nfe: float


def run(job: ProfileJob) -> None:
    """Time every method at the job's batch size and, if asked to, at batch size 1.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first).
    """
    torch.set_num_threads(job.threads)
    items = check(job)
    contenders = _contenders(job, items)
    rows: list[dict[str, Any]] = []
    singles = {1} if job.single_images else set()
    for batch_size in sorted({job.batch_size} | singles, reverse=True):
        rows += _time_all(job, contenders, items[:batch_size])
    frames.write(pd.DataFrame(rows), job.out, frames.TIMINGS, job)


def check(job: ProfileJob) -> list[Item]:
    """Check a job without loading any network; returns the images of the large batch.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    check_steps(job.steps)
    if not job.methods:
        raise ValueError("no methods to time")
    if job.repeats < MIN_REPEATS:
        raise ValueError(f"repeats must be at least {MIN_REPEATS}, got {job.repeats}")
    if job.batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {job.batch_size}")
    for timed in job.methods:
        check_arguments(timed.method)
        check_adapter(timed.method, timed.adapter)
    check_generator(job.model)
    if _searches(job):
        check_reward(job.reward)
    prompts = load_prompts(job.benchmark.prompts)
    n = len(prompts)
    return [Item(prompts[i % n], i % n, i // n) for i in range(job.batch_size)]


def repeats_of(seconds: Sequence[float], repeats: int) -> list[int]:
    """How often each method is timed: the slow ones less often, none less than three times.

    Args:
        seconds: [n] duration of one call of each method.
        repeats: timings of a fast method.
    """
    limit = _SLOW * min(seconds)
    return [max(MIN_REPEATS, min(repeats, int(repeats * limit / s))) for s in seconds]


def interleaved(repeats: Sequence[int]) -> list[int]:
    """The order of calls: methods by index, in rounds, rarer ones spread over the rounds."""
    turns = [(turn / n, method) for method, n in enumerate(repeats) for turn in range(n)]
    return [method for _, method in sorted(turns)]


def warm_up(call: Callable[[], float]) -> float:
    """Call until the duration is stable or long enough has passed; returns the last duration, s."""
    last = call()
    spent = last
    while spent < _WARM_UP_S:
        seconds = call()
        spent += seconds
        stable = abs(seconds - last) <= _STABLE * last
        last = seconds
        if stable:
            break
    return last


def n_parameters(generator: Generator) -> int:
    """Parameters of all networks of a generator's pipeline."""
    networks = [c for c in generator.pipeline.components.values() if isinstance(c, nn.Module)]
    unique = {id(p): p.numel() for network in networks for p in network.parameters()}
    return sum(unique.values())


def _searches(job: ProfileJob) -> bool:
    return any(timed.method.needs_reward for timed in job.methods)


class _Shared(NamedTuple):
    """What a job's methods have in common; trained ones bring a generator of their own."""

    generator: Generator
    n_parameters: int
    conditioning: Conditioning
    reward: Reward | None
    features: Features | None
    device: str


def _contenders(job: ProfileJob, items: Sequence[Item]) -> list[Contender]:
    texts = list({item.row: item.prompt.text for item in items}.values())
    shared = _load(job, texts)
    return [_contender(job, timed, shared, texts, items[:1]) for timed in job.methods]


def _load(job: ProfileJob, texts: Sequence[str]) -> _Shared:
    device = default_device()
    plain = build_generator(job.model, device)
    n_plain = n_parameters(plain)
    untrained = [timed.method for timed in job.methods if timed.method.trains is None]
    prepare(plain, texts, keep_encoders=any(map(words_prompts, untrained)))
    conditioning = encode_in_chunks(plain.encode, texts)
    if not _searches(job):
        return _Shared(plain, n_plain, conditioning, None, None, device)
    reward = build_reward(job.reward, device)
    features = encode_in_chunks(reward.encode, texts)
    return _Shared(plain, n_plain, conditioning, reward, features, device)


def _contender(
    job: ProfileJob, timed: Timed, shared: _Shared, texts: Sequence[str], one: Sequence[Item]
) -> Contender:
    generator = shared.generator
    if timed.method.trains is not None:
        generator = build_generator(job.model, shared.device)
        prepare(generator, texts, keep_encoders=words_prompts(timed.method))
    method = build_method(timed.method, generator, timed.adapter)
    searches = timed.method.needs_reward
    reward, features = (shared.reward, shared.features) if searches else (None, None)
    setup = Setup(generator, method, reward, shared.conditioning, features, shared.device)
    # One image tells what a method costs, and whether it runs at all.
    made = method.run(**setup.inputs(one, _SEED, job.steps))
    # From the file, since a method may merge its adapter into the backbone.
    n_added = saved_n_parameters(Path(timed.adapter)) if timed.adapter else 0
    params_m = (shared.n_parameters + n_added) / 1e6
    return Contender(timed, setup, params_m, float(made.spent.nfe))


def _time_all(
    job: ProfileJob, contenders: Sequence[Contender], items: Sequence[Item]
) -> Iterator[dict[str, Any]]:
    calls = [_timer(job, contender, items) for contender in contenders]
    label = f"time {job.model.name}, batch {len(items)}"
    seconds = [
        warm_up(call) for call in Progress(f"{label}, warm-up", len(calls), "methods").each(calls)
    ]
    # A call that outlasts the whole warm-up is warm after its first moments: it is a timing too.
    taken = [[s] if s >= _WARM_UP_S else [] for s in seconds]
    wanted = repeats_of(seconds, job.repeats)
    order = interleaved([n - len(done) for n, done in zip(wanted, taken, strict=True)])
    for index in Progress(label, len(order), "calls").each(order):
        taken[index].append(calls[index]())
    for contender, timings in zip(contenders, taken, strict=True):
        peak_mib = _peak_memory_mib(job, contender, items)
        for repeat, each in enumerate(timings):
            row = _row(job, contender, len(items), repeat, 1000 * each / len(items))
            yield row | {"peak_memory_mib": peak_mib}


def _timer(job: ProfileJob, contender: Contender, items: Sequence[Item]) -> Callable[[], float]:
    inputs = contender.setup.inputs(items, _SEED, job.steps)
    run_method, device = contender.setup.method.run, contender.setup.device

    def call() -> float:
        _synchronize(device)
        started = time.perf_counter()
        run_method(**inputs)
        _synchronize(device)
        return time.perf_counter() - started

    return call


def _peak_memory_mib(job: ProfileJob, contender: Contender, items: Sequence[Item]) -> float:
    if not job.peak_memory:
        return float("nan")
    inputs = contender.setup.inputs(items, _SEED, job.steps)
    return peak_memory_mib(lambda: contender.setup.method.run(**inputs), contender.setup.device)


def _synchronize(device: str) -> None:
    # GPU calls return before their work is done.
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _row(
    job: ProfileJob, contender: Contender, batch_size: int, repeat: int, latency_ms: float
) -> dict[str, Any]:
    method = contender.timed.method
    uses_reward = method.needs_reward or method.trains is not None
    return {
        "model": job.model.name,
        "method": method.name,
        "reward": job.reward.name if uses_reward else "",
        "steps": job.steps,
        "batch_size": batch_size,
        "repeat": repeat,
        "latency_ms": latency_ms,
        "nfe": contender.nfe,
        "params_m": contender.params_m,
        "threads": torch.get_num_threads(),
    }
