"""One wording for wrong words, values and options."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

#: Of torch, its kernels, safetensors, PyArrow and the loader of shared libraries.
_NO_MEMORY = (
    "DefaultCPUAllocator",
    "not enough memory",
    "Cannot allocate memory",
    "bad_alloc",
    "failed to map segment",
)
_Model = TypeVar("_Model", bound="BaseModel")


class Mendable(RuntimeError):
    """Something went wrong that the user can mend; the message says how. It needs no traceback."""


def lacks_main_memory(error: BaseException) -> bool:
    """Whether the main memory did not suffice, of which no two libraries have the same error."""
    lacks = isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM
    return lacks or any(words in str(error) for words in _NO_MEMORY)


def check_choice(what: str, value: str, valid: Iterable[str]) -> None:
    """Raise unless ``value`` is one of the valid words.

    Raises:
        ValueError: naming the value, the nearest valid word and all of them.
    """
    words = sorted(valid)
    if value not in words:
        raise ValueError(unknown_word(what, value, words))


def unknown_word(what: str, value: object, valid: Iterable[str]) -> str:
    """A sentence that names a word outside a closed set, the nearest valid one and all of them."""
    words = sorted(valid)
    nearest = difflib.get_close_matches(str(value), words, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {what} {value!r}{hint} (valid: {', '.join(words) or 'none'})"


def checked(model: type[_Model], values: Mapping[str, Any], what: str) -> _Model:
    """An instance of a pydantic model, with errors in the project's wording.

    Args:
        model: the model.
        values: its fields by name.
        what: what a field is called in messages, e.g. ``"training option"``.

    Raises:
        ValueError: one sentence for every fault.
    """
    from pydantic import ValidationError

    try:
        return model(**values)
    except ValidationError as error:
        faults = (fault(each, what, model.model_fields) for each in error.errors())
        raise ValueError("; ".join(faults)) from None


def fault(error: ErrorDetails, what: str, fields: Iterable[str]) -> str:
    """A sentence for one of pydantic's faults.

    Args:
        error: one of ``ValidationError.errors()``.
        what: what a field is called in messages.
        fields: the valid names of fields.
    """
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return unknown_word(what, name, fields)
    if error["type"] == "missing":
        return f"{what} {name!r} is missing"
    said = error["msg"].removeprefix("Input ").removeprefix("should ")
    return f"{what} {name!r} must {said}, got {error['input']!r}"
