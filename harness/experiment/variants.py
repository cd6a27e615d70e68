"""A method with arguments of its own: ``hypernoise:rank=32,temperature=0.1``.

That text stands wherever a method can be named: in configs, on the command line, in the column
``method`` of frames, and in paths. It knows neither methods nor what their arguments mean.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from harness.base.errors import SpecError, prefix

#: One ``argument=value``; a value that holds a comma is a JSON string.
_PAIR = re.compile(r'([^=,]*)=("(?:[^"\\]|\\.)*"|[^,]*)(?:,(?!$)|$)')


@dataclass(frozen=True)
class Variant:
    """A method's name and the arguments that differ from what is declared and configured.

    Attributes:
        name: of the declared method.
        arguments: strings, numbers, booleans or None by name. They are kept in the order of their
            names, and whole numbers as integers, so that equal variants have equal texts.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = sorted(self.arguments.items())
        object.__setattr__(
            self,
            "arguments",
            {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in given},
        )

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def parse(cls, text: str, file: str = "") -> Variant:
        """Read ``name`` or ``name:argument=value,...``; values are JSON scalars, or else strings.

        Args:
            text: in any order of arguments.
            file: where the text stands, for messages.

        Raises:
            SpecError: the name or a pair is malformed, or an argument is given twice.
        """
        name, colon, rest = text.partition(":")
        start = f"{prefix(file)}method {text!r}:"
        if not name.isidentifier() or bool(colon) != bool(rest):
            raise SpecError(f"{start} must be 'name' or 'name:argument=value,...'")
        arguments: dict[str, Any] = {}
        end = 0
        while end < len(rest):
            found = _PAIR.match(rest, end)
            key = found[1].strip() if found else rest[end:].partition(",")[0]
            if not found or not key.isidentifier() or not found[2]:
                raise SpecError(f"{start} {key!r} is not 'argument=value'")
            if key in arguments:
                raise SpecError(f"{start} {key!r} is given twice")
            arguments[key] = value = _value(found[2].strip())
            if isinstance(value, float) and not math.isfinite(value):
                raise SpecError(f"{start} {key} is {found[2].strip()}, must be a finite number")
            end = found.end()
        return cls(name, arguments)

    @classmethod
    def from_path(cls, path: str) -> Variant:
        """The variant whose :attr:`path` this is; raises as :meth:`parse`."""
        name, plus, rest = path.partition("+")
        return cls.parse(name + (":" if plus else "") + unquote(rest))

    def __str__(self) -> str:
        pairs = []
        for key, value in self.arguments.items():
            # A text is quoted unless :func:`_value` gives it back as it is.
            is_text = isinstance(value, str) and value and not re.search(r'[,"\s]', value)
            is_plain = is_text and _value(value) == value
            pairs.append(f"{key}={value if is_plain else json.dumps(value, allow_nan=False)}")
        return f"{self.name}:{','.join(pairs)}" if pairs else self.name

    @property
    def path(self) -> str:
        """A name for files and folders: ``hypernoise+rank=32``, other signs as in URLs."""
        name, colon, rest = str(self).partition(":")
        return name + ("+" if colon else "") + quote(rest, safe="=,.-_")


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=str)
    except json.JSONDecodeError:
        return text
    return text if isinstance(value, list | dict) else value
