"""Rewordings of the embedded world's captions: its proposer for prompt optimisation."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Annotated

from hypernoise.identity import WORK
from hypernoise.methods.prompt_search import PromptSearch, ScoredPrompt
from hypernoise.shapeworld.captions import COLORS, SHAPES, plural

_PREFIX = ("a", "photo", "of")
_INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_NOUNS = {*SHAPES, *map(plural, SHAPES)}
_MAX_WORDS = 12
_TRIES = 40
#: The best prompts so far that a new one is made from.
_PARENTS = 5


class GrammarProposer:
    """Small edits of the best prompts, in the world's own vocabulary.

    The two things are named in the other order, a relation is told from its other end, a thing
    that may have any colour gets one, a word is said twice for emphasis, "a photo of" comes or
    goes. No edit contradicts the caption.
    """

    def propose(
        self, prompt: str, scored: Sequence[ScoredPrompt], n: int, seed: int
    ) -> Sequence[str]:
        source = random.Random(seed)
        parents = [entry.text for entry in scored[:_PARENTS]] or [prompt]
        known = {prompt, *(entry.text for entry in scored)}
        edits: list[_Edit] = [_other_order, _emphasis, _prefix]
        if not any(word in COLORS for word in prompt.split()):
            edits.append(_color)
        found: dict[str, None] = {}
        for _ in range(_TRIES * n):
            if len(found) == n:
                break
            words = source.choice(parents).split()
            for _ in range(source.randint(1, 2)):
                words = source.choice(edits)(words, source)
            text = " ".join(words)
            if text not in known and len(words) <= _MAX_WORDS:
                found[text] = None
        return list(found)


def grammar_search(
    proposals: Annotated[int, WORK], rounds: Annotated[int, WORK], batch_size: int = 64
) -> PromptSearch:
    """Prompt optimisation with the :class:`GrammarProposer`."""
    return PromptSearch(GrammarProposer(), proposals, rounds, batch_size=batch_size)


_Edit = Callable[[list[str], random.Random], list[str]]


def _prefix(words: list[str], _: random.Random) -> list[str]:
    n = len(_PREFIX)
    return words[n:] if tuple(words[:n]) == _PREFIX else [*_PREFIX, *words]


def _other_order(words: list[str], _: random.Random) -> list[str]:
    start = len(_PREFIX) if tuple(words[: len(_PREFIX)]) == _PREFIX else 0
    for place in range(start, len(words)):
        word = words[place]
        if word == "and":
            return [*words[:start], *words[place + 1 :], word, *words[start:place]]
        if word in _INVERSE:
            relation = [_INVERSE[word], *(["of"] if word in ("left", "right") else [])]
            after = words[place + len(relation) :]
            return [*words[:start], *after, *relation, *words[start:place]]
    return words


def _emphasis(words: list[str], source: random.Random) -> list[str]:
    places = [i for i, word in enumerate(words) if word in _NOUNS or word in COLORS]
    place = source.choice(places)
    return [*words[: place + 1], *words[place:]]


def _color(words: list[str], source: random.Random) -> list[str]:
    place = source.choice([i for i, word in enumerate(words) if word in _NOUNS])
    while place > 0 and words[place - 1] in _NOUNS:
        place -= 1
    if place > 0 and words[place - 1] in COLORS:
        words, place = [*words[: place - 1], *words[place:]], place - 1
    color = source.choice(COLORS)
    article = "an" if color[0] in "aeiou" else "a"
    if place > 0 and words[place - 1] in ("a", "an"):
        words = [*words[: place - 1], article, *words[place:]]
    return [*words[:place], color, *words[place:]]
