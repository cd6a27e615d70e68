"""No prompt is both trained and evaluated on: compared as normalised text before every run."""

from __future__ import annotations

from collections.abc import Mapping

from harness.components import load_prompts
from harness.jobs import OverlapJob
from harness.prompts import normalised
from harness.specs import PromptsSpec


def run(job: OverlapJob) -> None:
    """As :func:`check`, which is all that there is to do."""
    check(job)


def check(job: OverlapJob) -> None:
    """Compare every training's prompts with every benchmark's.

    Raises:
        ValueError: some are the same but for case, whitespace and punctuation; all are listed. Or
            as :func:`harness.components.load_prompts`.
        FileNotFoundError: a file of prompts cannot be had.
    """
    trained, evaluated = _texts(job.trainings), _texts(job.benchmarks)
    shared = [
        f"{training} and {benchmark}: {', '.join(map(repr, common))}"
        for training, own in trained.items()
        for benchmark, others in evaluated.items()
        if (common := [text for key, text in others.items() if key in own])
    ]
    if shared:
        raise ValueError(
            "prompts are both trained and evaluated on; take them out of the training's prompts "
            f"(`apart_from` of harness.training_prompts:preference does): {'; '.join(shared)}"
        )


def _texts(lists: Mapping[str, PromptsSpec]) -> dict[str, dict[str, str]]:
    """Normalised text -> text of every prompt of each list."""
    return {
        name: {normalised(prompt.text): prompt.text for prompt in load_prompts(spec)}
        for name, spec in lists.items()
    }
