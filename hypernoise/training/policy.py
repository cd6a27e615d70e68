"""A noise network as a Gaussian policy: rewards need no gradient.

After Noise PPO (arXiv 2506.12036). Given an image's own noise x0 ~ N(0, I) and prompt c, the policy
is N(a; sqrt(1 - s^2) x0 + f(x0, c), s^2 I), and the generator draws from a. Before training f = 0,
and a is N(0, I) over x0, for any s: that is the prior, whose density given x0 is pi_0. The KL of
the policy to it is exactly |f|^2 / (2 s^2) for each x0. Its mean bounds the KL of the law of a to
N(0, I) from above (data processing). For s = 1, where x0 is in a through f alone, pi_0 is N(0, I)
itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hypernoise.noise import batch_noise, half_squared_norm
from hypernoise.rewards.protocol import Reward, shaped_score
from hypernoise.training.averages import copied, in_place
from hypernoise.training.draws import Part
from hypernoise.training.options import PolicyOptions
from hypernoise.transfers import on_device


class Rollout(NamedTuple):
    """What a policy drew for B images, K noises each, and what it earned.

    Attributes:
        delta: [B, *noise_shape], f(x0, c) of the network as it was.
        directions: [K, B, *noise_shape], the standard-normal part of each drawn noise.
        rewards: [K, B].
    """

    delta: Tensor
    directions: Tensor
    rewards: Tensor


class Policy:
    """The policy of a noise network, and what it drew last.

    Args:
        network: moves noise.
        reward: higher is better; its gradient is not asked for.
        options: of the training.
    """

    def __init__(self, network: Any, reward: Reward, options: PolicyOptions) -> None:
        self._network, self._reward, self._options = network, reward, options
        self._rollouts: dict[tuple[int, int], Rollout] = {}
        #: The network's weights when it drew what is in use, for trainings that are continued.
        self.weights: Sequence[Tensor] = ()

    def of(self, part: Part) -> tuple[Tensor, Rollout]:
        """The displacement of a part's noise [B, *noise_shape], and the part's rollout.

        Noises are drawn where the part is new, with the network as it is. A part that was drawn
        before a training was stopped is drawn again with the network as it was.
        """
        if part.age and part.place not in self._rollouts:
            with in_place(self._network.parameters(), self.weights):
                self._draw(part, self._delta(part))
        delta = self._delta(part)
        if not part.age:
            if not any(step == part.step for step, _ in self._rollouts):
                self._rollouts.clear()
                self.weights = copied(self._network.parameters())
            self._draw(part, delta)
        return delta, self._rollouts[part.place]

    def _delta(self, part: Part) -> Tensor:
        delta: Tensor = self._network.delta(part.noise, part.conditioning)
        return delta

    @torch.no_grad()
    def _draw(self, part: Part, delta: Tensor) -> None:
        options, generator = self._options, self._network.generator
        directions, rewards = [], []
        for sample in range(options.policy_samples):
            names = [(f"step {part.step} image {i}", sample) for i in part.positions]
            own = batch_noise(options.seed, names, generator.noise_shape, "training policy")
            directions.append(on_device(own, part.noise.device))
            mean = math.sqrt(1 - options.policy_sigma**2) * part.noise + delta
            noise = mean + options.policy_sigma * directions[-1]
            steps = options.sampling_steps
            images = generator.sample(noise, part.conditioning, steps, part.seeds)
            rewards.append(shaped_score(self._reward, images, part.features))
        made = Rollout(delta.detach(), torch.stack(directions), torch.stack(rewards))
        self._rollouts[part.place] = made


def kl_to_prior(delta: Tensor, sigma: float) -> Tensor:
    """KL of the policy to the prior, given each image's own noise: exact.

    Args:
        delta: [B, *noise_shape].
        sigma: the policy's standard deviation.

    Returns:
        [B] in nats.
    """
    return half_squared_norm(delta) / sigma**2


def log_ratio(delta: Tensor, rollout: Rollout, sigma: float) -> Tensor:
    """Log of pi_new(a) / pi_old(a) of each drawn noise: [K, B], 0 where the network is as it was.

    Args:
        delta: [B, *noise_shape] of the network as it is.
        rollout: with the network as it was.
        sigma: the policy's standard deviation.
    """
    moved = delta - rollout.delta
    along = (rollout.directions * moved).flatten(2).sum(dim=2)
    return along / sigma - half_squared_norm(moved) / sigma**2


def advantages(rewards: Tensor, which: str) -> Tensor:
    """Rewards [K, B] compared with those of the same image: [K, B].

    Args:
        which: ``"leave_one_out"`` subtracts the mean of the image's other K - 1 rewards
            (arXiv 2402.14740), ``"normalised"`` that of all, and divides by their standard
            deviation (arXiv 2402.03300).
    """
    n = len(rewards)
    centred = rewards - rewards.mean(dim=0)
    if which == "leave_one_out":
        return centred * (n / (n - 1))
    return centred / (rewards.std(dim=0) + 1e-6)


def surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """What PPO raises (arXiv 1707.06347, equation 7), of each drawn noise: [K, B]."""
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratio * advantage, clipped * advantage)


def tilted_weights(rollout: Rollout, options: PolicyOptions) -> Tensor:
    """How much each drawn noise weighs in the tilted law: [K, B], 1 in all for each image.

    pi*(a) is proportional to pi_0(a) exp(r(a) / temperature); the weights are those of importance
    sampling from the policy as it was, normalised. In terms of advantage-weighted regression
    (arXiv 1910.00177) the advantage is the reward over the temperature, minus the log ratio of
    policy and prior.
    """
    sigma = options.policy_sigma
    along = (rollout.directions * rollout.delta).flatten(2).sum(dim=2)
    to_prior = along / sigma + half_squared_norm(rollout.delta) / sigma**2
    return torch.softmax(rollout.rewards / options.temperature - to_prior, dim=0)


def update(
    delta: Tensor, rollout: Rollout, options: PolicyOptions
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The part of the loss that raises the reward, a scalar, and what else is measured of it."""
    logs = log_ratio(delta, rollout, options.policy_sigma)
    if options.policy_update == "weighted":
        weights = tilted_weights(rollout, options)
        effective = 1 / weights.square().sum(dim=0)
        return -(weights * logs).sum(dim=0).mean(), {"effective_samples": effective.mean()}
    # A density that is e^20 times the old one is far outside the clip; infinity times 0 is not 0.
    ratio = logs.clamp(max=20.0).exp()
    advantage = advantages(rollout.rewards, options.policy_advantage)
    raised = surrogate(ratio, advantage, options.policy_clip).mean()
    is_clipped = (ratio - 1).abs() > options.policy_clip
    measured = {"ratio": ratio.mean(), "clipped_share": is_clipped.float().mean()}
    return -raised / options.temperature, measured
