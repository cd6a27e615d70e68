"""What declarations, jobs and configs have in common: fields are checked, faults are explained.

Pydantic does the checking. Its errors become lines that name the file, the key, what is wrong with
it, and the nearest valid word.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.base.errors import SpecError, prefix, unknown

T = TypeVar("T")

#: Of every declared component, job and section of a config.
STRICT = ConfigDict(extra="forbid", strict=True)
Count = Annotated[int, Field(ge=1)]

#: Torch's seeds and counts are numbers of 64 bits.
LARGEST_INT = 2**63 - 1
#: ``user:password@`` in an address, or a parameter of its query that is called like a secret.
_WITH_SECRET = re.compile(
    r"(?i)\b[a-z][a-z0-9+.-]*://([^/?#\s]*@|\S*[?&][^=&\s]*(key|token|secret|password|signature)=)"
)
#: The key of the whole that is at fault, or nothing, and a sentence.
_Fault: TypeAlias = tuple[str, str]
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


def checked(
    data: Any,
    kind: type[T],
    what: str,
    file: str = "",
    sources: Mapping[str, str] = MappingProxyType({}),
) -> T:
    """An instance of a class, made from what JSON or YAML gave.

    Args:
        what: how messages call the whole.
        file: where the data stand, for messages.
        sources: key of the whole -> where it stands, if not in ``file``.

    Raises:
        SpecError: a key is unknown, missing, or has a wrong value; one line per fault.
    """
    faults = [(p[0] if p else "", f"{what}: {'.'.join(p)} {said}") for p, said in strange(data)]
    faults += _out_of_range(data, what, ())
    if not faults:
        try:
            made: T = TypeAdapter(kind).validate_json(json.dumps(data))
            return made
        except ValidationError as error:
            faults += _lines(error, data, kind, what)
    lines = dict.fromkeys(f"{prefix(sources.get(key, file))}{line}" for key, line in faults)
    raise SpecError("\n".join(lines)) from None


def strange(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """What YAML can say and JSON cannot, where it is and what: keys that are no texts, dates, sets,
    bytes."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield path, f"has the key {key!r}, which is no text: write it in quotes"
            yield from strange(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from strange(inner, (*path, str(place)))
    elif not isinstance(value, str | int | float | None):
        yield path, f"is {value!r}, a {type(value).__name__}: must be a text, number, list or keys"


def _out_of_range(value: Any, what: str, path: tuple[str, ...]) -> Iterator[_Fault]:
    """Numbers, however far down, that JSON or 64 bits cannot hold, and addresses with secrets."""
    if isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in pairs:
            yield from _out_of_range(inner, what, (*path, str(key)))
        return
    said = ""
    if isinstance(value, str) and _WITH_SECRET.search(value):
        # Not shown: what is said here stands in logs.
        key = f"{what} key {'.'.join(path)!r}" if path else what
        fault = "is an address with a password or token, which job files and results would show"
        yield (path[0] if path else ""), f"{key} {fault}: name an environment variable that has it"
    elif isinstance(value, float) and not math.isfinite(value):
        said = "must be a finite number"
    elif isinstance(value, int) and not -LARGEST_INT <= value <= LARGEST_INT:
        said = f"must be a whole number of at most {LARGEST_INT} (64 bits)"
    if said:
        key = f"{what} key {'.'.join(path)!r}" if path else what
        yield (path[0] if path else ""), f"{key} is {value}, {said}"


def _lines(error: ValidationError, data: Any, kind: Any, what: str) -> Iterator[_Fault]:
    wrong: dict[str, tuple[Any, list[str]]] = {}
    for fault in error.errors(include_url=False):
        path, value = _place(fault["loc"], data)
        where = ".".join(map(str, path))
        top = str(path[0]) if path else ""
        inside = f" in {where!r}" if where else ""
        if fault["type"] == "missing":
            yield top, f"{what} lacks {fault['loc'][-1]!r}{inside}"
        elif fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            *above, key = path
            inside = f" in {'.'.join(map(str, above))!r}" if above else ""
            # The keys of the class that the path above leads to.
            inner = kind
            for name in map(str, above):
                fields = _fields(inner) or {}
                inner = fields[name] if name in fields else (get_args(inner) or (inner,))[-1]
            valid = list(_fields(inner) or ())
            text = str(unknown(f"{what} key", key, valid))
            yield top, text.replace(f"{key!r}", f"{key!r}{inside}", 1)
        elif fault["type"] == "literal_error" and len(path) == len(fault["loc"]):
            valid = re.findall(r"'(.*?)'", fault["ctx"]["expected"])
            yield top, str(unknown(f"value of {what} key {where!r}:", value, valid))
        else:
            message = fault["msg"]
            for theirs, ours in _INSTEAD.items():
                message = re.sub(rf"^{theirs}", ours, message)
            message += _meant(fault["type"], value)
            wrong.setdefault(where, (value, []))[1].append(message)
    for where, (value, said) in wrong.items():
        key = f"{what} key {where!r}" if where else what
        yield where.partition(".")[0], f"{key} is {value!r}, {' or '.join(dict.fromkeys(said))}"


def _meant(fault: str, value: Any) -> str:
    """What to write for a number that YAML, or Python, takes for something else."""
    if fault in ("int_type", "int_from_float") and isinstance(value, float) and value.is_integer():
        return f": write {int(value)}"
    if fault in ("float_type", "int_type") and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        if math.isfinite(number):
            base, e, power = value.strip().lower().partition("e")
            # YAML 1.1 reads an exponent only behind a point, and with a sign.
            point = "" if "." in base else ".0"
            sign = "+" if power[:1].isdigit() else ""
            is_text = "that is a text; " if e else "without quotes: "
            return f" ({is_text}write {base}{point if e else ''}{e}{sign}{power})"
    return ""


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
