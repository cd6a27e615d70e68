"""The loss of what a training step draws.

Of a noise network, per image (arXiv 2508.09968, equation 12): half the squared norm of f(x0, c),
minus the reward of g(x0 + f(x0, c), c) over the temperature. Direct fine-tuning has no such
penalty, and only the second term. Where the network learns from pairs: half the squared distance
of x0 + f(x0, c) from a better noise (:mod:`hypernoise.training.teachers`). Where it is a policy:
its KL to the prior, minus what raises its noises' rewards (:mod:`hypernoise.training.policy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hypernoise.networks.protocol import Trainable
from hypernoise.noise import clip_each, half_squared_norm, reduced
from hypernoise.rewards.protocol import Reward, differentiable_score
from hypernoise.training.draws import Draws, Part
from hypernoise.training.measurements import Moved, Prompt, precision
from hypernoise.training.options import (
    DisplacementOptions,
    PairOptions,
    PolicyOptions,
    TrainingOptions,
)
from hypernoise.training.policy import Policy, kl_to_prior, update
from hypernoise.training.teachers import Teacher


class Losses:
    """The loss on images of the training prompts.

    Args:
        objective: what is trained.
        reward: what to raise.
        prompts: (prompt_id, text).
        options: of the network's kind.

    Attributes:
        draws: what a step's images are drawn from.
        policy: of a network that is trained as one.

    Raises:
        ValueError: there are no prompts.
    """

    def __init__(
        self,
        objective: Trainable,
        reward: Reward,
        prompts: Sequence[Prompt],
        options: TrainingOptions,
    ) -> None:
        self._objective, self._reward, self._options = objective, reward, options
        self._device = objective.parameters()[0].device
        self.draws = Draws(objective, reward, prompts, options)
        self.policy: Policy | None = None
        if isinstance(options, PolicyOptions):
            self.policy = Policy(objective, reward, options)
        elif isinstance(options, PairOptions):
            self._teacher = Teacher(objective.generator, reward, options)

    def of(self, part: Part) -> dict[str, Tensor]:
        """The loss of a part and what else is measured: scalars by name."""
        options = self._options
        if isinstance(options, PolicyOptions):
            return self._of_policy(part, options)
        if isinstance(options, PairOptions) and options.learns_from_pairs(part.step):
            return self._of_pairs(part, options)
        with precision(options, self._device):
            drawn = self._objective.draw(
                part.noise, part.conditioning, options.sampling_steps, part.seeds
            )
            rewards = differentiable_score(self._reward, drawn.images, part.features)
        loss = -rewards.mean() / options.temperature
        measured = {"reward": rewards.mean()}
        if drawn.delta is not None:
            moved = Moved.by(drawn.delta, drawn.kl)
            penalty = self._penalty(drawn.delta, moved)
            loss = loss + penalty
            named = {name: each.mean() for name, each in moved.named().items()}
            measured |= {"penalty": penalty, **named}
        return {"loss": loss, **measured}

    def _penalty(self, delta: Tensor, moved: Moved) -> Tensor:
        """The loss's second term, a scalar; each image's gradient at ``delta`` is clipped."""
        options = self._options
        assert isinstance(options, DisplacementOptions)  # as its kind says
        if options.image_grad_clip is not None:
            limit = options.image_grad_clip / (options.batch_size * options.accumulation)
            delta.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: clip_each(gradient, limit)
            )
        return reduced(moved.penalised, delta[0].numel(), options.l2_reduction).mean()

    def _of_pairs(self, part: Part, options: PairOptions) -> dict[str, Tensor]:
        network: Any = self._objective  # of a kind that moves noise, as its options say
        with precision(options, self._device):
            better = self._teacher.better(part)
            delta = network.delta(part.noise, part.conditioning)
        distance = half_squared_norm(delta - (better.noise - part.noise))
        moved = {name: each.mean() for name, each in Moved.by(delta, None).named().items()}
        loss = reduced(distance, delta[0].numel(), options.l2_reduction).mean()
        measured = {"distance_nats": distance.mean(), "best_reward": better.rewards.mean()}
        return {"loss": loss, **measured, **moved}

    def _of_policy(self, part: Part, options: PolicyOptions) -> dict[str, Tensor]:
        assert self.policy is not None  # as its options say
        with precision(options, self._device):
            delta, rollout = self.policy.of(part)
        loss, measured = update(delta, rollout, options)
        moved = Moved.by(delta, kl_to_prior(delta, options.policy_sigma))
        if options.policy_update == "clipped":
            penalty = self._penalty(delta, moved)
            loss, measured = loss + penalty, {"penalty": penalty, **measured}
        named = {name: each.mean() for name, each in moved.named().items()}
        return {"loss": loss, "reward": rollout.rewards.mean(), **measured, **named}
