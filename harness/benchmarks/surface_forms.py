"""How a language model may write a short answer: what Soft-TIFA sums the probabilities of.

Source: GenEval 2, arXiv 2512.16853, and public code that mirrors its ``soft_tifa``: the word and
its capitalised form, each with and without a space before it, and for numbers the digits too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def surface_forms(answer: str) -> tuple[str, ...]:
    """The ways to write an answer of one word, e.g. ``Yes``, ``yes``, `` Yes``, `` yes``.

    Raises:
        ValueError: the answer is empty or longer.
    """
    word = answer.strip().lower()
    if len(word.split()) != 1:
        raise ValueError(f"an answer must be one word, got {answer!r}")
    words = [word, word.capitalize()]
    if word in NUMBERS:
        words.append(str(NUMBERS.index(word)))
    return tuple(dict.fromkeys(space + form for space in ("", " ") for form in words))


def matching_probability(probabilities: Mapping[str, float], answer: str) -> float:
    """Summed probability of all tokens that are a form of an answer, at most 1.

    Args:
        probabilities: text of a first token -> its probability.
    """
    forms = {form.strip().lower() for form in surface_forms(answer)}
    found = (value for token, value in probabilities.items() if token.strip().lower() in forms)
    return min(1.0, sum(found))


def distinct(ids: Mapping[str, Collection[int]]) -> dict[str, list[int]]:
    """Per answer, the first tokens that no other answer starts with.

    Some tokenizers write a space as a token of its own, which says nothing.

    Raises:
        ValueError: an answer has none of its own.
    """
    found = {}
    for answer, own in ids.items():
        others = {token for other, those in ids.items() if other != answer for token in those}
        found[answer] = sorted(set(own) - others)
        if not found[answer]:
            raise ValueError(f"answer {answer!r} starts with no token of its own")
    return found
