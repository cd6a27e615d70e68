"""Prompt swaps: another prompt for each prompt of a benchmark, to score its images against.

What makes an image fit its own prompt does not make it fit another one; what pleases a reward
whatever the prompt asks for does. Standard library only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from harness.base.errors import unknown

#: Ways to swap prompts.
SWAPS = ("within_task", "between_tasks")


class Asked(NamedTuple):
    """A prompt, as far as swapping goes."""

    task: str
    text: str


def check_swap(how: str) -> None:
    """Raise SpecError for an unknown way of swapping; empty is none at all."""
    if how and how not in SWAPS:
        raise unknown("prompt swap", how, SWAPS)


def swapped(how: str, prompts: Mapping[str, Asked], seed: int) -> dict[str, str]:
    """The prompt that each prompt's images are scored against; each one is taken once.

    It is never one of the same words, whatever their order: "a ring and a moon" is no other wish
    than "a moon and a ring".

    Args:
        how: ``within_task``, a prompt of the same task, so that both ask for scenes of one kind;
            or ``between_tasks``, one of another task.
        prompts: prompt id -> task and text.
        seed: experiment seed; it, ids, tasks and texts alone decide.

    Raises:
        ValueError: ``how`` is unknown, or there are too few prompts, or too few that differ.
    """
    check_swap(how)
    by_task: dict[str, list[str]] = {}
    places = {name: hashlib.sha256(f"{seed}|swap|{name}".encode()).hexdigest() for name in prompts}
    for prompt_id in sorted(prompts, key=places.__getitem__):
        by_task.setdefault(prompts[prompt_id].task, []).append(prompt_id)
    words = {name: sorted(re.findall(r"\w+", asked.text)) for name, asked in prompts.items()}
    if how == "within_task":
        found: dict[str, str] = {}
        for task, names in by_task.items():
            found |= _shifted(names, range(1, len(names)), words, f"task {task!r}")
        return found
    # Tasks one after another, moved on by at least the longest one's length: nobody stays at home.
    names = [name for task in sorted(by_task) for name in by_task[task]]
    longest = max(map(len, by_task.values()))
    return _shifted(names, range(longest, len(names) - longest + 1), words, "the benchmark")


def _shifted(
    names: Sequence[str], shifts: Iterable[int], words: Mapping[str, Sequence[str]], where: str
) -> dict[str, str]:
    for by in shifts:
        pairs = dict(zip(names, [*names[by:], *names[:by]], strict=True))
        if all(words[one] != words[other] for one, other in pairs.items()):
            return pairs
    raise ValueError(
        f"the {len(names)} prompts of {where} cannot be swapped: too few of them, or of other words"
    )
