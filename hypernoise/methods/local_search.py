"""Search without gradients in the neighbourhood of a noise (arXiv 2501.09732)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from hypernoise.identity import SPEED_ONLY, WORK
from hypernoise.methods.candidates import Best, Candidate, candidate_batches, given
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.noise import image_seed, seeded_noise


@dataclass(eq=False)
class LocalSearch:
    """Zero-order search: score a pivot's neighbours, move to the best of them, and again.

    From the publication: a pivot noise, N neighbours at a fixed distance from it, the best of them
    as the next pivot. Ours: distance is measured as the cosine of the angle, and a neighbour has
    the pivot's norm, so that it stays as likely under N(0, I); a pivot that beats all of its
    neighbours stays; the sampler's own seed is the image's throughout.

    With ``restart``, a round without progress is followed by a round of fresh noises in place of
    neighbours, and the search goes on from the best of these: random-restart local search. The
    image that is returned is the best of the whole way. Either way an image costs
    1 + rounds x neighbors scored images.

    Args:
        neighbors: scored images per round.
        rounds: how often the pivot may move.
        similarity: cosine between a neighbour and its pivot, in (0, 1).
        restart: leave a pivot that no neighbour improves on.
        batch_size: candidates that are drawn together.

    Raises:
        ValueError: a setting is out of its range.
    """

    words_prompts: ClassVar[bool] = False
    neighbors: Annotated[int, WORK] = 7
    rounds: Annotated[int, WORK] = 7
    similarity: float = 0.95
    restart: bool = False
    batch_size: Annotated[int, SPEED_ONLY] = 64

    def __post_init__(self) -> None:
        counts = self.neighbors, self.rounds, self.batch_size
        if min(counts) < 1 or not 0 < self.similarity < 1:
            raise ValueError(
                "local search needs neighbors, rounds and batch_size >= 1 and similarity in "
                f"(0, 1), got {', '.join(map(str, counts))}, {self.similarity}"
            )
        self._batches = candidate_batches(self.batch_size)

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        best = Best("local search", request, self._batches)
        heights = best.score(given(request))
        pivots = list(request.noise)
        stuck = [False] * len(pivots)
        for turn in range(self.rounds):
            around = list(self._candidates(pivots, stuck, request.seeds, turn))
            rewards = best.score(around)
            for i, was_stuck in enumerate(stuck):
                own = slice(i * self.neighbors, (i + 1) * self.neighbors)
                scored = zip(rewards[own], around[own], strict=True)
                height, candidate = max(scored, key=lambda pair: pair[0])
                moves = was_stuck or height > heights[i]
                if moves:
                    heights[i], pivots[i] = height, candidate.noise
                stuck[i] = self.restart and not moves
        n = 1 + self.rounds * self.neighbors
        return best.generated(Spent(nfe=n * request.steps, reward_calls=n))

    def _candidates(
        self, pivots: Sequence[Tensor], stuck: Sequence[bool], seeds: Sequence[int], turn: int
    ) -> Iterator[Candidate]:
        for image, (pivot, fresh, seed) in enumerate(zip(pivots, stuck, seeds, strict=True)):
            for index in range(turn * self.neighbors, (turn + 1) * self.neighbors):
                drawn = seeded_noise(image_seed(seed, "", index, "neighbor"), pivot.shape).to(pivot)
                noise = drawn if fresh else neighbor(pivot, drawn, self.similarity)
                yield Candidate(image, noise, seed, image)


def neighbor(pivot: Tensor, direction: Tensor, similarity: float) -> Tensor:
    """The noise of the pivot's norm at a given cosine from it, turned towards ``direction``.

    Args:
        pivot: one image's noise, any shape.
        direction: of the same shape; only its part orthogonal to the pivot counts.
        similarity: cosine of the angle, in (0, 1).
    """
    norm = torch.linalg.vector_norm(pivot)
    orthogonal = direction - pivot * ((pivot * direction).sum() / norm.square())
    away = orthogonal * (norm / torch.linalg.vector_norm(orthogonal))
    turned: Tensor = similarity * pivot + (1 - similarity**2) ** 0.5 * away
    return turned
