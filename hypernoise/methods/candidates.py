"""Candidate images: drawn in batches, scored, and the best of each image kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hypernoise.batches import Batches
from hypernoise.methods.protocol import Generated, Spent, required_reward
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.rewards.protocol import Features, Reward, checked_score


class Candidate(NamedTuple):
    """A starting noise for an image.

    Attributes:
        image: the image's row in the batch that the method was given.
        noise: [*noise_shape].
        seed: for the sampler.
        row: row of the conditioning that it is drawn with.
    """

    image: int
    noise: Tensor
    seed: int
    row: int


class Network(Protocol):
    """A noise network as searches use it: trained, merged or not."""

    generator: Generator

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The displacement of noise [B, *noise_shape]: same shape."""
        ...


def check_generator(network: Network, generator: Generator) -> None:
    """Raise ValueError unless the network is the generator's."""
    if network.generator is not generator:
        raise ValueError("the noise network belongs to another generator")


def candidate_batches(size: int) -> Batches:
    """Batches of so many candidates, fewer once memory does not suffice."""
    return Batches(size, "candidates")


class Task(NamedTuple):
    """What candidates are drawn with and scored by.

    Attributes:
        features: of the images, where ``conditioning`` may have rows of its own.
        network: moves every candidate before it is drawn, if given.
    """

    generator: Generator
    reward: Reward
    conditioning: Conditioning
    features: Features
    steps: int
    network: Network | None = None

    @classmethod
    def of(
        cls,
        method: str,
        generator: Generator,
        reward: Reward | None,
        conditioning: Conditioning,
        features: Features | None,
        steps: int,
        network: Network | None = None,
    ) -> Task:
        """The task of a method that searches, by its name for messages.

        Raises:
            ValueError: there is no reward, or the network is another generator's.
        """
        reward, features = required_reward(method, reward, features)
        if network is not None:
            check_generator(network, generator)
        return cls(generator, reward, conditioning, features, steps, network)


def given(noise: Tensor, seeds: Sequence[int]) -> list[Candidate]:
    """The first candidate of each image: the noise [B, *noise_shape] that the method was given."""
    return [Candidate(i, noise[i], seed, i) for i, seed in enumerate(seeds)]


class Best:
    """The best candidate of each image, and the reward of every candidate.

    Args:
        noise: [B, *noise_shape] of the images; what is kept until a candidate is scored.
        batches: in which candidates are drawn; a method keeps them from one run to the next, so
            that what does not fit into memory is tried once.
    """

    def __init__(self, noise: Tensor, batches: Batches) -> None:
        self._batches = batches
        self.images = noise.new_empty(0)
        self.noise = noise.clone()
        self.rewards = [float("-inf")] * len(noise)
        self.scores: list[list[float]] = [[] for _ in self.rewards]

    def score(self, task: Task, candidates: Iterable[Candidate]) -> list[float]:
        """Draw and score candidates, batch by batch; the first of equals is kept.

        Returns:
            The reward of each candidate.

        Raises:
            ValueError: the reward gave a wrong shape or a value that is not finite.
            torch.OutOfMemoryError: a single candidate does not fit.
        """
        found: list[float] = []
        for some in _batches(candidates, self._batches.size):
            for _, rewards in self._batches.run(some, partial(self._add, task)):
                found += rewards
        return found

    def _add(self, task: Task, batch: Sequence[Candidate]) -> list[float]:
        owners = [candidate.image for candidate in batch]
        conditioning = task.conditioning.rows([candidate.row for candidate in batch])
        noise = torch.stack([candidate.noise for candidate in batch])
        if task.network is not None:
            noise = noise + task.network.delta(noise, conditioning)
        seeds = [candidate.seed for candidate in batch]
        images = task.generator.sample(noise, conditioning, task.steps, seeds)
        scores = checked_score(task.reward, images, task.features.rows(owners))
        rewards: list[float] = scores.tolist()
        if not len(self.images):
            self.images = images.new_empty(len(self.rewards), *images.shape[1:])
        for row, (owner, reward) in enumerate(zip(owners, rewards, strict=True)):
            self.scores[owner].append(reward)
            if reward > self.rewards[owner]:
                self.rewards[owner] = reward
                self.images[owner], self.noise[owner] = images[row], noise[row]
        return rewards

    def skip(self, image: int, n: int) -> None:
        """Count n attempts for an image that gave nothing to score."""
        self.scores[image] += [float("nan")] * n

    def generated(self, spent: Spent) -> Generated:
        """The best images; every image must have had equally many attempts."""
        device = self.noise.device
        rewards = torch.tensor(self.rewards, device=device)
        trajectory = torch.tensor(self.scores, device=device)
        return Generated(self.images, self.noise, spent, rewards, trajectory)


def _batches(candidates: Iterable[Candidate], size: int) -> Iterator[list[Candidate]]:
    remaining = iter(candidates)
    while batch := list(islice(remaining, size)):
        yield batch
