"""Feynman-Kac steering: particles that are resampled between steps by what they will become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

import torch
from torch import Tensor

from hypernoise.errors import check_choice
from hypernoise.identity import SPEED_ONLY, WORK, needs_several_steps
from hypernoise.methods.best_of_n import candidate_seed, candidates_of
from hypernoise.methods.candidates import candidate_batches
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.methods.stepwise import Look, Looks, Particle, begun, check_settings, finished
from hypernoise.noise import seeded_generator

Potential = Literal["max", "difference", "sum"]
#: Particles are resampled once their effective number is below this share of them.
_LEAST_EFFECTIVE = 0.5


@dataclass
class _Population:
    """An image's particles.

    Attributes:
        history: [n] of each particle what its potential remembers of earlier rewards.
        log_weights: [n] since the last resampling.
    """

    particles: list[Particle]
    history: Tensor
    log_weights: Tensor


@needs_several_steps
@dataclass(eq=False)
class FkSteering:
    """Particles of which those are copied whose clean predictions the reward likes.

    Feynman-Kac steering (Singhal et al., arXiv 2501.06848; zacharyhorvitz/Fk-Diffusion-Steering).
    Every ``resample_every`` steps each particle's clean prediction is scored, and weighted by
    exp(strength * g), with g the highest reward so far (max), the rise since the last one
    (difference) or the sum of all (sum). Once the effective number of particles is below half,
    they are drawn anew by their weights; the image is that of the highest reward in the end.
    Differences to the publication are in docs/methods.md.

    Particles start as the candidates of :class:`hypernoise.methods.best_of_n.BestOfN`, the given
    noise first, and the first copy of a particle goes on as the sampler does: with one particle
    this is the base, and with strength 0 Best-of-N.

    Args:
        n: particles per image; each makes all sampling steps.
        strength: the paper's lambda, at least 0, per unit of the reward.
        potential: which.
        resample_every: sampling steps between resamplings.
        eta: how much of the noise in a further copy's latents is new, from 0 to 1.
        batch_size: particles that are drawn together.

    Raises:
        ValueError: an argument is out of its range.
    """

    words_prompts: ClassVar[bool] = False
    n: Annotated[int, WORK] = 4
    strength: float = 10.0
    potential: Potential = "max"
    resample_every: int = 1
    eta: float = 1.0
    batch_size: Annotated[int, SPEED_ONLY] = 64

    def __post_init__(self) -> None:
        check_settings("FK steering", self.n, self.eta, self.batch_size)
        check_choice("potential", self.potential, get_args(Potential))
        if not self.strength >= 0 or self.resample_every < 1:
            raise ValueError(
                "FK steering needs strength >= 0 and resample_every >= 1, got "
                f"{self.strength}, {self.resample_every}"
            )
        self._batches = candidate_batches(self.batch_size)

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        looks, n = Looks("FK steering", request, self._batches), self.n
        started = [begun(c) for c in candidates_of(request.noise, request.seeds, n)]
        zero = torch.zeros(n, dtype=torch.float64)
        # No reward is below what there was before the first: many are negative.
        before = zero - torch.inf if self.potential == "max" else zero
        crowds = [_Population(started[i : i + n], before, zero) for i in range(0, len(started), n)]
        every = self.resample_every if n > 1 else request.steps
        for level in range(0, request.steps, every):
            stretch = min(every, request.steps - level)
            found = looks.at((p for crowd in crowds for p in crowd.particles), stretch)
            own = [found[i : i + n] for i in range(0, len(found), n)]
            if level + stretch < request.steps:
                for crowd, seen, seed in zip(crowds, own, request.seeds, strict=True):
                    self._resample(crowd, seen, seed)
        best = [max(seen, key=lambda look: look.reward) for seen in own]
        spent = Spent(n * request.steps, n * -(-request.steps // every))
        return finished(best, spent)

    def _resample(self, crowd: _Population, seen: Sequence[Look], seed: int) -> None:
        rewards = torch.tensor([look.reward for look in seen], dtype=torch.float64)
        if self.potential == "difference":
            potential, crowd.history = rewards - crowd.history, rewards
        else:
            highest = torch.maximum(rewards, crowd.history)
            crowd.history = highest if self.potential == "max" else crowd.history + rewards
            potential = crowd.history
        crowd.log_weights = crowd.log_weights + self.strength * potential
        weights = crowd.log_weights.softmax(dim=0)
        if 1.0 / weights.square().sum() >= _LEAST_EFFECTIVE * self.n:
            crowd.particles = [look.onward() for look in seen]
            return
        step = seen[0].step.number
        source = seeded_generator(candidate_seed(seed, step, "resampling"))
        parents = torch.multinomial(weights, self.n, replacement=True, generator=source).sort()[0]
        crowd.history, crowd.log_weights = crowd.history[parents], torch.zeros_like(weights)
        drawn = parents.tolist()
        crowd.particles = [
            seen[parent].onward()
            if parent not in drawn[:place]
            else seen[parent].redrawn(candidate_seed(seed, place, f"step_{step}"), self.eta)
            for place, parent in enumerate(drawn)
        ]
