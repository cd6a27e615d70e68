"""``python -m harness verify RESULTS``: does every number follow from the rows it claims?

Every file of the folder is looked at by a check of :mod:`harness.verification`, or named as one
that belongs to nothing. What docs/protocol.md calls unknowable without a rerun is made again with
``--rescore`` and ``--regenerate``.

A results folder chooses neither what code runs nor which files are read: components are those that
are declared under their names here, and paths stay inside the folder.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import matplotlib

from harness.base.errors import SpecError
from harness.experiment.component_files import KINDS, declared
from harness.experiment.components import Registry
from harness.report import figure_diff, front_page
from harness.results import component_versions, frames
from harness.results.results_folder import Made, Survey, survey
from harness.verification import leftovers, origins, products, rows, times
from harness.verification.findings import BUSY, STALE, Finding, Folder, each

_PLURALS = {
    "table": "tables",
    "figure": "figures",
    "gallery": "galleries",
    "page": "pages",
    "match": "matches",
}
_SORTS = (*_PLURALS.values(), "frames")


def run(results: str, components: Sequence[Path], rescore: int, regenerate: int, seed: int) -> int:
    """Print a line per finding, notes and a summary.

    Args:
        results: the results folder.
        components: the folder where components are declared.
        rescore: images of every frame of scores, and prompts of every frame of pairs, that are
            measured again.
        regenerate: images of every frame of images that are generated again.
        seed: of the draw of these images.

    Returns:
        The exit code: 0 if every number can be traced and nothing is stale, else 1. Times that a
        busy machine explains change nothing.

    Raises:
        FileNotFoundError: there is no such folder, or nothing in it.
    """
    found, registry = survey(results), declared(*components)
    folder = Folder(found, registry)
    lines, told = checked(folder, Path(results))
    if (rescore or regenerate) and not found.foreign():
        # Imported here because without reruns no torch is needed.
        from harness.verification import reruns

        again = reruns.Reruns(folder, seed)
        lines += [*again.scores(rescore), *again.images(regenerate)]
        told += again.notes
    for line in [*lines, *(f"note: {note}" for note in [*notes(found), *told])]:
        print(line)
    kinds = Counter(_PLURALS.get(made.kind.split(" ")[0], "frames") for made in found.made)
    counted = ", ".join(f"{kinds[sort]} {sort}" for sort in _SORTS)
    severities = Counter(line.severity for line in lines)
    told_apart = [
        f"{severities[name]} {words}"
        for name, words in (("", "findings"), (STALE, "stale"), (BUSY, "of a busy machine"))
        if severities[name]
    ]
    traced = [] if severities[""] else ["every number can be traced"]
    verdict = ", ".join([*told_apart, *traced])
    print(f"SHA-256 of all of it: {whole(folder)}")
    print(f"{counted}: {verdict}")
    return int(any(severity != BUSY for severity in severities))


def verify(found: Survey, registry: Registry) -> list[Finding]:
    """Everything about a results folder that does not hold.

    Args:
        found: the folder (:func:`harness.results.results_folder.survey`).
        registry: the declared components; of tables and figures their functions may be called.
    """
    roots = {made.results for made in found.made}
    return [f for root in roots for f in checked(Folder(found, registry), root)[0]]


def checked(folder: Folder, root: Path) -> tuple[list[Finding], list[str]]:
    """What does not hold in a results folder, and notes on what could not be compared."""
    found = folder.found
    if foreign := found.foreign():
        return [Finding(str(root), foreign)], []
    weights = origins.Weights(folder)
    findings = [Finding(str(path), fault) for path, fault in found.unreadable]
    checks = (
        (found.made, origins.origin, "traced"),
        (found.made, weights.check, "traced to its weights"),
        (folder.frames("images"), rows.pictures, "read"),
        (folder.frames(*frames.SCHEMAS), rows.frame, "read"),
        (folder.frames("timings"), times.timings, "checked"),
        (folder.frames("match"), rows.match, "chosen again"),
        (folder.of("table"), products.table, "recomputed"),
        (folder.of("rows"), products.rows, "gathered"),
        (folder.of("figure"), products.figure, "redrawn"),
        (folder.of("page"), products.pages, "written again"),
        (folder.frames("gallery"), products.galleries, "made again"),
    )
    for made, check, done in checks:
        findings += each(made, folder, check, done)
    if (first := root / front_page.PAGE).is_file():
        findings += each([Made(first, {}, root)], folder, products.front, "written again")
    if (root / products.REPORT).is_file():
        findings += products.report(root / products.REPORT, folder)
    findings += leftovers.leftovers(root, folder)
    told = [*leftovers.skipped(root), *_not_named(folder)]
    if weights.absent:
        named = ", ".join(sorted(weights.absent))
        told.append(f"weights are not here, and were not compared, of {named}")
    return list(dict.fromkeys(findings)), told


def _not_named(folder: Folder) -> Iterator[str]:
    """Folders of components that results were made with and that are not among those read here."""
    registry = [spec for kind in KINDS for spec in getattr(folder.registry, kind).values()]
    here = {_home(spec.file) for spec in registry if spec.file}
    names = {spec.name for spec in registry}
    away: dict[Path, set[str]] = {}
    for spec in (spec for made in folder.found.made for spec in _specs(made.record.get("spec"))):
        name, home = spec["name"].partition(":")[0], _home(spec["file"])
        if spec["file"] and name not in names and home not in here:
            away.setdefault(home, set()).add(name)
    for home, missing in sorted(away.items()):
        yield (
            f"{', '.join(sorted(missing))}: not declared in the folders of --components; the "
            f"results were made with {home}, which may be named there after the others"
        )


def _home(file: str) -> Path:
    return Path(file).absolute().parent.parent


def _specs(value: object) -> Iterator[dict[str, str]]:
    """The components in what a record says of its job."""
    fields = value if isinstance(value, dict) else {}
    if all(isinstance(fields.get(name), str) for name in ("name", "target", "file")):
        yield fields
    for inner in [*fields.values(), *(value if isinstance(value, list) else ())]:
        yield from _specs(inner)


def whole(folder: Folder) -> str:
    """One hash of all files of a folder that have provenance: what it shall still be tomorrow.

    Only who wrote it down, where the folder's owner cannot change it, can tell later that all of a
    folder was made anew.
    """
    lines = []
    for made in folder.found.made:
        path = made.path.relative_to(made.results).as_posix()
        lines.append(f"{path} {folder.hashed(made.path)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def notes(found: Survey) -> Iterator[str]:
    """What a reader should know though no number is wrong."""
    dirty = [made for made in found.made if made.record.get("dirty")]
    if dirty:
        yield (
            f"{len(dirty)} files were made by code with uncommitted changes (commit "
            f"{', '.join(Survey(dirty, []).commits())}), e.g. {dirty[0].path}"
        )
    if len(known := found.commits()) > 1:
        yield f"files were made by {len(known)} commits: {', '.join(known)}"
    yield from _mixed_versions(found)
    drawn = [made.path for made in found.made if made.kind.startswith("figure ")]
    undrawn = [path for path in drawn if not figure_diff.is_comparable(path)]
    if undrawn:
        drawn_by = sorted({figure_diff.drawn_by(path) or "an unknown program" for path in undrawn})
        yield (
            f"{len(undrawn)} figures were not redrawn, but checked by the hashes of their frames "
            f"only: matplotlib {', '.join(drawn_by)} drew them, here is {matplotlib.__version__}; "
            f"e.g. {undrawn[0]}"
        )


def _mixed_versions(found: Survey) -> Iterator[str]:
    """Tables and figures whose frames were made by different versions of packages."""
    records = {made.path.resolve(): made.record for made in found.made}
    for made in (item for item in found.made if item.kind.startswith(("table ", "figure "))):
        # A file whose place is unknown is a finding.
        with suppress(SpecError):
            named = origins.named_by(made)
            read = {name: records.get(made.locate(name).resolve(), {}) for name in named}
            if said := component_versions.mixed(read, with_files=True):
                yield f"{made.path}: {said}"
