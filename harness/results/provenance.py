"""Where a file comes from: code, packages, hardware, what was asked for, and when."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.base.own_code import commit as commit
from harness.results import weight_hashes
from hypernoise.weights.pins import sha256_of

#: Raised when files are written that earlier code cannot understand, or the other way round. Files
#: without one are of commit 9239d5b or older; those of layout 2 know neither the training seed nor
#: what a prompt means.
LAYOUT = 3
#: Packages that networks and their texts run on: with others, the same job may compute otherwise.
NETWORKS = ("torch", "diffusers", "transformers", "tokenizers", "peft")
#: Those of scores and image files as well.
COMPUTING = (*NETWORKS, "torchvision", "open_clip_torch", "numpy", "scipy", "pillow")
PACKAGES = (*COMPUTING, "pandas", "pyarrow")


def collect(kind: str, spec: Any, **facts: Any) -> str:
    """Provenance as JSON text: kind, layout, commit, dirty, packages, hardware, weights, spec,
    inputs, written, seal.

    Args:
        kind: the kind of frame.
        spec: a dataclass, anything that JSON can hold, or JSON text. What a job ``reads``
            (:mod:`harness.experiment.jobs`) goes into ``inputs``, with its hash.
        facts: further entries, by their keys; the hashes of ``weights`` among them where they were
            taken before a long job's work. Without, they are taken now; of the hub, those of files
            that the job was the first to download are added.
    """
    is_instance = dataclasses.is_dataclass(spec) and not isinstance(spec, type)
    plain = dataclasses.asdict(spec) if is_instance else spec
    loaded = getattr(spec, "weights", ())
    facts["weights"] = (
        weight_hashes.completed(facts["weights"], loaded)
        if "weights" in facts
        else weight_hashes.hashes(loaded)
    )
    record = {
        "kind": kind,
        "layout": LAYOUT,
        **commit(),
        "packages": packages(),
        "hardware": hardware(),
        **facts,
        "spec": json.loads(plain) if isinstance(plain, str) else plain,
        "inputs": hashes(getattr(spec, "reads", ())),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(sealed(record))


def sealed(record: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """A record with further facts, and with the :func:`seal` of all that it then says."""
    # As whoever reads it will have it: JSON has no tuples.
    told: dict[str, Any] = json.loads(json.dumps({**record, **facts}))
    return told | {"seal": seal(told)}


def seal(record: Mapping[str, Any]) -> str:
    """SHA-256 of all entries of a record but its ``seal``.

    It is no signature: who runs this function can seal anything. It finds records and rows that
    were edited by other means, and makes that nothing is changed by accident.
    """
    kept = {name: value for name, value in record.items() if name != "seal"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def parse(text: str) -> dict[str, Any]:
    """What :func:`collect` wrote; empty for an empty text.

    Raises:
        ValueError: it is no JSON object.
    """
    record = json.loads(text) if text else {}
    if not isinstance(record, dict):
        raise ValueError(f"provenance is no JSON object but {text[:60]!r}")
    return record


def is_foreign(record: Mapping[str, Any]) -> bool:
    """Whether another layout of the harness wrote a file of this provenance."""
    return bool(record) and record.get("layout", 1) != LAYOUT


def hashes(paths: Iterable[str]) -> dict[str, str]:
    """Path -> :func:`digest`, of those paths that exist."""
    return {path: digest(path) for path in paths if Path(path).exists()}


def digest(path: str | Path) -> str:
    """SHA-256 of a file as 64 hex digits; of a folder, that of its files' names and hashes.

    Hidden files and folders do not count: they are Snakemake's and the file browser's.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        return sha256_of(path)
    names = sorted(file.relative_to(path) for file in path.rglob("[!.]*") if file.is_file())
    files = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    lines = [f"{file.as_posix()} {digest(path / file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def packages() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def hardware() -> dict[str, Any]:
    """CPU model, usable cores, memory in GiB and GPU; a GPU is seen only where torch is loaded."""
    # Not imported here: jobs of tables need no torch.
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and torch.cuda.is_available()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    cpus = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    try:
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory_gib = round(n_bytes / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        memory_gib = None
    return {
        "cpu": cpus[0] if cpus else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": memory_gib,
        "gpu": str(torch.cuda.get_device_name(0)) if torch and has_gpu else "none",
        "system": platform.platform(),
    }
