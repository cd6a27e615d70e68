"""Import strings, ``"package.module:Attribute"``: how declarations name code."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError, given_as, prefix, unknown


def split(target: str, file: str = "") -> tuple[str, str]:
    """The module and the attribute that an import string names.

    Raises:
        SpecError: the text has another form, or it is none.
    """
    if not isinstance(target, str):
        raise SpecError(f"{prefix(file)}target must be a text, got {given_as(target)}")
    module_name, colon, attribute = target.partition(":")
    parts = [*module_name.split("."), attribute]
    if not colon or not all(part.isidentifier() for part in parts):
        raise SpecError(f"{prefix(file)}target {target!r} is not 'package.module:Attribute'")
    return module_name, attribute


def resolve(target: str) -> Any:
    """Import ``"package.module:Attribute"`` and return the attribute.

    Raises:
        SpecError: the text has another form, or module or attribute do not exist.
    """
    module_name, attribute = split(target)
    if source_of(module_name) is None and importlib.util.find_spec(module_name) is None:
        raise SpecError(f"target {target!r}: there is no module {module_name!r}")
    module = importlib.import_module(module_name)
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise unknown(f"attribute of {module_name}", attribute, public)
    return getattr(module, attribute)


@cache
def source_of(module_name: str) -> Path | None:
    """The file of a module, found without importing its parent packages; None if there is none."""
    top, *rest = module_name.split(".")
    spec: ModuleSpec | None = importlib.util.find_spec(top)
    name = top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec is not None and spec.origin else None
