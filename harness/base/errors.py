"""The error for what an author got wrong, and its form: file, bad word, nearest and valid words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from hypernoise.errors import unknown_word

_T = TypeVar("_T")
#: Faults of a kind that messages show.
_SHOWN = 3


class SpecError(ValueError):
    """A declaration or job that cannot be carried out; the message is for its author."""


def unknown(what: str, word: object, valid: Iterable[str], file: str = "") -> SpecError:
    """The error for a word outside a closed set, as :func:`unknown_word` says it."""
    return SpecError(prefix(file) + unknown_word(what, word, valid))


def prefix(file: str) -> str:
    """How messages start that blame a file."""
    return f"{file}: " if file else ""


def given_as(given: object) -> str:
    """What somebody's code gave, short enough for a message."""
    return f"{str(given)[:40]!r}, a {type(given).__name__}"


def retold(error: Exception, text: str) -> Exception:
    """An error of the same kind with another message; a ValueError where its kind asks for more
    than a message, as that of a text that is no JSON or no UTF-8."""
    try:
        return type(error)(text)
    except TypeError:
        return ValueError(text)


def some_of(faults: Sequence[str], separator: str = "; ") -> str:
    """The first faults of a kind, and how many more there are."""
    more = [f"and {len(faults) - _SHOWN} more like it"] if len(faults) > _SHOWN else []
    return separator.join([*faults[:_SHOWN], *more])


class Several(ValueError):
    """Faults of several things that were all looked at; a line for each in the message."""

    def __init__(self, errors: Iterable[Exception]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))


def each(functions: Iterable[Callable[[], _T]]) -> list[_T]:
    """What each function returns; every one is called, whatever others raise.

    Raises:
        ValueError, OSError: what the only function at fault raises.
        Several: what they raise, where several do.
    """
    made: list[_T] = []
    errors: list[Exception] = []
    for function in functions:
        try:
            made.append(function())
        except Several as error:
            errors += error.errors
        except (ValueError, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else Several(errors)
    return made
