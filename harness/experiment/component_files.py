"""The components that ``.smk`` files declare, read without Snakemake.

A component file is Python but for the rules that it may carry; those are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.base.import_strings import SpecError, prefix
from harness.experiment import pins
from harness.experiment.components import MethodSpec, Registry

#: Folders of component files; each kind is declared by its own ``add_`` function.
KINDS = ("models", "rewards", "methods", "benchmarks", "tables")
#: Where the part of a component file begins that is Snakemake's: its first rule.
_RULE = re.compile(
    r"^(?:for .*:\n\n?    )?(rule|checkpoint|module|use rule|ruleorder|localrules)\b", re.MULTILINE
)


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
        for file in sorted((folder / kind).glob("*.smk")):
            _read(file, kind.removesuffix("s"), registry)
    registry.check_rewards()
    pins.use(registry, folder)
    return registry


def _read(file: Path, kind: str, registry: Registry) -> None:
    text = file.read_text(encoding="utf-8")
    found = _RULE.search(text)
    add: Callable[..., Any] = getattr(registry, f"add_{kind}")
    names = {f"add_{kind}": lambda name, **given: add(name, file=str(file), **given)}
    try:
        exec(compile(text[: found.start()] if found else text, str(file), "exec"), names)
    except (SyntaxError, NameError, TypeError) as error:
        raise SpecError(f"{file}: {error}") from error


def method_variant(registry: Registry, text: str, file: str = "") -> MethodSpec:
    """A declared method with changed arguments, as ``"hypernoise:merged=true"`` asks for.

    Args:
        registry: the declared components.
        text: a method's name, which may be followed by a colon and ``argument=value`` pairs with
            commas between them; values are JSON, or else strings. It becomes the name.
        file: where the text stands, for messages.

    Raises:
        SpecError: there is no such method, or a pair is malformed.
    """
    name, _, rest = text.partition(":")
    spec = registry.find(registry.methods, "method", name, file)
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    for key, equals, _ in pairs:
        if not (key.isidentifier() and equals):
            raise SpecError(f"{prefix(file)}method {text!r}: {key!r} is not 'argument=value'")
    given = {key: _value(value) for key, _, value in pairs}
    searcher = registry.methods[spec.search] if spec.search else None
    return replace(
        spec, name=text, arguments={**spec.arguments, **given}, searcher=spec.searcher or searcher
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
