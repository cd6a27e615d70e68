"""Searches between the steps of a sampler: latents, what they will become, and others like them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from hypernoise.batches import Batches
from hypernoise.identity import LEAST_STEPS
from hypernoise.methods.best_of_n import candidate_seed
from hypernoise.methods.candidates import Candidate
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.models.protocol import STOP, Step, Stop, Walk
from hypernoise.noise import seeded_generator, seeded_noise
from hypernoise.rewards.protocol import checked_score


class Particle(NamedTuple):
    """Where a sampler stands with an image.

    Attributes:
        image: the image's row in the batch that the method was given.
        level: steps that have been made.
        latents: [...] before the next one; the noise at level 0.
        source: of the noise that the sampler itself draws in the next steps.
        start: [*noise_shape], the noise that it descends from.
    """

    image: int
    level: int
    latents: Tensor
    source: torch.Generator
    start: Tensor


class Look(NamedTuple):
    """What a particle's next steps came to; the step is the last of them, its tensors one image's.

    Attributes:
        pixels: [3, H, W], the image of the step's clean prediction, after the last step the image.
        reward: of these pixels.
        source: where the sampler's random generator was left.
    """

    particle: Particle
    step: Step
    pixels: Tensor
    reward: float
    source: torch.Generator

    def onward(self) -> Particle:
        """The sampler's own next particle."""
        return self._next(self.step.latents, self.source)

    def redrawn(self, seed: int, eta: float) -> Particle:
        """Another next particle: :meth:`hypernoise.models.protocol.Step.redrawn`, by a seed."""
        fresh = seeded_noise(seed, self.step.latents.shape)
        source = seeded_generator(candidate_seed(seed, 0, "step_sampler"))
        return self._next(self.step.redrawn(fresh, eta), source)

    def _next(self, latents: Tensor, source: torch.Generator) -> Particle:
        level = self.step.number + 1
        return self.particle._replace(level=level, latents=latents, source=source)


def begun(candidate: Candidate) -> Particle:
    """The particle that a candidate of Best-of-N starts as."""
    source = seeded_generator(candidate.seed)
    return Particle(candidate.image, 0, candidate.noise, source, candidate.noise)


def finished(best: Sequence[Look], spent: Spent, each: Sequence[Spent] | None = None) -> Generated:
    """The images of finished particles, one of each image.

    There is no trajectory: most of what was scored is no image that could be returned.
    """
    rewards = torch.tensor([look.reward for look in best], device=best[0].pixels.device)
    images = torch.stack([look.pixels for look in best])
    noise = torch.stack([look.particle.start for look in best])
    return Generated(images, noise, spent, rewards, each=each)


def check_several_steps(method: str, steps: int) -> None:
    """Raise ValueError where a sampler has too few steps for a search between them."""
    if steps < LEAST_STEPS:
        raise ValueError(
            f"{method} searches between sampling steps: steps must be at least {LEAST_STEPS}, "
            f"got {steps}"
        )


def check_settings(method: str, n: int, eta: float, batch_size: int) -> None:
    """Raise ValueError where what all searches between steps have in common is impossible."""
    if min(n, batch_size) < 1 or not 0.0 <= eta <= 1.0:
        raise ValueError(
            f"{method} needs n >= 1, batch_size >= 1 and eta from 0 to 1, got n {n}, "
            f"batch_size {batch_size}, eta {eta}"
        )
    if n > 1 and eta == 0:
        raise ValueError(
            f"{method} with n {n} needs an eta above 0, got 0: redrawn latents would be the same"
        )


class Looks:
    """Lets samplers make steps, batch by batch, and scores what they predict then.

    Args:
        method: the method that searches, by its name for messages.
        request: what it was asked for.
        batches: in which particles are drawn.

    Raises:
        ValueError: there is no reward, or there are too few steps.
    """

    def __init__(self, method: str, request: Request, batches: Batches) -> None:
        self._reward, self._features = request.searched(method)
        check_several_steps(method, request.steps)
        self._request = request
        self._batches = batches

    def at(self, particles: Iterable[Particle], n_steps: int = 1) -> list[Look]:
        """Make the next ``n_steps`` of every particle, in the order of the particles.

        Raises:
            ValueError: the reward gave a wrong shape or a value that is not finite.
            torch.OutOfMemoryError: a single particle does not fit.
        """
        numbered = sorted(enumerate(particles), key=lambda each: each[1].level)
        found: dict[int, Look] = {}
        for level, group in groupby(numbered, key=lambda each: each[1].level):
            places, own = zip(*group, strict=True)
            make = partial(self._made, level + n_steps)
            looks = (look for _, made in self._batches.run(own, make) for look in made)
            found |= zip(places, looks, strict=True)
        return [found[place] for place in range(len(found))]

    def _made(self, end: int, particles: Sequence[Particle]) -> list[Look]:
        request, owners = self._request, [particle.image for particle in particles]
        seen: list[Step] = []

        def stop(step: Step) -> Stop | None:
            if step.number < end - 1:
                return None
            seen.append(step)
            return STOP

        # Copies, since a batch that does not fit is begun anew.
        sources = [particle.source.clone_state() for particle in particles]
        images = request.generator.sample(
            torch.stack([particle.latents for particle in particles]),
            request.conditioning.rows(owners),
            request.steps,
            sources,
            Walk(stop, particles[0].level),
        )
        (step,) = seen
        scores = checked_score(self._reward, images, self._features.rows(owners)).tolist()
        own = zip(step.latents, step.clean, step.noise, strict=True)
        steps = [step._replace(latents=z, clean=x, noise=e) for z, x, e in own]
        together = zip(particles, steps, images, scores, sources, strict=True)
        return [Look(*each) for each in together]
