"""A digest of rows that does not depend on the file that they are in. No pandas, no torch."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]


def rows_digest(table: Any) -> str:
    """SHA-256 of an arrow table's names, types and values, whatever file they are in."""
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table[name].combine_chunks()
        digest.update(f"{name} {column.type}\n".encode())
        if pa.types.is_floating(column.type):
            # Whoever writes parquet may make missing values of NaN, or the other way round.
            digest.update(column.fill_null(math.nan).to_numpy(zero_copy_only=False).tobytes())
        else:
            digest.update(json.dumps(column.to_pylist()).encode())
    return digest.hexdigest()
