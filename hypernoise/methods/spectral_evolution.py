"""Spectral evolution search: the cross-entropy method on the noise's lowest wavelet band.

Source: arXiv 2602.03208, as DiffSynth-Studio has it (diffsynth/utils/ses/ses.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from hypernoise.identity import SPEED_ONLY, WORK
from hypernoise.methods.candidates import Best, Candidate, candidate_batches
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.networks.bands import Band
from hypernoise.noise import image_seed, seeded_noise

#: Added to variances, so that equal elites do not end the search.
_TINY = 1e-7


@dataclass(eq=False)
class SpectralEvolution:
    """Draw the lowest wavelet band anew, generation by generation, around its best draws so far.

    From the source: the Haar wavelet; the rest of the noise stays as it was given; the band starts
    as N(0, I), and each generation is drawn from the normal distribution with the mean and the
    variances of the best ``elites`` of all draws so far. The best image of the way is returned.

    Ours: the first draw is the given noise's own band, which is such a draw already, so that the
    first image is the base's; candidates are drawn with all sampling steps and the image's own
    sampler seed, where theirs are previews with fewer; coefficients are scaled so that they are
    standard normal where the noise is, on odd sizes too.

    Args:
        n: scored images per image.
        population: of a generation; the last one may be smaller.
        elites: how many of the best the next generation is drawn around.
        levels: of the wavelet transform; the band has a coefficient for each block of 2**levels
            latents a side. With 0 it is all of the noise, and where a side has no more latents
            than that it is one block.
        batch_size: candidates that are drawn together.

    Raises:
        ValueError: a setting is out of its range.
    """

    words_prompts: ClassVar[bool] = False
    n: Annotated[int, WORK] = 50
    population: int = 10
    elites: int = 5
    levels: int = 4
    batch_size: Annotated[int, SPEED_ONLY] = 64

    def __post_init__(self) -> None:
        counts = self.n, self.population, self.elites, self.batch_size
        if min(counts) < 1 or self.levels < 0:
            raise ValueError(
                "spectral evolution search needs n, population, elites and batch_size >= 1 and "
                f"levels >= 0, got {', '.join(map(str, counts))}, {self.levels}"
            )
        self._batches = candidate_batches(self.batch_size)

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        best = Best("spectral evolution search", request, self._batches)
        band = Band(request.generator, partial(haar_band, levels=self.levels))
        # Image by image: the products of a batch may round otherwise.
        bands = [band.coefficients(noise[None])[0] for noise in request.noise]
        laws = [CrossEntropy(self.elites, own) for own in bands]
        for first in range(0, self.n, self.population):
            indices = range(first, min(first + self.population, self.n))
            drawn = [
                [law.draw(seed, index) if index else own for index in indices]
                for law, own, seed in zip(laws, bands, request.seeds, strict=True)
            ]
            rewards = best.score(
                Candidate(i, request.noise[i] + band.field((one - bands[i])[None])[0], seed, i)
                for i, seed in enumerate(request.seeds)
                for one in drawn[i]
            )
            for i, law in enumerate(laws):
                law.learn(rewards[i * len(indices) : (i + 1) * len(indices)], drawn[i])
        return best.generated(Spent(nfe=self.n * request.steps, reward_calls=self.n))


class CrossEntropy:
    """Independent normal numbers whose means and variances follow the best that were drawn.

    Args:
        n_elites: how many of all draws so far count; with one of them variances stay 1.
        like: [k], whose shape and device draws have; they start as standard normal ones.
    """

    def __init__(self, n_elites: int, like: Tensor) -> None:
        self.mean, self.deviation = torch.zeros_like(like), torch.ones_like(like)
        self._n_elites = n_elites
        self._elites: list[tuple[float, Tensor]] = []

    def draw(self, seed: int, index: int) -> Tensor:
        """The draw [k] of an image's seed with a number of its own."""
        normal = seeded_noise(image_seed(seed, "", index, "spectral_evolution"), self.mean.shape)
        return self.mean + self.deviation * normal.to(self.mean)

    def learn(self, rewards: Sequence[float], drawn: Sequence[Tensor]) -> None:
        """Take in the rewards of draws [k]; of equal ones the earlier counts."""
        scored = [*self._elites, *zip(rewards, drawn, strict=True)]
        self._elites = sorted(scored, key=lambda pair: pair[0], reverse=True)[: self._n_elites]
        elites = torch.stack([one for _, one in self._elites])
        self.mean = elites.mean(dim=0)
        if len(elites) > 1:
            self.deviation = (elites.var(dim=0) + _TINY).sqrt()


def haar_band(n: int, levels: int) -> Tensor:
    """The low band of a Haar transform of n numbers: constants on blocks of 2**levels of them.

    Returns:
        [ceil(n / 2**levels), n] float32 with orthonormal rows; the last block may be shorter.
    """
    blocks = functional.one_hot(torch.arange(n) // 2**levels).T.float()
    return blocks / blocks.sum(dim=1, keepdim=True).sqrt()
