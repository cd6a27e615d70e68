"""What a training measures and writes down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hypernoise.errors import Mendable
from hypernoise.noise import half_squared_norm
from hypernoise.training.options import TrainingOptions

#: Prompts of a training: (prompt_id, text).
Prompt = tuple[str, str]
#: Ends the name of a validation value's standard error.
STANDARD_ERROR = "_se"
#: Half the mean squared norm of the displacement: what stands for the KL where that is not known.
HALF_SQUARED_NORM = "half_squared_norm_nats"


class Row(NamedTuple):
    """Measurements after ``step`` optimizer steps.

    ``kind`` is ``"train"`` (loss, reward, penalty, half_squared_norm_nats, delta_rms, grad_norm,
    learning_rate, seconds), ``"validation"`` (reward, one value per judge, half_squared_norm_nats,
    delta_rms) or, once at the end, ``"kept"``: the step that became the result, with its
    validation. Values are means over the images; those of rewards in a validation also have a
    standard error (``reward_se``, ...), with the prompt as what was sampled. ``grad_norm`` is taken
    before clipping, and ``seconds`` are a mean over the steps between two waits for the device.
    Fine-tuning has no penalty, and nothing of a displacement; networks that know their KL have
    ``kl_nats`` too. A step that was left out has ``skipped`` in place of what is not finite; one
    that learns from pairs has ``distance_nats`` and ``best_reward`` in place of reward and penalty.
    The reward of a policy is that of the noises that it drew; it has ``ratio`` (of densities, new
    to old) and ``clipped_share``, or ``effective_samples``, the noises that an update rests on.
    """

    kind: str
    step: int
    values: dict[str, float]


class TrainingDiverged(Mendable):
    """A loss or gradient was not finite.

    Attributes:
        step: the optimizer step whose loss or gradient it was.
        checkpoint: the last good checkpoint, or None.
    """

    def __init__(self, step: int, what: str, checkpoint: Path | None) -> None:
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint yet"
        super().__init__(f"{what} at step {step}; {kept}. A smaller learning rate may help.")
        self.step = step
        self.checkpoint = checkpoint


def check_finite(
    values: Mapping[str, float], step: int, where: str = "", checkpoint: Path | None = None
) -> None:
    """Raise :class:`TrainingDiverged` for the first value that is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingDiverged(step, f"{name}{where} is {value}", checkpoint)


class Moved(NamedTuple):
    """How far the noise of B images was moved, in nats.

    Attributes:
        half_squared_norm: [B], half the squared norm of the displacement.
        kl: [B], the exact KL of networks that know it.
    """

    half_squared_norm: Tensor
    kl: Tensor | None

    @classmethod
    def by(cls, delta: Tensor, kl: Tensor | None) -> Moved:
        """Of a displacement [B, *noise_shape] and its exact KL [B], if that is known."""
        return cls(half_squared_norm(delta), kl)

    @property
    def penalised(self) -> Tensor:
        """[B], the KL; half the squared norm stands for it where a network does not know it."""
        return self.half_squared_norm if self.kl is None else self.kl

    def named(self) -> dict[str, Tensor]:
        """What is known, under names whose means :func:`readable` understands."""
        known = {} if self.kl is None else {"kl_nats": self.kl}
        return {HALF_SQUARED_NORM: self.half_squared_norm, **known}


def readable(means: Mapping[str, float], n_dimensions: int) -> dict[str, float]:
    """Means over images as rows hold them.

    The root mean square of a displacement is no mean over images: squared norms are averaged over
    batches and processes first, and give ``delta_rms`` here, for noise of ``n_dimensions``.
    """
    values = dict(means)
    if HALF_SQUARED_NORM in means:
        values["delta_rms"] = math.sqrt(2 * means[HALF_SQUARED_NORM] / n_dimensions)
    return values


def precision(options: TrainingOptions, device: torch.device) -> torch.autocast:
    """A context of passes in the precision that the options say."""
    enabled = options.precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def texts_of(prompts: Sequence[Prompt], what: str) -> list[str]:
    """The prompts' texts.

    Raises:
        ValueError: there are none.
    """
    if not prompts:
        raise ValueError(f"the list of {what} prompts is empty")
    return [text for _, text in prompts]
