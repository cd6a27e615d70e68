"""Prompt lists made from others, and benchmarks that are nothing but a list of prompts."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any, Protocol, TypeVar

from harness.base.import_strings import resolve
from harness.benchmarks.build import Declaration, declared_prompts
from harness.benchmarks.protocol import Images, Metric, Prompt, Score


class _HasTask(Protocol):
    @property
    def task(self) -> str: ...


Listed = TypeVar("Listed", bound=_HasTask)


class PromptList:
    """A benchmark that measures nothing by itself: its images are measured by rewards, or compared
    with one another.

    Args:
        prompts: declares the list of prompts (:mod:`harness.benchmarks.build`).
    """

    metrics: tuple[Metric, ...] = ()

    def __init__(self, prompts: Declaration) -> None:
        self._prompts = prompts

    def prompts(self) -> list[Prompt]:
        """The prompts of the list."""
        return declared_prompts(self._prompts)

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Any image will do."""

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[Mapping[str, Score]]:
        """No score of any image."""
        return [{} for _ in prompts]


def normalised(text: str) -> str:
    """A prompt's text without case, punctuation and needless whitespace: equal for equal prompts.

    Apostrophes vanish, other punctuation parts words. A text without any letter or digit stays as
    it is, but for whitespace around it.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = folded.translate(dict.fromkeys(map(ord, "'\N{RIGHT SINGLE QUOTATION MARK}")))
    words = "".join(letter if letter.isalnum() else " " for letter in bare).split()
    return " ".join(words) or text.strip()


def subset(of: str, n: int, **arguments: Any) -> tuple[Any, ...]:
    """The first ``n`` prompts of a list, taken from its tasks in turn, so that all are there.

    Args:
        of: target of the whole list, called with ``arguments``.
        n: how many prompts; all where there are fewer.

    Raises:
        ValueError: ``n`` < 1.
    """
    if n < 1:
        raise ValueError(f"a subset of {of} needs n >= 1, got {n}")
    return in_turn(resolve(of)(**arguments), n)


def in_turn(prompts: Iterable[Listed], n: int) -> tuple[Listed, ...]:
    """The first ``n`` prompts, taken from the tasks in turn."""
    found = chain.from_iterable(zip_longest(*_by_task(prompts).values()))
    return tuple(prompt for prompt in found if prompt is not None)[:n]


def balanced(of: str, per_task: int, **arguments: Any) -> tuple[Any, ...]:
    """A list in which every task has as many prompts: short tasks repeat theirs, long ones stop.

    Prompts are dataclasses; a repetition has the id of its prompt and a number.

    Args:
        of: target of the whole list, called with ``arguments``.
        per_task: prompts of each task.

    Raises:
        ValueError: ``per_task`` < 1.
    """
    if per_task < 1:
        raise ValueError(f"balanced prompts of {of} need per_task >= 1, got {per_task}")
    found = []
    for prompts in _by_task(resolve(of)(**arguments)).values():
        for number in range(per_task):
            times, place = divmod(number, len(prompts))
            prompt = prompts[place]
            # A prompt id stands for one draw of noise, so a repetition has an id of its own.
            again = replace(prompt, prompt_id=f"{prompt.prompt_id}.{times}") if times else prompt
            found.append(again)
    return tuple(found)


def _by_task(prompts: Iterable[Listed]) -> dict[str, list[Listed]]:
    found: dict[str, list[Listed]] = defaultdict(list)
    for prompt in prompts:
        found[prompt.task].append(prompt)
    return found
