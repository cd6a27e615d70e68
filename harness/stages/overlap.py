"""No network is evaluated on its training's prompts: compared as normalised text before every run.

Validation prompts that are evaluated on too are listed, but stop nothing: what they are for is a
matter of the config.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.benchmarks.prompts import normalised
from harness.build.prompts import load_prompts, told_meaning
from harness.experiment.components import PromptsSpec
from harness.experiment.jobs import OverlapJob


def run(job: OverlapJob) -> None:
    """As :func:`check`; prints what :func:`validated` says."""
    check(job)
    for line in validated(job):
        print(line)


def check(job: OverlapJob) -> None:
    """Compare every training's prompts with those of the benchmarks that its network is used on.

    Raises:
        ValueError: some are the same but for case, whitespace and punctuation; all are listed. Or
            as :func:`harness.build.prompts.load_prompts`.
        FileNotFoundError: a file of prompts cannot be had.
    """
    shared = [f"{pair}: {_listed(common)}" for pair, _, common in _shared(job.trainings, job)]
    if shared:
        raise ValueError(
            "prompts are both trained and evaluated on; take them out of the training's prompts "
            "(`apart_from` of harness.benchmarks.training_prompts:preference does): "
            + "; ".join(shared)
        )


def validated(job: OverlapJob) -> list[str]:
    """A line for every validation and benchmark that share prompts; all are listed.

    Raises: as :func:`check`, but for what it compares.
    """
    return [
        f"validated and evaluated on: {pair}: "
        + (f"all {n}" if len(common) == n else f"{len(common)} of {n}: {_listed(common)}")
        for pair, n, common in _shared(job.validations, job)
    ]


def _listed(prompts: Sequence[str]) -> str:
    """Prompts as messages list them."""
    return ", ".join(map(repr, prompts))


def _shared(
    lists: Mapping[str, PromptsSpec], job: OverlapJob
) -> Iterator[tuple[str, int, list[str]]]:
    """Name of a list and a benchmark, how many prompts the benchmark has, those in both."""
    evaluated = {name: _keys(spec) for name, spec in job.benchmarks.items()}
    for name, spec in lists.items():
        own = set().union(*_keys(spec).values())
        for benchmark in job.measured.get(name, evaluated):
            others = evaluated[benchmark]
            common = [text for text, keys in others.items() if keys & own]
            if common:
                yield f"{name} and {benchmark}", len(others), common


def _keys(spec: PromptsSpec) -> dict[str, set[str]]:
    """The text of every prompt, once if it comes again, and what it is known by: its normalised
    text, and its meaning where its list says it."""
    found: dict[str, set[str]] = {}
    texts: dict[str, str] = {}
    for prompt in load_prompts(spec):
        text = texts.setdefault(normalised(prompt.text), prompt.text)
        meaning = told_meaning(prompt)
        found[text] = {normalised(prompt.text)} | ({f"means {meaning}"} if meaning else set())
    return found
