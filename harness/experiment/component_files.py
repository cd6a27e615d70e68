"""The components that ``.smk`` files declare.

A component file is Python that knows one function, which is named after its folder: ``add_model``
in ``models``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError
from harness.experiment import pins
from harness.experiment.components import Registry

KINDS = ("models", "rewards", "methods", "benchmarks", "tables")


def declared(folder: Path) -> Registry:
    """A registry of all components below a folder, with the pins that lie there.

    Raises:
        FileNotFoundError: there is no such folder.
        SpecError: a declaration or pin is wrong; names its file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder} with component files: run this in a checkout of the project, or "
            "name the folder with --components"
        )
    registry = Registry()
    for kind in KINDS:
        # Sorted, so that their order is everywhere the same.
        for file in sorted((folder / kind).glob("*.smk")):
            _read(file, kind.removesuffix("s"), registry)
    registry.check_rewards()
    pins.use(registry, folder)
    return registry


def _read(file: Path, kind: str, registry: Registry) -> None:
    text = file.read_text(encoding="utf-8")
    add: Callable[..., Any] = getattr(registry, f"add_{kind}")
    names = {f"add_{kind}": lambda name, **given: add(name, file=str(file), **given)}
    try:
        exec(compile(text, str(file), "exec"), names)
    except (SyntaxError, NameError, TypeError) as error:
        has_rule = re.search(r"^\s*(rule|checkpoint)\b.*:", text, re.MULTILINE)
        raise SpecError(
            f"{file}: {'a rule belongs in workflows/rules: ' if has_rule else ''}{error}"
        ) from error
