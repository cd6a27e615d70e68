"""Methods that are ready to be timed, and what one timed call of them is.

A call goes from texts to images. Methods share one generator where they leave its backbone as it
is; the others, with LoRA beside the weights, get a copy of the backbone, because even a
switched-off adapter costs a little.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.build.devices import default_device
from harness.build.generators import build_generator
from harness.build.methods import build_method, build_untrained_method, puts_in
from harness.build.prompts import load_prompts
from harness.build.rewards import build_reward
from harness.experiment.components import MethodSpec, ModelSpec
from harness.experiment.jobs import Timed, TimingJob
from harness.results.stage_names import END_TO_END, GENERATION
from harness.stages.generate import Item, Setup
from harness.timing.live_memory import peak_memory_mib
from harness.timing.meter import Meter, Spans, flop_counter, flop_meter, stopwatch, watched
from hypernoise.compilation import Compiled
from hypernoise.methods.protocol import Generated, Method, Request
from hypernoise.models.protocol import Generator
from hypernoise.rewards.protocol import Reward
from hypernoise.weights.saved_lora import saved_n_parameters

#: Noise seed; times do not depend on it.
_SEED = 0
#: Called with the name of a method that memory does not suffice for; it may raise the error.
NoRoom = Callable[[str, torch.OutOfMemoryError], None]


@dataclass(frozen=True)
class Task:
    """What one call makes: images of some texts."""

    texts: tuple[str, ...]
    items: tuple[Item, ...]
    steps: int


def task_of(prompts: Sequence[Any], n_images: int, steps: int) -> Task:
    """A call that makes images of the first prompts; too few prompts repeat with new noise."""
    n = len(prompts)
    items = [Item(prompts[i % n], i % n, i // n) for i in range(n_images)]
    return Task(tuple(prompt.text for prompt in prompts[:n_images]), tuple(items), steps)


@dataclass(frozen=True)
class Contender:
    """A method that is ready to run in one mode.

    Attributes:
        generator: the generator, which several contenders may share.
        reward: what the method searches for; None where it does not search.
        params_m: millions of parameters of the whole pipeline, text encoders and decoder too, and
            of the trained network.
        nfe: backbone passes per image.
        backbone_params_m: millions of parameters of the backbone and of the trained network alone.
    """

    spec: MethodSpec
    mode: str
    method: Method
    generator: Generator
    reward: Reward | None
    compiled: Compiled
    params_m: float
    device: str
    nfe: float = float("nan")
    backbone_params_m: float = float("nan")

    def call(self, task: Task, spans: Spans) -> Generated:
        """Make the images of a task, from their texts."""
        with spans.whole(END_TO_END):
            request = self._request(task)
            # Else a GPU would still encode while the generation's time runs already.
            spans.settle()
            with spans.whole(GENERATION):
                return self.method.run(request)

    def timer(self, task: Task) -> Callable[[], dict[str, float]]:
        """A function that makes one call in the contender's mode; gives seconds by stage."""
        spans = Spans(stopwatch(self.device))

        def call() -> dict[str, float]:
            with self.compiled.active(), watched(spans, self.generator, self.reward):
                spans.take()
                self.call(task, spans)
                return spans.take()

        return call

    def gflops(self, task: Task) -> dict[str, float]:
        """Operations of each stage of one eager call, 10^9 per image."""
        with flop_counter() as counter:
            spans = Spans(flop_meter(counter))
            with watched(spans, self.generator, self.reward):
                self.call(task, spans)
        return {stage: n / 1e9 / len(task.items) for stage, n in spans.take().items()}

    def peak_memory_mib(self, task: Task) -> float:
        """What one eager call holds at most, from encoded prompts."""
        request = self._request(task)
        return peak_memory_mib(lambda: self.method.run(request), self.device)

    def _request(self, task: Task) -> Request:
        with torch.no_grad():
            encoded = self.generator.encode(task.texts)
            features = self.reward.encode(task.texts) if self.reward else None
        setup = Setup(self.generator, self.method, self.reward, encoded, features, self.device)
        return setup.request(task.items, _SEED, task.steps)


