"""Whether a file says where it comes from, whether that is still so, and which weights made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]

from harness.analysis.pairing import examples
from harness.base.errors import SpecError
from harness.base.safe_paths import below
from harness.experiment.weight_files import weights_of
from harness.results import component_versions, provenance, weight_hashes
from harness.results.results_folder import REQUIRED, Made
from harness.results.row_digests import rows_digest
from harness.results.weight_hashes import WeightFile
from harness.verification.findings import VERBS, Finding, Folder, job_of


def origin(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether a file's provenance is whole and as it was written, and what it names the same."""
    file, record = str(made.path), made.record
    lacking = [name for name in REQUIRED if not record.get(name)]
    if record.get("commit") == "unknown":
        lacking.append("commit")
    if not record:
        yield Finding(file, "no provenance: none of its numbers can be traced")
        return
    if lacking:
        named = ", ".join(dict.fromkeys(lacking))
        yield Finding(file, f"provenance lacks {named}: cannot be traced")
    if record.get("seal") != provenance.seal(record):
        yield Finding(file, "its provenance was edited after it was written: its seal is another")
    if made.home is None:
        yield Finding(file, f"its job wrote it to {made.spec.get('out')}, so it is another file's")
    is_frame = made.path.suffix == ".parquet"
    if is_frame and rows_digest(pq.read_table(made.path)) != record.get("rows_sha256"):
        yield Finding(file, "its rows are not those that were written: their SHA-256 differs")
    try:
        yield from _hashed(made, folder)
    except (ValueError, OSError) as error:
        yield Finding(file, f"cannot be traced: {error}")


def _hashed(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether all that it was made from, and that was made with it, is still the same."""
    file, read = str(made.path), read_by(made)
    outputs = below(made.path.parent, made.outputs, file)
    inputs = {name: made.locate(name) for name in read}
    for output, recorded in zip(outputs, made.outputs.values(), strict=True):
        if not Path(output).exists() or folder.hashed(Path(output)) != recorded:
            yield Finding(output, "is missing or was changed after it was made")
    for name, path in inputs.items():
        if not path.exists():
            yield Finding(file, f"was made from {name}, which is missing")
        elif name in made.inputs and folder.hashed(path) != made.inputs[name]:
            yield Finding(file, f"was made from another state of {name}: its SHA-256 differs")
    if unknown := [name for name in read if name not in made.inputs]:
        yield Finding(file, f"cannot be traced, for lack of a hash, to {examples(unknown)}")


def read_by(made: Made) -> list[str]:
    """What the job read of other jobs' results, whether or not it was hashed."""
    images = made.spec.get("images")
    listed = [*named_by(made), *(images if isinstance(images, list) else ()), *made.inputs]
    if made.kind in VERBS:
        listed += getattr(job_of(made), "reads", ())
    return list(dict.fromkeys(file for file in listed if isinstance(file, str)))


def named_by(made: Made) -> dict[str, str]:
    """The files that a table's or figure's job names -> their kind of frame."""
    groups = made.spec.get("inputs")
    named = groups.items() if isinstance(groups, dict) else ()
    listed = ((kind, files) for kind, files in named if isinstance(files, list))
    return {str(file): kind for kind, files in listed for file in files}


class Weights:
    """Compares weights that made frames with those that are declared here, and on this machine.

    A folder chooses no file that is read: only places that are declared here are.
    """

    def __init__(self, folder: Folder) -> None:
        registry = folder.registry
        named = [*registry.models, *registry.rewards, *registry.methods, *registry.benchmarks]
        self._names = set(named)
        groups = (registry.models, registry.methods, registry.benchmarks)
        specs = [spec for group in groups for spec in group.values()]
        rewards = [registry.reward(name) for name in registry.rewards]
        self._declared = set(weights_of(*specs, *rewards))
        self._places = {(file.place, file.sha256, file.commit) for file in self._declared}
        self._found: dict[WeightFile, dict[str, str]] = {}
        #: Components whose weights are not here, so that nothing could be compared.
        self.absent: set[str] = set()

    def check(self, made: Made, folder: Folder) -> Iterator[Finding]:
        """Whether a frame names all weights that its job loaded, and they are those of here."""
        file, told = str(made.path), made.record.get("weights") or {}
        self.absent |= {component for component, *_ in component_versions.weights(made.record)}
        for named in weights_of_job(made):
            own = told.get(named.component, {})
            recorded = {r: h for r, h in own.items() if r.partition("/")[0] == named.role}
            what = f"{named.role} of {named.component}"
            if not recorded:
                yield Finding(file, f"its provenance lacks the SHA-256 of {what}")
                continue
            is_declared = named.component.partition(" ")[2] in self._names
            if is_declared and named not in self._declared:
                yield Finding(file, f"was made with {named.place} as {what}, not as declared")
                continue
            # Comparisons, and variants of methods, are declared by configs: their places here.
            if (named.place, named.sha256, named.commit) not in self._places:
                continue
            if named not in self._found:
                self._found[named] = weight_hashes.hashes([named]).get(named.component, {})
            found = self._found[named]
            if found:
                self.absent.discard(named.component)
            # Of a commit of the hub, each machine has the files that something there needed.
            shared = recorded.keys() & found.keys()
            names = shared if named.commit else recorded.keys() | found.keys()
            changed = [role for role in names if recorded.get(role) != found.get(role)]
            if found and changed:
                lie = f"than those that lie in {named.place}: the SHA-256 differs of"
                yield Finding(file, f"was made with other {what} {lie} {examples(sorted(changed))}")


def weights_of_job(made: Made) -> tuple[WeightFile, ...]:
    """The weights that a frame's job loaded, as far as they are pinned or on this machine.

    Raises:
        SpecError: its job is none, or its targets do not exist.
    """
    if made.kind not in VERBS:
        return ()
    found: tuple[WeightFile, ...] = job_of(made).weights
    if any(not file.place for file in found):
        raise SpecError(f"{made.path}: a place of weights is empty")
    return found
