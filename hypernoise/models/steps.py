"""The steps of a stock sampler, seen one by one: what it predicts, and what it goes on from.

A stock pipeline calls ``callback_on_step_end`` with the latents that a step leaves. What the step
predicted, and how noisy the latents are, its scheduler knows: :class:`Watched` stands in for the
scheduler while a pipeline runs, notes what its steps are given, and can leave the first steps out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple

from diffusers import (
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    SCMScheduler,
    TCDScheduler,
)
from torch import Tensor

from hypernoise.models.protocol import STOP, Step, Walk


class _Seen(NamedTuple):
    """What a scheduler's step was given, and what it returned."""

    output: Tensor
    sample: Tensor
    returned: tuple[Tensor, ...]


class _Kind(NamedTuple):
    """How a scheduler's latents are made up.

    Attributes:
        level: of a scheduler and the index of a timestep, one past the last included: signal a and
            noise s of the latents there, z = a x0 + s e with e of unit variance.
        clean: of a step, with a and s of the latents that it was given: its prediction of x0.
    """

    level: Callable[[Any, int], tuple[Any, Any]]
    clean: Callable[[Any, _Seen, Any, Any], Tensor]


def _diffused(scheduler: Any, index: int) -> tuple[Any, Any]:
    if index == len(scheduler.timesteps):
        return 1.0, 0.0
    kept = scheduler.alphas_cumprod[scheduler.timesteps[index]]
    return kept.sqrt(), (1 - kept).sqrt()


def trigflow_levels(scheduler: Any, index: int) -> tuple[Any, Any]:
    """cos(t) and sin(t) sigma_data."""
    angle = scheduler.timesteps[index]
    return angle.cos(), angle.sin() * scheduler.config.sigma_data


def _own(scheduler: Any, seen: _Seen, signal: Any, noise: Any) -> Tensor:
    """The second value that the scheduler returns."""
    return seen.returned[1]


def clean_of_flow(scheduler: Any, seen: _Seen, signal: Any, noise: Any) -> Tensor:
    """x0 = z - s v, of z = (1 - s) x0 + s e and its velocity v = e - x0."""
    clean: Tensor = seen.sample.float() - noise * seen.output.float()
    return clean


def clean_of_tcd(scheduler: Any, seen: _Seen, signal: Any, noise: Any) -> Tensor:
    """x0 by what the network predicts; the scheduler returns a sample that is still noisy."""
    predicted = scheduler.config.prediction_type
    if predicted == "sample":
        return seen.output
    clean: Tensor = signal * seen.sample - noise * seen.output
    if predicted == "epsilon":
        clean = (seen.sample - noise * seen.output) / signal
    return clean


def _exploding(scheduler: Any, index: int) -> tuple[Any, Any]:
    return 1.0, scheduler.sigmas[index]


def flow_levels(scheduler: Any, index: int) -> tuple[Any, Any]:
    """1 - s and s."""
    return 1.0 - scheduler.sigmas[index], scheduler.sigmas[index]


#: Of consistency models (LCM, SCM) the prediction is the consistency function's own value.
_KINDS: dict[type[Any], _Kind] = {
    FlowMatchEulerDiscreteScheduler: _Kind(flow_levels, clean_of_flow),
    EulerDiscreteScheduler: _Kind(_exploding, _own),
    EulerAncestralDiscreteScheduler: _Kind(_exploding, _own),
    SCMScheduler: _Kind(trigflow_levels, _own),
    LCMScheduler: _Kind(_diffused, _own),
    TCDScheduler: _Kind(_diffused, clean_of_tcd),
}


