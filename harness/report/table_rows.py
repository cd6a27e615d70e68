"""The rows that a table is made of, in one file next to it: ``<table>.rows.parquet``.

The frames that the table's job names lie under one another, whatever their kind. Two columns say
where a row is from; a column that its kind of frame does not have is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from harness.experiment.jobs import TableJob
from harness.results import frames

SUFFIX = ".rows.parquet"
#: What a kind of frame is called in the first column, and the job's name of its file in the second.
ORIGIN = ("frame_kind", "file")


def kind_of(table: str) -> str:
    """The kind of the file with the rows of a table."""
    return f"rows {table}"


def gather(files: Iterable[tuple[str, str, Path]]) -> Any:
    """All rows of some frames as one arrow table; of no frames, none.

    Args:
        files: kind of frame, what the job calls its file, and where that is.

    Raises:
        FileNotFoundError, ValueError: a frame is missing or broken (:func:`frames.read`).
    """
    parts = [pa.table({name: pa.array([], pa.string()) for name in ORIGIN})]
    for kind, named, path in files:
        rows = frames.read_arrow(path, kind)
        for place, (column, word) in enumerate(zip(ORIGIN, (kind, named), strict=True)):
            words = pa.array([word] * len(rows), pa.string())
            rows = rows.add_column(place, column, words)
        parts.append(rows.replace_schema_metadata())
    return pa.concat_tables(parts, promote_options="permissive")


def write(job: TableJob) -> Path:
    """Write the rows behind a table as ``out`` + .rows.parquet, in one go; raises as above."""
    listed = [(kind, file, Path(file)) for kind, files in job.inputs.items() for file in files]
    out = Path(job.out)
    path = out.with_name(out.name + SUFFIX)
    frames.write_arrow(gather(listed), path, kind_of(job.table.name), job)
    return path
