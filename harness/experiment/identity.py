"""The identity of a result: names, versions and the arguments that change numbers.

It never holds the module that code lives in: moving code makes nothing again, and a change of code
that changes numbers raises the component's ``version``. Places and threads do not count, nor do
arguments that change speed only (:mod:`hypernoise.identity`), unless speed is what is measured.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypeAlias, get_type_hints

from harness.base.signatures import signature_of
from harness.experiment.validation import Count
from harness.results.provenance import NETWORKS, packages
from hypernoise.identity import PLACE, SPEED_ONLY, Mark
from hypernoise.weights.pins import located

#: A file or folder, several of them, torch's threads: where a job works, and not what it makes.
Place: TypeAlias = Annotated[str, PLACE]
Places: TypeAlias = Annotated[tuple[str, ...], PLACE]
Threads: TypeAlias = Annotated[Count, PLACE]
#: An import string with a package.
_TARGET = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+:([A-Za-z_]\w*)")


def identity_of(job: Any) -> Any:
    """What the result of a job depends on, as JSON values: equal ones, equal results.

    Args:
        job: of :mod:`harness.experiment.jobs`, or a component.
    """
    return _reduced(job, getattr(job, "does_not_count", frozenset({PLACE, SPEED_ONLY})))


def job_hash(job: Any, inputs: Iterable[str] = (), prompts: Sequence[tuple[str, str]] = ()) -> str:
    """What two runs must share for one to continue the other's work, as 64 hex digits.

    The versions of the packages that networks run on count: what a frame says of its making has to
    hold for all of its rows.

    Args:
        job: by its :func:`identity_of`.
        inputs: local files or folders that it reads; a change of size or time of any counts.
        prompts: (prompt_id, text) of the prompts that its targets gave.
    """
    identity = {
        "job": identity_of(job),
        "inputs": [fingerprint(path) for path in inputs],
        "prompts": prompts,
        "packages": {name: packages()[name] for name in NETWORKS},
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def fingerprint(path: str) -> list[Any]:
    """Name, size and time of a file, or of every file in a folder."""
    root = located(path)
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    stats = [(file, file.stat()) for file in files]
    return [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in stats]


def batch_size_counts(method: Any) -> bool:
    """Whether images of a method (MethodSpec), or of its search, depend on the batch size."""
    signature = signature_of(method.target, method.file)
    own = signature is not None and signature.depends_on_batch_size
    return own or (method.searcher is not None and batch_size_counts(method.searcher))


def speed_arguments(target: str) -> frozenset[str]:
    """Arguments of a target that change speed and no numbers."""
    return _marked(target, {SPEED_ONLY})


def _marked(target: str, marks: Iterable[Mark]) -> frozenset[str]:
    signature = signature_of(target)
    return signature.marked({mark.name for mark in marks}) if signature else frozenset()


@cache
def marks_of(kind: Any) -> Mapping[str, frozenset[Mark]]:
    """The marks of each field of a job's or component's class."""
    hints = get_type_hints(kind, include_extras=True)
    found = {name: getattr(hints[name], "__metadata__", ()) for name in _fields_of(kind)}
    return {n: frozenset(one for one in of if isinstance(one, Mark)) for n, of in found.items()}


def _fields_of(kind: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(entry.name for entry in dataclasses.fields(kind))
    return tuple(getattr(kind, "model_fields", ()))


def _reduced(value: Any, dropped: frozenset[Mark]) -> Any:
    if isinstance(value, Mapping):
        # An argument may be a declaration itself, of a target and its arguments.
        target = value.get("target", "")
        without = _marked(target, dropped) if _TARGET.fullmatch(str(target)) else ()
        return {k: _reduced(inner, dropped) for k, inner in value.items() if k not in without}
    if isinstance(value, list | tuple):
        return [_reduced(item, dropped) for item in value]
    if isinstance(value, str):
        # Prompts have no name but their target's, and an argument may name a target, too.
        found = _TARGET.fullmatch(value)
        return found[1] if found else value
    kind: Any = type(value)
    if not _fields_of(kind):
        return value
    kept = {k: getattr(value, k) for k, marks in marks_of(kind).items() if not dropped & marks}
    # Fields of a job or component that hold arguments -> what these are arguments of.
    targets = {"arguments": value.target} if hasattr(value, "target") else {}
    for name, target in {**targets, **getattr(value, "targets", {})}.items():
        without = _marked(target, dropped)
        kept[name] = {key: given for key, given in kept[name].items() if key not in without}
    if "batch_size" in kept and "method" in kept and not batch_size_counts(value.method):
        del kept["batch_size"]
    return {name: _reduced(given, dropped) for name, given in kept.items()}