class Watched:
    """A scheduler whose steps are shown to a hook, and whose first steps may be left out.

    Everything else is the scheduler's own.

    Args:
        scheduler: a pipeline's.
        walk: the hook, and which step is the first.

    Raises:
        ValueError: of schedulers of this class nobody wrote down what their steps predict.
    """

    def __init__(self, scheduler: Any, walk: Walk) -> None:
        if type(scheduler) not in _KINDS:
            known = ", ".join(sorted(kind.__name__ for kind in _KINDS))
            raise ValueError(
                f"the clean prediction of a {type(scheduler).__name__} cannot be had; of {known} "
                "it can"
            )
        self._scheduler = scheduler
        self._walk = walk
        self._kind = _KINDS[type(scheduler)]
        self._seen: _Seen | None = None

        # Pipelines read from their signatures what these take.
        @wraps(scheduler.step)
        def step(output: Tensor, timestep: Any, sample: Tensor, **named: Any) -> Any:
            returned = scheduler.step(output, timestep, sample, **named)
            self._seen = _Seen(output, sample, returned)
            return returned

        @wraps(scheduler.set_timesteps)
        def set_timesteps(*given: Any, **named: Any) -> None:
            scheduler.set_timesteps(*given, **named)
            if walk.start:
                scheduler.timesteps = scheduler.timesteps[walk.start :]
                if isinstance(getattr(scheduler, "sigmas", None), Tensor):
                    scheduler.sigmas = scheduler.sigmas[walk.start :]
                scheduler.num_inference_steps -= walk.start

        self.step, self.set_timesteps = step, set_timesteps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    @property
    def init_noise_sigma(self) -> Any:
        """What pipelines multiply the latents with that they are given; later ones they are not."""
        return 1.0 if self._walk.start else self._scheduler.init_noise_sigma

    def told(self, index: int, n_steps: int, latents: Tensor) -> Step:
        """What the step that was just made predicts and leaves.

        Args:
            index: of the step among those that are made.
            n_steps: how many are made in all, those that are left out included.
            latents: that it leaves.
        """
        assert self._seen is not None
        before = self._kind.level(self._scheduler, index)
        after = self._kind.level(self._scheduler, index + 1)
        clean = self._kind.clean(self._scheduler, self._seen, *before).float()
        noise = (self._seen.sample.float() - before[0] * clean) / before[1]
        return Step(
            self._walk.start + index, n_steps, latents, clean.to(latents.dtype), noise,
            float(after[0]), float(after[1]),
        )  # fmt: skip


def watched_call(pipeline: Any, walk: Walk, call: Callable[..., Any], arguments: Any) -> Any:
    """What a stock pipeline's call gives while a hook sees its steps.

    Args:
        pipeline: whose scheduler is exchanged for the time of the call.
        walk: the hook, and the step to start with; ``arguments["latents"]`` are those before it.
        call: the pipeline's own, given the pipeline and the arguments by name.
        arguments: of the call, ``num_inference_steps`` among them.

    Raises:
        ValueError: the pipeline calls no hook, its scheduler is unknown, there is no such step, or
            the hook gave back latents of another shape, or any after the last step.
    """
    steps = arguments["num_inference_steps"]
    if not 0 <= walk.start < steps:
        raise ValueError(f"start must be a step from 0 to {steps - 1}, got {walk.start}")
    if "callback_on_step_end" not in signature(call).parameters:
        raise ValueError(
            f"the steps of a {type(pipeline).__name__} cannot be seen: it has no "
            "callback_on_step_end"
        )
    scheduler = pipeline.scheduler
    watched = Watched(scheduler, walk)

    def shown(_: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        step = watched.told(index, steps, tensors["latents"])
        answer = walk.on_step(step)
        if answer is None:
            return {}
        if answer is STOP:
            # After the last step there is nothing to leave out.
            if step.number == steps - 1:
                return {}
            # How diffusers documents that a hook stops a pipeline: the image is still decoded.
            pipeline._interrupt = True
            return {"latents": step.clean}
        if step.number == steps - 1 or answer.shape != step.latents.shape:
            raise ValueError(
                f"after step {step.number} of {steps} (from 0) the hook gave back latents of shape "
                f"{list(answer.shape)}: they must be those of the sampler, "
                f"{list(step.latents.shape)}, and after the last step nothing is sampled from them"
            )
        return {"latents": answer.to(step.latents.dtype)}

    pipeline.scheduler = watched
    try:
        return call(pipeline, callback_on_step_end=shown, **arguments)
    finally:
        pipeline.scheduler = scheduler
