"""Best-of-N: draw N images and keep the one that the reward likes best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from hypernoise.identity import SPEED_ONLY, WORK
from hypernoise.methods.candidates import Best, Candidate, candidate_batches
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.networks.protocol import NoiseMover
from hypernoise.noise import image_seed, seeded_noise


@dataclass(eq=False)
class BestOfN:
    """The best of N candidates per image; the first is the given noise itself.

    Args:
        n: candidates per image.
        batch_size: candidates that are drawn together, of several images where n is smaller.

    Raises:
        ValueError: n < 1 or batch_size < 1.
    """

    words_prompts: ClassVar[bool] = False
    n: Annotated[int, WORK] = 50
    batch_size: Annotated[int, SPEED_ONLY] = 64

    def __post_init__(self) -> None:
        if self.n < 1 or self.batch_size < 1:
            raise ValueError(
                f"best-of-n needs n >= 1 and batch_size >= 1, got {self.n}, {self.batch_size}"
            )
        self._batches = candidate_batches(self.batch_size)
        self._network: NoiseMover | None = None

    def moved_by(self, network: NoiseMover) -> BestOfN:
        """The same search over noises that a trained network has moved, the given one included."""
        search = BestOfN(self.n, self.batch_size)
        search._network = network
        return search

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        best = Best("best-of-n", request, self._batches, self._network)
        best.score(candidates_of(request.noise, request.seeds, self.n))
        passes = request.steps + (self._network.backbone_passes if self._network else 0)
        return best.generated(Spent(nfe=self.n * passes, reward_calls=self.n))


def candidates_of(noise: Tensor, seeds: Sequence[int], n: int) -> Iterator[Candidate]:
    """The n candidates of each image [B, *noise_shape], image by image: the given noise first."""
    for image, (given, seed) in enumerate(zip(noise, seeds, strict=True)):
        yield Candidate(image, given, seed, image)
        for index in range(1, n):
            own = seeded_noise(candidate_seed(seed, index), given.shape)
            sampler_seed = candidate_seed(seed, index, "candidate_sampler")
            yield Candidate(image, own.to(noise), sampler_seed, image)


def candidate_seed(seed: int, index: int, stream: str = "candidate") -> int:
    """The seed of an image's further candidates: ``index`` 1, 2, …"""
    return image_seed(seed, "", index, stream)
