"""One wording for a value outside a closed set."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def check_choice(what: str, value: str, valid: Iterable[str]) -> None:
    """Raise unless ``value`` is one of the valid words.

    Raises:
        ValueError: naming the value, the nearest valid word and all of them.
    """
    words = sorted(valid)
    if value in words:
        return
    nearest = difflib.get_close_matches(str(value), words, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"unknown {what} {value!r}.{hint} Valid: {', '.join(words)}")
