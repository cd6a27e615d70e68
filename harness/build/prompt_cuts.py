"""Which prompts of a job are longer than a component reads, for its log and its provenance."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from harness.build.encodings import EncodedOnce
from hypernoise.models.length_counter import LengthCounter
from hypernoise.models.protocol import Conditioning, Generator, encode_in_chunks
from hypernoise.prompt_lengths import Length, Lengths
from hypernoise.rewards.protocol import KnowsLengths, Reward

#: Prompts that a line of the log names; provenance names all.
_NAMED = 10
#: What provenance has of one component: how many prompts were counted, of how many the length is
#: unknown, and of those that are cut, by their id and the tokenizer, tokens and how many are read.
Cuts: TypeAlias = dict[str, Any]
#: Component -> text -> how long it is to that; a text whose length is unknown is not there.
Known: TypeAlias = Mapping[str, Mapping[str, Lengths]]


def encode_counted(
    generator: Generator, texts: Sequence[str]
) -> tuple[Conditioning, Mapping[str, Lengths]]:
    """Encode prompts, and tell how long each is as far as it is known."""
    if isinstance(generator, EncodedOnce):
        return encode_in_chunks(generator.encode, texts), generator.lengths
    counter = LengthCounter(generator)
    return encode_in_chunks(counter.encode, texts), counter.known


def lengths_of(generator: Generator) -> Mapping[str, Lengths]:
    """How long prompts are that a generator was given, as far as it is known."""
    return generator.lengths if isinstance(generator, EncodedOnce) else {}


def lengths_to(reward: Reward, texts: Sequence[str]) -> Mapping[str, Lengths]:
    """How long prompts are to a reward; empty of one that does not say."""
    if not isinstance(reward, KnowsLengths):
        return {}
    return dict(zip(texts, reward.lengths(texts), strict=True))


def cuts(known: Mapping[str, Lengths], prompts: Mapping[str, str]) -> Cuts:
    """What is cut of prompts.

    Args:
        known: lengths by the prompt's text.
        prompts: id -> text.
    """
    found: dict[str, dict[str, dict[str, int]]] = {}
    for prompt_id, text in prompts.items():
        cut = {name: one._asdict() for name, one in known.get(text, {}).items() if one.is_cut}
        if cut:
            found[prompt_id] = cut
    n_unknown = sum(not known.get(text) for text in prompts.values())
    return {"prompts": len(prompts), "unknown": n_unknown, "cut": found}


def of_texts(known: Known, texts: Iterable[str]) -> Known:
    """What is known of some texts."""
    wanted = dict.fromkeys(texts)
    return {name: {t: own[t] for t in wanted if t in own} for name, own in known.items()}


def together(told: Iterable[Known]) -> Known:
    """What is known of all texts, each of which may have been JSON in between."""
    found: dict[str, dict[str, Lengths]] = {}
    for component, own in ((name, own) for known in told for name, own in known.items()):
        texts = found.setdefault(component, {})
        texts |= {t: {n: Length.told(*one) for n, one in of.items()} for t, of in own.items()}
    return found


def warn(component: str, found: Cuts) -> None:
    """Say on standard error which prompts are cut, if any are."""
    cut = found["cut"]
    if not cut:
        return
    named = []
    for prompt_id, by_tokenizer in list(cut.items())[:_NAMED]:
        lengths = [f"{n['tokens']} of {n['read']} in {of}" for of, n in by_tokenizer.items()]
        named.append(f"{prompt_id} ({', '.join(lengths)})")
    more = f" and {len(cut) - _NAMED} more" if len(cut) > _NAMED else ""
    print(
        f"{component}: {len(cut)} of {found['prompts']} prompts have more tokens than it reads, "
        f"and the rest is cut off: {'; '.join(named)}{more}",
        file=sys.stderr,
    )
