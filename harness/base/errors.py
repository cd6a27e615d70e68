"""The error for what an author got wrong, and its form: file, bad word, nearest and valid words."""

from __future__ import annotations

from collections.abc import Iterable

from hypernoise.errors import unknown_word


class SpecError(ValueError):
    """A declaration or job that cannot be carried out; the message is for its author."""


def unknown(what: str, word: object, valid: Iterable[str], file: str = "") -> SpecError:
    """The error for a word outside a closed set, as :func:`unknown_word` says it."""
    return SpecError(prefix(file) + unknown_word(what, word, valid))


def prefix(file: str) -> str:
    """How messages start that blame a file."""
    return f"{file}: " if file else ""
