"""How long prompts are, and how much of them text encoders read: the rest is cut off silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias


class Length(NamedTuple):
    """Tokens of a prompt, those of its template and the special ones included.

    Attributes:
        tokens: what it has.
        read: how many of them are read at most.
    """

    tokens: int
    read: int

    @property
    def is_cut(self) -> bool:
        return self.tokens > self.read

    @classmethod
    def told(cls, tokens: object, read: object) -> Length:
        """A length as JSON has it; a TypeError if it is none."""
        if type(tokens) is not int or type(read) is not int:
            raise TypeError(f"the length {tokens!r} of {read!r} is none of whole numbers")
        return cls(tokens, read)

    def at_most(self, read: int | None) -> Length:
        """The same where fewer are read, if a number is given."""
        return self if read is None else self._replace(read=min(self.read, read))


#: Of one prompt, by the name of the tokenizer.
Lengths: TypeAlias = Mapping[str, Length]


def cut_lengths(
    tokenizer: Any,
    texts: str | Sequence[str],
    max_length: int | None = None,
    add_special_tokens: bool = True,
    **_: Any,
) -> list[Length]:
    """What a tokenizer of transformers makes of texts, and what it leaves of them.

    Args:
        tokenizer: the tokenizer.
        texts: one or more.
        max_length: as it is called with; without, its own.
        add_special_tokens: as it is called with.
    """
    many = [texts] if isinstance(texts, str) else list(texts)
    # Not verbose: it would warn of a length that nothing is read with.
    whole = tokenizer(many, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    limit = tokenizer.model_max_length if max_length is None else max_length
    return [Length(len(ids), int(limit)) for ids in whole]
