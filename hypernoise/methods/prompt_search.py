"""Prompt optimisation: a proposer rewrites the prompt, the reward says what helps (MILS,
arXiv 2501.18096).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple, Protocol

import torch

from hypernoise.identity import SPEED_ONLY
from hypernoise.methods.candidates import Best, Candidate, candidate_batches, given
from hypernoise.methods.protocol import Checked, Generated, Request, Spent
from hypernoise.noise import image_seed


class ScoredPrompt(NamedTuple):
    """A prompt and the reward of its image, measured against the prompt that was asked for."""

    text: str
    reward: float


class Proposer(Protocol):
    """Writes prompts that may give a better image."""

    def propose(
        self, prompt: str, scored: Sequence[ScoredPrompt], n: int, seed: int
    ) -> Sequence[str]:
        """New wordings of a prompt.

        Args:
            prompt: what the image should show.
            scored: prompts that were tried, the best first.
            n: how many are wanted.
            seed: for whatever the proposer draws.

        Returns:
            At most n texts; fewer where it could think of no more, or its answer was malformed.
        """
        ...


@dataclass(eq=False)
class PromptSearch:
    """The best image of a prompt and its rewordings, all from the given noise.

    From the publication: the pool starts with the prompt itself; in each round the proposer sees
    the best prompts so far with their scores. The reward compares every image with the *given*
    prompt. A proposal that is missing, empty or was tried before counts as an attempt without an
    image; the cost stated is that of all attempts.

    Args:
        proposer: writes the prompts.
        proposals: per round.
        rounds: how often the proposer is asked.
        keep: how many of the best prompts it is shown.
        batch_size: images that are drawn together.

    Raises:
        ValueError: a number is below 1.
    """

    words_prompts: ClassVar[bool] = True
    proposer: Proposer
    proposals: int = 5
    rounds: int = 10
    keep: int = 20
    batch_size: Annotated[int, SPEED_ONLY] = 64

    def __post_init__(self) -> None:
        counts = self.proposals, self.rounds, self.keep, self.batch_size
        if min(counts) < 1:
            raise ValueError(
                "prompt search needs proposals, rounds, keep and batch_size >= 1, got "
                f"{', '.join(map(str, counts))}"
            )
        self._batches = candidate_batches(self.batch_size)

    def check(self) -> None:
        if isinstance(self.proposer, Checked):
            self.proposer.check()

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        best = Best("prompt search", request, self._batches)
        best.score(given(request))
        tried = [[text] for text in request.conditioning.prompts]
        for turn in range(self.rounds):
            seeds = [image_seed(seed, "", turn, "proposal") for seed in request.seeds]
            texts = [self._proposals(own, best.scores[i], seeds[i]) for i, own in enumerate(tried)]
            owners = [i for i, own in enumerate(texts) for _ in own]
            if owners:
                conditioning = request.generator.encode([text for own in texts for text in own])
                drawn = [
                    Candidate(i, request.noise[i], request.seeds[i], row)
                    for row, i in enumerate(owners)
                ]
                best.score(drawn, conditioning)
            for i, own in enumerate(texts):
                lacking = self.proposals - len(own)
                best.skip(i, lacking)
                tried[i] += [*own, *[""] * lacking]
        n = 1 + self.rounds * self.proposals
        return best.generated(Spent(nfe=n * request.steps, reward_calls=n))._replace(prompts=tried)

    def _proposals(self, tried: Sequence[str], rewards: Sequence[float], seed: int) -> list[str]:
        pairs = zip(tried, rewards, strict=True)
        pool = [ScoredPrompt(text, reward) for text, reward in pairs if text]
        pool.sort(key=lambda scored: -scored.reward)
        answer = self.proposer.propose(tried[0], pool[: self.keep], self.proposals, seed)
        new = dict.fromkeys(text.strip() for text in answer)
        return [text for text in new if text and text not in tried][: self.proposals]
