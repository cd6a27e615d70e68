"""``python -m harness pick-a-pic``: the prompts of Pick-a-Pic, from one column of its files.

The data set's images are hundreds of gigabytes, its captions some megabytes: of each parquet file
of the hub only the ranges that hold the column are read, at a pinned commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from harness.base.atomic_files import output_file, write_text
from harness.base.errors import SpecError
from harness.base.import_strings import resolve
from harness.benchmarks.prompts import normalised
from harness.benchmarks.training_prompts import PICK_A_PIC, facts_of
from harness.build import data_files
from hypernoise.weights import hub


def run(
    repository: str,
    revision: str,
    files: str,
    column: str,
    apart_from: Sequence[str],
    out: Path | None,
) -> None:
    """Write a data set's captions, each once and none that is evaluated on, one a line.

    Args:
        repository: of the hub's data sets.
        revision: a commit of it.
        files: pattern of its parquet files, which are read in the order of their names.
        column: whose texts are wanted.
        apart_from: targets of prompts that are evaluated on.
        out: the list, with its facts and SHA-256 beside it; None for where training looks for it.

    Raises:
        SpecError: no file is of the pattern, or a file has no such column.
        ValueError, FileNotFoundError: the hub does not give the data set at the commit (gated,
            moved, out of reach), or prompts that are evaluated on cannot be had.
    """
    hub.check_commit(repository, revision)
    out = output_file(out or data_files.folder() / PICK_A_PIC)
    evaluated = {normalised(prompt.text) for target in apart_from for prompt in resolve(target)()}
    names = parquet_files(repository, revision, files)
    kept: dict[str, str] = {}
    overlapping: set[str] = set()
    n_rows = 0
    for caption in _captions(repository, revision, names, column):
        n_rows += 1
        text = " ".join(caption.split())
        key = normalised(text)
        if key in evaluated:
            overlapping.add(key)
        elif text:
            kept.setdefault(key, text)
    content = "".join(f"{text}\n" for text in kept.values())
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    facts = {
        "repository": repository,
        "commit": revision,
        "files": names,
        "column": column,
        "rows": n_rows,
        "prompts": len(kept),
        "left_out_because_evaluated_on": len(overlapping),
        "sha256": sha256,
    }
    # The list comes last: where it is, its facts are.
    write_text(facts_of(out), json.dumps(facts, indent=1) + "\n")
    write_text(out, content)
    print(f"{out}: {len(kept)} prompts of {n_rows} rows; {len(overlapping)} are evaluated on.")
    print(f"SHA-256 {sha256}; where it is from stands in {facts_of(out)}.")


def parquet_files(repository: str, revision: str, pattern: str) -> list[str]:
    """The files of a data set that a pattern names, in order; errors as :func:`run`."""
    from huggingface_hub import HfApi

    with hub.explained(f"datasets/{repository}", revision, pattern, "try again with a connection"):
        there = HfApi().list_repo_files(repository, revision=revision, repo_type="dataset")
    found = sorted(name for name in there if fnmatchcase(name, pattern))
    if not found:
        raise SpecError(
            f"{repository} has no file {pattern} at {revision}, but {', '.join(sorted(there)[:8])}"
        )
    return found


def _captions(repository: str, revision: str, names: Iterable[str], column: str) -> Iterator[str]:
    from huggingface_hub import HfFileSystem
    from pyarrow import parquet  # type: ignore[import-untyped]

    # One of its own: the client shares instances, and with them what they have looked up.
    system = HfFileSystem(skip_instance_cache=True)
    for number, name in enumerate(names, start=1):
        print(f"{name} ({number} of {len(list(names))})...", flush=True)
        place = f"datasets/{repository}@{revision}/{name}"
        with (
            hub.explained(f"datasets/{repository}", revision, name, "try again with a connection"),
            # Without a cache, only what is asked for is read: a range for each chunk of a column.
            system.open(place, cache_type="none") as opened,
        ):
            table = parquet.ParquetFile(opened)
            if column not in table.schema_arrow.names:
                there = ", ".join(table.schema_arrow.names)
                raise SpecError(f"{name} of {repository} has no column {column!r} (has: {there})")
            for group in range(table.num_row_groups):
                found = table.read_row_group(group, columns=[column])[column]
                yield from (text for text in found.to_pylist() if text)
