"""Config files: the keys that they may have, and those that they leave to another file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from harness.base.import_strings import SpecError, prefix


def check_schema(config: Mapping[str, Any], schema: Mapping[str, Any], file: str) -> None:
    """Check a config's keys and values.

    Raises:
        SpecError: names the file, the key, and what would be valid; one line per fault.
    """
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=_where)
    if errors:
        raise SpecError("\n".join(f"{prefix(file)}{line}" for e in errors for line in _explain(e)))


def extended(
    config: Mapping[str, Any], folder: Path, read: Callable[[Path], Any]
) -> dict[str, Any]:
    """A config with the keys that it does not give itself from the file that it ``extends``.

    Args:
        config: its ``extends``, if it has one, is the name of another config file.
        folder: where that file is.
        read: gives a file's content.

    Raises:
        SpecError: the file is missing or no config, or configs extend one another in a circle.
    """
    seen: list[str] = []
    while "extends" in config:
        name = str(config["extends"])
        if name in seen or not (folder / name).is_file():
            fault = "extends itself" if name in seen else "is missing"
            raise SpecError(f"config file {folder / name}, which another one extends, {fault}")
        seen.append(name)
        base = read(folder / name)
        if not isinstance(base, Mapping):
            raise SpecError(f"config file {folder / name} has no keys")
        config = {**base, **{key: given for key, given in config.items() if key != "extends"}}
    return dict(config)


def _where(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.absolute_path)


def _explain(error: ValidationError) -> Iterator[str]:
    where = _where(error)
    if error.validator != "additionalProperties" or not isinstance(error.instance, Mapping):
        yield f"config key {where!r}: {error.message}" if where else f"config: {error.message}"
        return
    schema: Any = error.schema
    valid = list(schema.get("properties", ()))
    for key in error.instance:
        if key not in valid:
            close = difflib.get_close_matches(str(key), valid, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            inside = f" in {where!r}" if where else ""
            choices = ", ".join(sorted(valid))
            yield f"unknown config key {str(key)!r}{inside}{hint} (valid: {choices})"
