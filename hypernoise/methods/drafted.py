"""Best-of-N over cheap drafts, of which the best are finished."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch

from hypernoise.identity import SPEED_ONLY, WORK
from hypernoise.methods.best_of_n import candidates_of
from hypernoise.methods.candidates import Best, candidate_batches
from hypernoise.methods.protocol import Generated, Request, Spent


@dataclass(eq=False)
class DraftedBestOfN:
    """Drafts with fewer sampling steps are scored, and the best of them drawn with all steps.

    After Flash-BoN (arXiv 2607.04461), whose abstract is what was at hand: many cheap drafts are
    verified and the best is finished, because seconds, the verifier's among them, are what counts.
    There a draft also skips layers; ours has fewer steps, from the same noise and sampler seed. The
    finished ones are scored again, so that the best of ``keep`` is returned. Where images have no
    more steps than drafts, drafts are the images, and this is Best-of-N.

    Candidates are those of :class:`hypernoise.methods.best_of_n.BestOfN`. There is no trajectory:
    a draft's reward is of no image that could be returned.

    Args:
        n: drafts per image, the given noise's own among them.
        keep: how many are finished, at most ``n``.
        draft_steps: sampling steps of a draft.
        batch_size: candidates that are drawn together.

    Raises:
        ValueError: a number is below 1, or ``keep`` is above ``n``.
    """

    words_prompts: ClassVar[bool] = False
    n: Annotated[int, WORK] = 50
    keep: Annotated[int, WORK] = 4
    draft_steps: int = 1
    batch_size: Annotated[int, SPEED_ONLY] = 64

    def __post_init__(self) -> None:
        counts = self.n, self.keep, self.draft_steps, self.batch_size
        if min(counts) < 1 or self.keep > self.n:
            raise ValueError(
                "drafted best-of-n needs n, keep, draft_steps and batch_size >= 1 and keep <= n, "
                f"got {', '.join(map(str, counts))}"
            )
        self._batches = candidate_batches(self.batch_size)

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        steps = min(self.draft_steps, request.steps)
        drafts = Best("drafted best-of-n", replace(request, steps=steps), self._batches)
        drawn = list(candidates_of(request.noise, request.seeds, self.n))
        rewards = drafts.score(drawn)
        if steps == request.steps:
            spent = Spent(nfe=self.n * steps, reward_calls=self.n)
            return drafts.generated(spent)._replace(trajectory=None)
        chosen = []
        for start in range(0, len(drawn), self.n):
            ranked = sorted(range(start, start + self.n), key=rewards.__getitem__, reverse=True)
            chosen += [drawn[place] for place in ranked[: self.keep]]
        finished = Best("drafted best-of-n", request, self._batches)
        finished.score(chosen)
        passes = self.n * steps + self.keep * request.steps
        spent = Spent(nfe=passes, reward_calls=self.n + self.keep)
        return finished.generated(spent)._replace(trajectory=None)
