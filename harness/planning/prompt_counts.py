"""How many prompts a list has, and which published files it is read from: facts, or counted."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from harness.experiment.components import PromptsSpec

FILE = Path(__file__).with_suffix(".toml")
#: What makes a list of another one: the first n of it, or all there are.
_SUBSET = "harness.benchmarks.prompts:subset"


class Counted(NamedTuple):
    """A list of prompts.

    Attributes:
        n: None where it is not known and the list cannot be loaded here.
        files: names in a data folder.
    """

    n: int | None
    files: tuple[str, ...]


@cache
def facts() -> dict[str, dict[str, Any]]:
    """Target, and an argument that decides -> ``n`` and ``files``."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def counted(spec: PromptsSpec) -> Counted:
    """A declared list of prompts: by the facts, else by loading it, if it can be loaded here."""
    lists = list(_lists(spec.target, dict(spec.arguments)))
    files = tuple(dict.fromkeys(file for fact in lists for file in fact.get("files", ())))
    if spec.target == _SUBSET:
        whole = lists[0].get("n")
        return Counted(min(spec.arguments["n"], whole or spec.arguments["n"]), files)
    if "n" in spec.arguments:
        return Counted(int(spec.arguments["n"]), files)
    if lists[0]:
        return Counted(lists[0].get("n"), files)
    return Counted(_count(spec.target, json.dumps(dict(spec.arguments), sort_keys=True)), files)


def _lists(target: str, arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The facts of a list, or of what it is made of; then of what it keeps apart from."""
    nested = arguments.get("prompts")
    if isinstance(nested, Mapping):
        inner = {name: value for name, value in nested.items() if name != "target"}
        yield from _lists(str(nested.get("target", "")), inner)
        return
    of = str(arguments.get("of") or arguments.get("benchmark") or target)
    keys = [f"{of} {name}={value}" for name, value in arguments.items()]
    yield next((facts()[key] for key in [*keys, of] if key in facts()), {})
    apart = arguments.get("apart_from", ())
    for other in [apart] if isinstance(apart, str) else apart:
        yield facts().get(other, {})


@cache
def _count(target: str, arguments: str) -> int | None:
    """Of a list that many jobs use: it is loaded once."""
    # Lazy import: most lists are among the facts, and loading one imports what it is made of.
    from harness.build.prompts import load_prompts

    try:
        return len(load_prompts(PromptsSpec(target, json.loads(arguments))))
    except (ValueError, OSError):
        return None
