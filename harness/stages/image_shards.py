"""Images of shards: what one leaves, and what joining them takes.

A shard leaves what a killed job leaves, too: its PNGs, and a row for each. The job that joins goes
on from these as from its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.base.atomic_files import write_text
from harness.base.errors import SpecError
from harness.experiment.jobs import PNG_FOLDER
from harness.results import provenance

#: A shard's file, beside the folder of its images.
FILE = "made.json"
_TOLD = ("hardware", "commit", "dirty", "written")


def publish_shard(
    out: str, rows: Sequence[Mapping[str, Any]], folder: Path, weights: Mapping[str, Any]
) -> None:
    """Leave a shard's images and their rows.

    Args:
        out: the shard's file; images go beside it.
        rows: one for each image, with its ``path``.
        folder: where the images are now.
        weights: hashes of what they were made with.
    """
    images = Path(out).with_name(PNG_FOLDER)
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    for row in rows:
        _put(folder / row["path"], images.parent / row["path"])
    record = json.loads(provenance.collect("shard", {}, weights=weights))
    write_text(Path(out), json.dumps({"record": record, "rows": list(rows)}))


def joined(parts: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """The rows of all shards, whose images are put into a work folder.

    Raises:
        SpecError: a file is no shard.
    """
    rows = []
    for part in parts:
        for row in _read(part)["rows"]:
            _put(Path(part).parent / row["path"], folder / row["path"])
            rows.append(row)
    return rows


def told(parts: Sequence[str]) -> dict[str, Any]:
    """What the provenance of joined images says of their shards; nothing where there are none.

    Whoever joins has made nothing: the hardware is that of the first shard, and each has its own.

    Raises:
        SpecError: a file is no shard, or shards are of different weights.
    """
    records = [_read(part)["record"] for part in parts]
    if not records:
        return {}
    for part, record in zip(parts, records, strict=True):
        if record["weights"] != records[0]["weights"]:
            raise SpecError(f"{part} is of other weights than {parts[0]}: make it again")
    own = [{name: record.get(name) for name in _TOLD} for record in records]
    return {"weights": records[0]["weights"], "hardware": records[0]["hardware"], "shards": own}


def _read(part: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(Path(part).read_text(encoding="utf-8"))
        assert {"record", "rows"} <= found.keys()
    except (ValueError, AttributeError, AssertionError) as error:
        raise SpecError(f"{part} is damaged, or no shard: {error}") from error
    return found


def _put(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
