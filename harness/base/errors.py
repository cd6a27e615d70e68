"""The error for what an author got wrong, and its form: file, bad word, nearest and valid words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpecError(ValueError):
    """A declaration or job that cannot be carried out; the message is for its author."""


def unknown(what: str, word: object, valid: Iterable[str], file: str = "") -> SpecError:
    """The error for a word outside a closed set: names the word, the nearest and all valid ones."""
    words = sorted(valid)
    close = difflib.get_close_matches(str(word), words, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    choices = ", ".join(words) or "none"
    return SpecError(f"{prefix(file)}unknown {what} {word!r}{hint} (valid: {choices})")


def prefix(file: str) -> str:
    """How messages start that blame a file."""
    return f"{file}: " if file else ""
