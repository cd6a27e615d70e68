"""A page for the report: which code, packages, machine, settings and files results come from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.analysis.pairing import FrameError
from harness.report.pages import plain, tables_page
from harness.results import component_versions, frames, provenance

_COMPONENT = ("target", "weights", "revision", "arguments")


class Origin(NamedTuple):
    """A file, its hash and its provenance."""

    path: str
    sha256: str
    record: Mapping[str, Any]


def origins(files: Sequence[str], *, config: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
        files: the frames that tables and figures are made of.
        config: the workflow's configuration.

    Raises:
        FileNotFoundError, ValueError: a frame is missing, broken or without provenance.
    """
    found = []
    for path in files:
        record = frames.read_provenance(path)
        if not record:
            raise FrameError(f"{path} has no provenance: none of its numbers can be traced")
        found.append(Origin(path, provenance.digest(path), record))
    code = Counter((str(o.record["commit"]), "yes" if o.record["dirty"] else "no") for o in found)
    commits = [(*key, str(count)) for key, count in code.items()]
    written = [
        (o.path, o.record["kind"], o.record["written"], str(o.record["commit"])[:12], o.sha256)
        for o in found
    ]
    components: dict[tuple[str, ...], None] = {}
    for origin in found:
        for kind, spec in component_versions.declarations(origin.record.get("spec")):
            values = [spec.get(name) or "" for name in _COMPONENT]
            details = (v if isinstance(v, str) else json.dumps(v, sort_keys=True) for v in values)
            components[kind, str(spec["name"]), str(spec["version"]), *details] = None
    # A file of weights that two frames tell otherwise has two lines.
    loaded = Counter(file for o in found for file in component_versions.weights(o.record))
    weights = [(*file, str(count)) for file, count in sorted(loaded.items())]
    tables = [
        plain("Code", ("commit", "uncommitted changes", "files made"), commits),
        plain("Machines", ("what", "value", "files made"), _common(found, "hardware")),
        plain("Versions", ("package", "version", "files made"), _common(found, "packages")),
        plain("Components", ("kind", "name", "version", *_COMPONENT), sorted(components)),
        plain("Weights", ("component", "file", "SHA-256", "files made"), weights),
        plain("Files", ("file", "what", "written", "commit", "SHA-256"), written),
    ]
    settings = json.dumps(config, indent=2)
    return tables_page("Provenance", tables, heading="Provenance", settings=settings)


def _common(found: Iterable[Origin], part: str) -> list[tuple[str, ...]]:
    """What was the same for all files, and where it was not, how many files had which."""
    made = Counter((name, str(v)) for o in found for name, v in o.record[part].items())
    return [(*key, str(count)) for key, count in made.items()]
