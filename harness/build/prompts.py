"""Prompts that a declaration names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from harness.base.errors import given_as
from harness.base.import_strings import resolve
from harness.base.signatures import check_call
from harness.experiment.components import PromptsSpec

#: What whoever makes a list of prompts has to say about it. Every job that reads the list would say
#: it again, so it is said where a run is checked (:mod:`harness.cli.preflight`), and nowhere else.
NOTES = logging.getLogger("harness.prompts")
#: JSON can write these, and text cannot have them.
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
#: What a file name may hold on every system.
_SAFE_ID = re.compile(r"[\w.-]+")
#: What every prompt has, and what the prompts of benchmarks have besides; all are texts.
_TEXTS = ("prompt_id", "text", "task")
BENCHMARKS = (*_TEXTS, "meaning", "metadata_text")


class Prompt(Protocol):
    """A prompt with an identity; those of benchmarks have ``metadata`` and a ``meaning``, too."""

    @property
    def prompt_id(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def task(self) -> str: ...


def load_prompts(spec: PromptsSpec) -> list[Any]:
    """The prompts that a target gives, in its order.

    Raises:
        SpecError: the target does not exist or does not take an argument.
        ValueError: as :func:`checked`, or there are none, a text is empty or has half a character,
            or an id is unusable or occurs twice.
    """
    check_call(spec.target, spec.arguments)
    called = f"{spec.target}({', '.join(f'{k}={v!r}' for k, v in spec.arguments.items())})"
    found = checked(resolve(spec.target)(**spec.arguments), called)
    if not found:
        raise ValueError(f"{called} gives no prompts; at least one is needed")
    seen: set[str] = set()
    for prompt in found:
        name = prompt.prompt_id
        if not _SAFE_ID.fullmatch(name):
            raise ValueError(f"{called}: prompt id {name!r} must be letters, digits, '.', '_', '-'")
        if name in seen:
            raise ValueError(f"{called}: prompt id {name!r} occurs twice")
        if not prompt.text.strip():
            raise ValueError(f"{called}: the text of prompt {name!r} is empty")
        if lone := _LONE_SURROGATE.search(prompt.text):
            raise ValueError(
                f"{called}: the text of prompt {name!r} has half a character, {lone[0]!r}, "
                f"at letter {lone.start() + 1}: no file or tokenizer takes it"
            )
        seen.add(name)
    return found


def checked(given: object, called: str, texts: Iterable[str] = _TEXTS) -> list[Any]:
    """The prompts that somebody's code gives.

    Args:
        called: what messages call that code.
        texts: attributes that each prompt must have.

    Raises:
        ValueError: it gives no list, or something that is no prompt.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ValueError(f"{called} gives {given_as(given)}, must give a list of prompts")
    found = list(given)
    for prompt in found:
        for name in texts:
            try:
                text = getattr(prompt, name, None)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{called}: {name} of {prompt.prompt_id!r}: {error}") from error
            if not isinstance(text, str):
                raise ValueError(
                    f"{called} gives {given_as(prompt)}, in a list of prompts: its {name} is "
                    f"{given_as(text)}, must be a text (harness.benchmarks.protocol.Prompt)"
                )
    return found


def prompt_texts(prompts: Iterable[Prompt]) -> list[tuple[str, str]]:
    """(prompt_id, text) of each prompt."""
    return [(prompt.prompt_id, prompt.text) for prompt in prompts]


def told_meaning(prompt: Prompt) -> str:
    """What a prompt asks for (:class:`harness.benchmarks.protocol.Prompt`), the same for all of its
    wordings; empty where nobody can say."""
    return getattr(prompt, "meaning", "")


def meaning_of(prompt: Prompt) -> str:
    """What a prompt asks for; its id where nobody can say."""
    return told_meaning(prompt) or prompt.prompt_id
