"""What lies in a results folder and belongs to nothing whose provenance is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.report import table_diff
from harness.report.front_page import PAGE
from harness.results.results_folder import SKIPPED
from harness.verification.findings import Finding, Folder
from harness.verification.products import REPORT

#: Files that are named; more are only counted.
MOST_FILES = 20


def leftovers(root: Path, folder: Folder) -> Iterator[Finding]:
    """Every file that no check of this package looks at, but hidden ones and those of
    :data:`harness.results.results_folder.SKIPPED`."""
    files, folders = {root / REPORT, root / PAGE, *folder.broken}, set[Path]()
    stems = {path.with_suffix("") for path in folder.broken}
    for made in folder.found.made:
        files.add(made.path)
        for name in made.outputs:
            path = made.path.parent / name
            # The hash of a folder is that of all files in it.
            (folders if path.is_dir() else files).add(path)
        if made.kind.startswith("table "):
            stems.add(made.path.with_suffix(""))
        if made.kind.startswith("figure "):
            files.add(made.path.with_suffix(".pdf"))
    n_found = 0
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_dir() or parts[0] in SKIPPED or any(part.startswith(".") for part in parts):
            continue
        is_text = path.suffix in table_diff.TEXTS
        if path in files or (is_text and path.with_suffix("") in stems):
            continue
        if folders.isdisjoint(path.parents):
            what = "no parquet with provenance next to it: none of its numbers can be traced"
            other = "belongs to nothing whose provenance is here: cannot be traced"
            n_found += 1
            if n_found <= MOST_FILES:
                yield Finding(str(path), what if is_text else other)
    if n_found > MOST_FILES:
        yield Finding(str(root), f"holds {n_found - MOST_FILES} more such files")


def skipped(root: Path) -> list[str]:
    """A line for each folder that is not looked into, with what is in it."""
    return [
        f"{root / name} is not verified: {what}"
        for name, what in SKIPPED.items()
        if (root / name).is_dir()
    ]
