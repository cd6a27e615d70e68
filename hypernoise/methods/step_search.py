"""Searches that spend an image's passes where they are needed, sampling step by sampling step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import torch

from hypernoise.identity import SPEED_ONLY, WORK, needs_several_steps
from hypernoise.methods.best_of_n import candidate_seed
from hypernoise.methods.candidates import Candidate, candidate_batches, given
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.methods.stepwise import Look, Looks, Particle, begun, check_settings, finished
from hypernoise.noise import seeded_noise


@dataclass
class Path:
    """How far the search has come with an image.

    Attributes:
        first: the candidate of the given noise.
        seed: of everything that is drawn for the image.
        n_steps: of the sampler; one pass at each of as many levels makes an image.
        left: passes that may still be made.
        allowance: of them those that may be made at this level.
        level: steps that the path has made.
        tried: passes that were made at this level.
        chosen: what the path goes on from; None at level 0.
        here: the best of this level so far.
        best: highest reward of all levels before.
    """

    first: Candidate
    seed: int
    n_steps: int
    left: int
    allowance: int
    level: int = 0
    tried: int = 0
    chosen: Look | None = None
    here: Look | None = None
    best: float = float("-inf")

    @property
    def is_last(self) -> bool:
        """Whether a pass at this level makes an image that can be returned."""
        return self.level == self.n_steps - 1

    def proposed(self, eta: float) -> Particle:
        """What to try next: the sampler's own way first, then others."""
        if self.chosen is not None:
            if self.tried == 0:
                return self.chosen.onward()
            seed = candidate_seed(self.seed, self.tried, f"step_{self.level}")
            return self.chosen.redrawn(seed, eta)
        if self.tried == 0:
            return begun(self.first)
        own = seeded_noise(candidate_seed(self.seed, self.tried), self.first.noise.shape)
        seed = candidate_seed(self.seed, self.tried, "candidate_sampler")
        return begun(self.first._replace(noise=own.to(self.first.noise), seed=seed))


class Budget(Protocol):
    """How an image's passes are spread over the levels."""

    def accepts(self, path: Path, reward: float) -> bool:
        """Whether the path goes on with what has just been scored, and tries no more here."""
        ...

    def allowance(self, path: Path, unused: int) -> int:
        """Passes for a level that a path begins, where the one before left some unused."""
        ...


def search(looks: Looks, request: Request, n: int, eta: float, budget: Budget) -> Generated:
    """Search for each image with n times the passes of a plain one.

    At each level candidates are tried one after the other, and each costs a pass and a score of its
    clean prediction: at level 0 they are those of Best-of-N, later the latents that the sampler
    itself goes on from, then latents redrawn at the same noise level. The path goes on with the
    best of a level once one is accepted or the level's allowance is used up.
    """
    steps = request.steps
    firsts = zip(given(request), request.seeds, strict=True)
    paths = [Path(first, seed, steps, n * steps, 0) for first, seed in firsts]
    for path in paths:
        path.allowance = budget.allowance(path, 0)
    going = paths
    while going:
        found = looks.at(path.proposed(eta) for path in going)
        going = [p for p, look in zip(going, found, strict=True) if goes_on(p, look, budget)]
    each = [Spent(nfe := n * steps - path.left, nfe) for path in paths]
    return finished([path.here for path in paths if path.here], max(each), each)


def goes_on(path: Path, look: Look, budget: Budget) -> bool:
    """Take in what was found on a path; False once its image is finished."""
    path.tried, path.left = path.tried + 1, path.left - 1
    accepted = budget.accepts(path, look.reward)
    if path.here is None or look.reward > path.here.reward:
        path.here = look
    if not accepted and path.tried < path.allowance:
        return True
    if path.is_last:
        return False
    unused = path.allowance - path.tried
    path.best = max(path.best, path.here.reward)
    path.level, path.tried, path.chosen, path.here = path.level + 1, 0, path.here, None
    path.allowance = budget.allowance(path, unused)
    return True


@needs_several_steps
@dataclass(eq=False)
class RolloverBudget:
    """A budget for each sampling step, of which what an early success leaves rolls over.

    Rollover budget forcing (FlowRBF; Kim et al., arXiv 2503.19385, section 6;
    KAIST-Visual-AI-Group/Flow-Inference-Time-Scaling). The first level takes the best of its n
    candidates; a later one goes on with the first whose clean prediction earns more than the best
    of all levels before, and leaves the rest of its n to the next one; the last uses up what there
    is. Differences to the publication are in docs/methods.md. With n = 1 it is the base.

    Args:
        n: passes per level on average: each image costs what n plain ones cost.
        eta: how much of the noise in redrawn latents is new, from 0 to 1.
        batch_size: candidates that are drawn together, of several images.

    Raises:
        ValueError: an argument is out of its range.
    """

    words_prompts: ClassVar[bool] = False
    n: Annotated[int, WORK] = 50
    eta: float = 1.0
    batch_size: Annotated[int, SPEED_ONLY] = 64

    def __post_init__(self) -> None:
        check_settings("rollover budget", self.n, self.eta, self.batch_size)
        self._batches = candidate_batches(self.batch_size)

    def accepts(self, path: Path, reward: float) -> bool:
        return path.level > 0 and not path.is_last and reward > path.best

    def allowance(self, path: Path, unused: int) -> int:
        return self.n + unused

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        looks = Looks("rollover budget", request, self._batches)
        return search(looks, request, self.n, self.eta, self)


@needs_several_steps
@dataclass(eq=False)
class VerifierThreshold:
    """A sampling step is left once its clean prediction earns a threshold.

    Verifier-Threshold (Sundaresha et al., arXiv 2512.08985): the next step is made only when the
    reward of the present one's prediction is above a threshold, so that hard steps get the passes
    that easy ones leave. Differences to the publication, and what of it was not at hand, are in
    docs/methods.md. An image whose every step earns the threshold at once costs what the base
    costs, and is the base's.

    Args:
        n: an image costs at most what n plain ones cost: each level takes what it needs, but one
            pass for each level after it.
        threshold: in units of the reward.
        eta: how much of the noise in redrawn latents is new, from 0 to 1.
        batch_size: candidates that are drawn together, of several images.

    Raises:
        ValueError: an argument is out of its range.
    """

    words_prompts: ClassVar[bool] = False
    n: Annotated[int, WORK] = 50
    threshold: float = 0.0
    eta: float = 1.0
    batch_size: Annotated[int, SPEED_ONLY] = 64

    def __post_init__(self) -> None:
        check_settings("verifier threshold", self.n, self.eta, self.batch_size)
        self._batches = candidate_batches(self.batch_size)

    def accepts(self, path: Path, reward: float) -> bool:
        return reward > self.threshold

    def allowance(self, path: Path, unused: int) -> int:
        return path.left - (path.n_steps - 1 - path.level)

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        looks = Looks("verifier threshold", request, self._batches)
        return search(looks, request, self.n, self.eta, self)
