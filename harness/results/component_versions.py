"""Frames that were made by different versions of one component cannot be put into one table.

Every frame carries the job that made it, and the job the declarations of all components that it
drew on, each with its ``version``; and the SHA-256 of the weights that each was loaded from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError
from harness.results import frames, provenance

#: Kind of component -> a field that only its declarations have.
_SIGNS = {
    "model": "size_px",
    "reward": "weights_of",
    "method": "trains",
    "benchmark": "n_images",
}


def check(paths: Iterable[str | Path]) -> None:
    """Check that no component occurs in two versions, or with two states of one weight file.

    Args:
        paths: frame files.

    Raises:
        SpecError: names each component, its versions or hashes, and a file that has each.
        FileNotFoundError, ValueError: a file is missing or broken.
    """
    homes: dict[tuple[str, str], dict[int, str]] = {}
    loaded: dict[tuple[str, str], dict[str, str]] = {}
    for path in paths:
        record = frames.read_provenance(path)
        for kind, name, version in components(record.get("spec")):
            homes.setdefault((kind, name), {}).setdefault(version, str(path))
        for component, role, sha256 in weights(record):
            loaded.setdefault((component, role), {}).setdefault(sha256, str(path))
    faults = [
        f"{kind} {name!r} is of "
        + " and of ".join(f"version {version} in {home}" for version, home in sorted(found.items()))
        for (kind, name), found in homes.items()
        if len(found) > 1
    ]
    if faults:
        raise SpecError("versions are mixed, make the older files again: " + "; ".join(faults))
    faults = [
        f"{role} of {component} has the SHA-256 "
        + " and ".join(f"{sha256[:12]} in {home}" for sha256, home in found.items())
        for (component, role), found in loaded.items()
        if len(found) > 1
    ]
    if faults:
        raise SpecError("different weights are mixed under one name: " + "; ".join(faults))


def mixed(records: Mapping[str, Mapping[str, Any]], with_files: bool = False) -> str:
    """What to say of frames that different packages computed, or different machines timed.

    That is no fault: most versions give the same numbers, and nobody knows which.

    Args:
        records: file -> its provenance.
        with_files: name a file for each version; else they are only counted.

    Returns:
        A sentence; empty if all frames agree in what they tell.
    """
    homes: dict[str, dict[str, list[str]]] = {}
    for file, record in records.items():
        told = {name: _told(record, "packages", name) for name in provenance.COMPUTING}
        if record.get("kind") == frames.TIMINGS.kind:
            told |= {name: _told(record, "hardware", name) for name in ("cpu", "gpu")}
        for name, value in told.items():
            if value:
                homes.setdefault(name, {}).setdefault(value, []).append(file)
    said = []
    for name, found in homes.items():
        if len(found) > 1:
            counts = (
                f"{value} ({len(files)} of {len(records)} frames"
                f"{f', e.g. {files[0]}' * with_files})"
                for value, files in sorted(found.items())
            )
            said.append(f"{name} {' and '.join(counts)}")
    return f"Made with different versions, side by side: {'; '.join(said)}." if said else ""


def _told(record: Mapping[str, Any], part: str, name: str) -> str:
    """A value of a provenance; empty without one, because a file may come from somebody else."""
    values = record.get(part)
    return str(values.get(name, "")) if isinstance(values, dict) else ""


def weights(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(component, role, SHA-256) of every weight file in a provenance."""
    found = record.get("weights")
    # A file may come from somebody else.
    for component, files in found.items() if isinstance(found, dict) else ():
        for role, sha256 in files.items() if isinstance(files, dict) else ():
            yield str(component), str(role), str(sha256)


def components(spec: Any) -> Iterator[tuple[str, str, int]]:
    """(kind, name, version) of every declaration inside a job, as far down as they go."""
    for kind, declared in declarations(spec):
        yield kind, str(declared["name"]), int(declared["version"])


def declarations(spec: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, declaration) of every component inside a job, as far down as they go."""
    if isinstance(spec, list | tuple):
        for item in spec:
            yield from declarations(item)
    elif isinstance(spec, dict):
        for kind, sign in _SIGNS.items():
            # A file may come from somebody else.
            if sign in spec and {"name", "version"} <= spec.keys():
                yield kind, spec
        for value in spec.values():
            yield from declarations(value)
