"""Frames that were changed after they were written: by a careless forger, and a careful one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from harness.results import frames, provenance
from harness.results.row_digests import rows_digest

Change = Callable[[pd.DataFrame], pd.DataFrame]


def rewrite(path: Path, change: Change) -> None:
    """Change rows under the old provenance: the careless forger."""
    stored = pq.read_table(path)
    table = type(stored).from_pandas(
        change(stored.to_pandas()), schema=stored.schema, preserve_index=False
    )
    pq.write_table(table, path)


def forge(path: Path, change: Change = lambda rows: rows, **facts: Any) -> None:
    """Change rows and provenance, and make digest and seal again: the careful forger."""
    rewrite(path, change)
    table = pq.read_table(path)
    record = frames.read_provenance(path) | {"rows_sha256": rows_digest(table)} | facts
    told = json.dumps(provenance.sealed(record)).encode()
    pq.write_table(table.replace_schema_metadata({b"hypernoise": told}), path)
