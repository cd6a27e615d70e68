"""What declarations, jobs and configs have in common: fields are checked, faults are explained.

Pydantic does the checking. Its errors become lines that name the file, the key, what is wrong with
it, and the nearest valid word.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.base.errors import SpecError, prefix, unknown

T = TypeVar("T")

#: Of every declared component, job and section of a config.
STRICT = ConfigDict(extra="forbid", strict=True)
Count = Annotated[int, Field(ge=1)]

_INSTEAD = {
    "Input should be greater than or equal to": "must be at least",
    "Input should be a valid integer": "must be a whole number",
    "Input should be a valid boolean": "must be true or false",
    "Input should be an object": "must have keys",
    "Input should be": "must be",
    "Value error, ": "",
}


def to_json(item: Any) -> str:
    """A component or job as one line of JSON with sorted keys: equal items, equal text."""
    return json.dumps(dataclasses.asdict(item), sort_keys=True, allow_nan=False)


def from_json(text: str, kind: type[T]) -> T:
    """The component or job that :func:`to_json` wrote.

    Raises:
        SpecError: no JSON object, or a field is unknown, missing or of the wrong type.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(f"{kind.__name__}: not JSON: {error}") from error
    return checked(data, kind, kind.__name__)


def checked(data: Any, kind: type[T], what: str, file: str = "") -> T:
    """An instance of a class, made from what JSON or YAML gave.

    Args:
        what: how messages call the whole.
        file: where the data stand, for messages.

    Raises:
        SpecError: a key is unknown, missing, or has a wrong value; one line per fault.
    """
    try:
        made: T = TypeAdapter(kind).validate_json(json.dumps(data))
        return made
    except ValidationError as error:
        lines = dict.fromkeys(_lines(error, data, kind, what))
        raise SpecError("\n".join(f"{prefix(file)}{line}" for line in lines)) from None


def _lines(error: ValidationError, data: Any, kind: Any, what: str) -> Iterator[str]:
    wrong: dict[str, tuple[Any, list[str]]] = {}
    for fault in error.errors(include_url=False):
        path, value = _place(fault["loc"], data)
        where = ".".join(map(str, path))
        inside = f" in {where!r}" if where else ""
        if fault["type"] == "missing":
            yield f"{what} lacks {fault['loc'][-1]!r}{inside}"
        elif fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            *above, key = path
            inside = f" in {'.'.join(map(str, above))!r}" if above else ""
            # The keys of the class that the path above leads to.
            inner = kind
            for name in map(str, above):
                fields = _fields(inner) or {}
                inner = fields[name] if name in fields else (get_args(inner) or (inner,))[-1]
            valid = list(_fields(inner) or ())
            yield str(unknown(f"{what} key", key, valid)).replace(f"{key!r}", f"{key!r}{inside}", 1)
        elif fault["type"] == "literal_error" and len(path) == len(fault["loc"]):
            valid = re.findall(r"'(.*?)'", fault["ctx"]["expected"])
            yield str(unknown(f"value of {what} key {where!r}:", value, valid))
        else:
            message = fault["msg"]
            for theirs, ours in _INSTEAD.items():
                message = re.sub(rf"^{theirs}", ours, message)
            wrong.setdefault(where, (value, []))[1].append(message)
    for where, (value, said) in wrong.items():
        key = f"{what} key {where!r}" if where else what
        yield f"{key} is {value!r}, {' or '.join(dict.fromkeys(said))}"


def _place(location: Sequence[int | str], data: Any) -> tuple[list[int | str], Any]:
    """The part of pydantic's location that leads through the data, and what stands there; the rest
    are names of types."""
    path: list[int | str] = []
    for key in location:
        if not (isinstance(data, Mapping) and key in data) and not isinstance(data, list):
            continue
        if isinstance(data, list) and not isinstance(key, int):
            continue
        data = data[key]  # type: ignore[index]
        path.append(key)
    return path, data


def _fields(kind: Any) -> dict[str, Any] | None:
    """Name -> type of the fields of a class, or of the one that a union holds."""
    for inner in (kind, *get_args(kind)):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return {name: field.annotation for name, field in inner.model_fields.items()}
        found = getattr(inner, "__pydantic_fields__", None)
        if found:
            return {name: field.annotation for name, field in found.items()}
    return None