def prompts_of(job: TimingJob) -> list[Any]:
    """The prompts of a job's benchmark."""
    return load_prompts(job.benchmark.prompts)


def models_of(job: TimingJob) -> list[ModelSpec]:
    """The job's model at every size and precision, without encodings on disk and without a mode:
    encoding is timed, and modes are the job's."""
    own = {name: value for name, value in job.model.arguments.items() if name != "mode"}
    dtypes: list[Mapping[str, Any]] = [{"dtype": name} for name in job.precisions] or [{}]
    return [
        replace(job.model, encodings="", size_px=size, arguments={**own, **dtype})
        for size in job.sizes_px or (job.model.size_px,)
        for dtype in dtypes
    ]


def n_parameters(generator: Generator) -> int:
    """Parameters of all networks of a generator's pipeline."""
    return _unique(c for c in generator.pipeline.components.values() if isinstance(c, nn.Module))


def _unique(networks: Iterable[nn.Module]) -> int:
    unique = {id(p): p.numel() for network in networks for p in network.parameters()}
    return sum(unique.values())


def raise_it(_name: str, error: torch.OutOfMemoryError) -> None:
    """The :data:`NoRoom` of a job that shall measure all or nothing."""
    raise error


def contenders_of(
    job: TimingJob, model: ModelSpec, plain: Generator | None = None, no_room: NoRoom = raise_it
) -> list[Contender]:
    """Every method of a job in every mode; each has made one image.

    Args:
        job: names methods, reward, modes and device.
        model: one of :func:`models_of`.
        plain: its generator, if there is one already.
        no_room: called for each method that does not fit beside the others.
    """
    device = job.device or default_device()
    plain = plain or build_generator(model, device)
    reward = build_reward(job.searched, device) if job.searched else None
    steps = job.sampling_steps or (model.steps,)
    first = task_of(prompts_of(job)[:1], 1, steps[0])
    n_plain, n_backbone = n_parameters(plain), _unique([plain.backbone])
    found = []
    for timed in job.methods:
        own = reward if timed.method.needs_reward else None
        try:
            generator, method, n_added = _built(job, timed, plain, device)
            params_m, backbone_m = (n_plain + n_added) / 1e6, (n_backbone + n_added) / 1e6
            for mode in job.modes or (str(job.model.arguments.get("mode", "eager")),):
                # A mode that a model is declared with compiles the model, not the reward.
                compiled = Compiled(generator.pipeline, mode, own if job.modes else None)
                contender = Contender(
                    timed.method, mode, method, generator, own, compiled, params_m, device
                )
                made = contender.call(first, Spans(Meter(lambda: None, lambda start, end: 0.0)))
                nfe = float(made.spent.nfe)
                found.append(replace(contender, nfe=nfe, backbone_params_m=backbone_m))
        except torch.OutOfMemoryError as error:
            no_room(timed.method.name, error)
    return found


def _built(
    job: TimingJob, timed: Timed, plain: Generator, device: str
) -> tuple[Generator, Method, int]:
    """A method, its generator, and how many parameters its trained network adds."""
    spec = timed.method
    # Merged networks leave the backbone as it is.
    is_plain = not puts_in(spec) and (spec.trains is None or bool(spec.arguments.get("merged")))
    generator = plain
    if not is_plain:
        # A copy that shares everything but the backbone.
        parts = plain.pipeline.components.values()
        shared = {id(part): part for part in parts if part is not plain.backbone}
        generator = copy.deepcopy(plain, shared)
    if timed.adapter or spec.trains is None:
        method = build_method(spec, generator, timed.adapter)
        # From the file, since a method may merge its adapter into the backbone.
        n_added = saved_n_parameters(Path(timed.adapter)) if timed.adapter else 0
        if puts_in(spec):
            n_added = _unique([generator.backbone]) - _unique([plain.backbone])
        return generator, method, n_added
    # On the device: hundreds of millions of random weights take the CPU seconds.
    with torch.device(device):
        return generator, *build_untrained_method(spec, generator, job.rank)
