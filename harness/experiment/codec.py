"""Frozen dataclasses to JSON and back, checked field by field."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from harness.base.import_strings import SpecError, unknown

T = TypeVar("T")


def to_json(item: Any) -> str:
    """A dataclass instance as one line of JSON with sorted keys: equal items, equal text."""
    return json.dumps(dataclasses.asdict(item), sort_keys=True, allow_nan=False)


def from_json(text: str, kind: type[T]) -> T:
    """The dataclass instance that :func:`to_json` wrote.

    Raises:
        SpecError: no JSON object, or a field is unknown, missing or of the wrong type.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(f"{kind.__name__}: not JSON: {error}") from error
    return typing.cast(T, _decode(data, kind, kind.__name__))


def _decode(value: Any, kind: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _decode_fields(value, kind, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _decode(value, inner, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise unknown(where, value, map(str, arguments))
        return value
    if origin is tuple:
        items = _expect(value, list, where)
        return tuple(_decode(v, arguments[0], f"{where}[{i}]") for i, v in enumerate(items))
    if origin is not None and issubclass(origin, Mapping):
        entries = _expect(value, dict, where)
        return {k: _decode(v, arguments[1], f"{where}[{k!r}]") for k, v in entries.items()}
    return _expect(value, kind, where)


def _decode_fields(value: Any, kind: Any, where: str) -> Any:
    data = _expect(value, dict, where)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            raise unknown(f"field of {where}", key, fields)
    no_default = dataclasses.MISSING
    for name, field in fields.items():
        required = field.default is no_default and field.default_factory is no_default
        if required and name not in data:
            raise SpecError(f"{where} lacks {name!r}")
    return kind(**{key: _decode(data[key], hints[key], f"{where}.{key}") for key in data})


def _expect(value: Any, kind: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SpecError(f"{where} is {value!r}, must be {kind.__name__}")
    return value
