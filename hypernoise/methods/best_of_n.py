"""Best-of-N: draw N images and keep the one that the reward likes best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hypernoise.methods.protocol import Generated, Spent, required_reward
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.noise import image_seed, seeded_noise
from hypernoise.rewards.protocol import Features, Reward, checked_score


class _Candidate(NamedTuple):
    image: int
    noise: Tensor
    seed: int


class BestOfN:
    """The best of N candidates per image; the first is the given noise itself.

    Args:
        n: candidates per image.
        batch_size: candidates that are drawn together, of several images where n is smaller.

    Raises:
        ValueError: n < 1 or batch_size < 1.
    """

    def __init__(self, n: int = 50, batch_size: int = 64) -> None:
        if n < 1 or batch_size < 1:
            raise ValueError(f"best-of-n needs n >= 1 and batch_size >= 1, got {n}, {batch_size}")
        self.n = n
        self.batch_size = batch_size

    @torch.no_grad()
    def run(
        self,
        generator: Generator,
        reward: Reward | None,
        conditioning: Conditioning,
        features: Features | None,
        noise: Tensor,
        seeds: Sequence[int],
        steps: int = 1,
    ) -> Generated:
        reward, features = required_reward("best-of-n", reward, features)
        images = torch.empty(0)
        kept = noise.clone()
        best = [float("-inf")] * len(noise)
        scores: list[list[float]] = [[] for _ in best]
        for batch in _batches(self._candidates(noise, seeds), self.batch_size):
            owners = [candidate.image for candidate in batch]
            start = torch.stack([candidate.noise for candidate in batch])
            drawn = generator.sample(
                start, conditioning.rows(owners), steps, [candidate.seed for candidate in batch]
            )
            if not len(images):
                images = drawn.new_empty(len(noise), *drawn.shape[1:])
            batch_scores = checked_score(reward, drawn, features.rows(owners)).tolist()
            for row, (image, score) in enumerate(zip(owners, batch_scores, strict=True)):
                scores[image].append(score)
                if score > best[image]:
                    best[image] = score
                    images[image], kept[image] = drawn[row], start[row]
        trajectory = torch.tensor(scores, device=noise.device).cummax(dim=1).values
        spent = Spent(nfe=self.n * steps, reward_calls=self.n)
        return Generated(images, kept, spent, trajectory[:, -1], trajectory)

    def _candidates(self, noise: Tensor, seeds: Sequence[int]) -> Iterator[_Candidate]:
        for image, (given, seed) in enumerate(zip(noise, seeds, strict=True)):
            yield _Candidate(image, given, seed)
            for index in range(1, self.n):
                own = seeded_noise(candidate_seed(seed, index), given.shape)
                yield _Candidate(
                    image, own.to(noise), candidate_seed(seed, index, "candidate_sampler")
                )


def candidate_seed(seed: int, index: int, stream: str = "candidate") -> int:
    """The seed of an image's further candidates: ``index`` 1, 2, …"""
    return image_seed(seed, "", index, stream)


def _batches(candidates: Iterator[_Candidate], size: int) -> Iterator[list[_Candidate]]:
    batch: list[_Candidate] = []
    for candidate in candidates:
        batch.append(candidate)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
