"""Candidate images: drawn in batches, scored, and the best of each image kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from hypernoise.batches import Batches
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.models.protocol import Conditioning
from hypernoise.networks.protocol import NoiseMover, check_generator
from hypernoise.rewards.protocol import checked_score


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


def candidate_batches(size: int) -> Batches:
    """Batches of so many candidates, fewer once memory does not suffice."""
    return Batches(size, "candidates")


def given(request: Request) -> list[Candidate]:
    """The first candidate of each image: the noise that the method was given."""
    return [Candidate(i, request.noise[i], seed, i) for i, seed in enumerate(request.seeds)]


class Best:
    """The best candidate of each image, and the reward of every candidate.

    Args:
        method: the method that searches, by its name for messages.
        request: what it was asked for; its noise is kept until a candidate is scored.
        batches: in which candidates are drawn; a method keeps them from one run to the next, so
            that what does not fit into memory is tried once.
        network: moves every candidate before it is drawn, if given.

    Raises:
        ValueError: there is no reward, or the network is another generator's.
    """

    def __init__(
        self, method: str, request: Request, batches: Batches, network: NoiseMover | None = None
    ) -> None:
        self._reward, self._features = request.searched(method)
        if network is not None:
            check_generator(network, request.generator)
        self._request = request
        self._batches = batches
        self._network = network
        self.images = request.noise.new_empty(0)
        self.noise = request.noise.clone()
        self.rewards = [float("-inf")] * len(request.noise)
        self.scores: list[list[float]] = [[] for _ in self.rewards]

    def score(
        self, candidates: Iterable[Candidate], conditioning: Conditioning | None = None
    ) -> list[float]:
        """Draw and score candidates, batch by batch; the first of equals is kept.

        Args:
            candidates: what to draw.
            conditioning: whose rows they are drawn with, if not the request's. The reward compares
                with the request's prompts all the same.

        Returns:
            The reward of each candidate.

        Raises:
            ValueError: the reward gave a wrong shape or a value that is not finite.
            torch.OutOfMemoryError: a single candidate does not fit.
        """
        encoded = self._request.conditioning if conditioning is None else conditioning
        found: list[float] = []
        for some in _batches(candidates, self._batches.size):
            for _, rewards in self._batches.run(some, partial(self._add, encoded)):
                found += rewards
        return found

    def _add(self, encoded: Conditioning, batch: Sequence[Candidate]) -> list[float]:
        owners = [candidate.image for candidate in batch]
        conditioning = encoded.rows([candidate.row for candidate in batch])
        noise = torch.stack([candidate.noise for candidate in batch])
        if self._network is not None:
            noise = noise + self._network.delta(noise, conditioning)
        seeds = [candidate.seed for candidate in batch]
        request = self._request
        images = request.generator.sample(noise, conditioning, request.steps, seeds)
        scores = checked_score(self._reward, images, self._features.rows(owners))
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
