"""Frames on disk: written and read by their schemas, with checked columns and values.

A frame file is parquet. It carries its provenance (:mod:`harness.results.provenance`) in the
schema's metadata, and is written in one go: a killed job leaves no half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from harness.base.atomic_files import in_one_go
from harness.base.errors import unknown
from harness.base.safe_paths import below
from harness.results import provenance
from harness.results.row_digests import rows_digest
from harness.results.schemas import (
    AUDITS,
    DISTANCES,
    IDENTITY,
    IMAGES,
    LATER,
    LEFT_OUT,
    NETWORK,
    NO_SEED,
    PAIRS,
    SCHEMAS,
    SCORES,
    SWAPPED,
    TIMINGS,
    TRAINING,
    TRAJECTORIES,
    Column,
    Dtype,
    Schema,
    schema_of,
)

# The schemas are known by the module that reads and writes by them, too.
__all__ = [
    "AUDITS",
    "DISTANCES",
    "IDENTITY",
    "IMAGES",
    "LEFT_OUT",
    "NO_SEED",
    "PAIRS",
    "SCHEMAS",
    "SCORES",
    "SWAPPED",
    "TIMINGS",
    "TRAINING",
    "TRAJECTORIES",
    "Column",
    "Dtype",
    "Schema",
    "check",
    "read",
    "read_all",
    "read_any",
    "read_arrow",
    "read_images",
    "read_provenance",
    "schema_of",
    "write",
    "write_arrow",
]


def _is_number(values: pd.Series[Any]) -> bool:
    """Whether a column has numbers; truth values, which pandas takes for some, are none."""
    is_bool = pd.api.types.is_bool_dtype(values)
    return pd.api.types.is_numeric_dtype(values) and not is_bool


#: arrow's type, and whether a column of pandas can become one; every number can become a float.
_TYPES: dict[Dtype, tuple[pa.DataType, Callable[[pd.Series[Any]], bool]]] = {
    "string": (pa.string(), pd.api.types.is_string_dtype),
    "int64": (pa.int64(), pd.api.types.is_integer_dtype),
    "float64": (pa.float64(), _is_number),
    "bool": (pa.bool_(), pd.api.types.is_bool_dtype),
}
_METADATA_KEY = b"hypernoise"
_READ = partial(pq.read_table, page_checksum_verification=True)


def check(frame: pd.DataFrame, kind: str | Schema, where: str) -> pd.DataFrame:
    """The frame with its columns in the schema's order and of the schema's types.

    Raises:
        ValueError: a column is missing, unknown, of another type, has missing values or such as its
            schema does not allow, or two rows have the same key. The message starts with ``where``.
    """
    schema = schema_of(kind)
    if lacking := [name for name in schema.names if name not in frame.columns]:
        raise ValueError(f"{where}: {schema.kind} lack the columns {', '.join(lacking)}")
    for name in frame.columns:
        if name not in schema.names:
            raise unknown(f"column of {schema.kind}", name, schema.names, where)
    for column in schema.columns:
        values = frame[column.name]
        missing = values.isna()
        said = f"{where}: column {column.name!r}"
        if missing.any() and not column.may_be_missing:
            raise ValueError(f"{said} has no value in row {int(missing.to_numpy().argmax())}")
        # Of whole numbers with gaps, pandas makes floats.
        has_gaps = column.may_be_missing and values.dtype.kind == "f"
        given = values.dropna().convert_dtypes() if has_gaps else values
        # A column of missing values only may be of any type.
        if not missing.all() and not _TYPES[column.dtype][1](given):
            raise ValueError(f"{said} is {values.dtype}, must be {column.dtype}")
        if column.dtype in ("int64", "float64") and len(values):
            numbers = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
            allowed = column.numbers
            odd = (numbers < allowed.least) | (numbers <= allowed.above)
            odd |= np.isinf(numbers) & (not allowed.may_be_infinite)
            if odd.any():
                at = int(odd.argmax())
                raise ValueError(f"{said} is {numbers[at]:g} in row {at}, must be {allowed}")
    _check_unique(frame, schema, where)
    checked: pd.DataFrame = _to_arrow(frame, schema, where).to_pandas(integer_object_nulls=True)
    gaps = [c.name for c in schema.columns if c.dtype == "int64" and c.may_be_missing]
    return checked.astype({n: "Int64" for n in gaps if n in NETWORK or frame[n].isna().any()})


def write(
    frame: pd.DataFrame, path: str | Path, kind: str | Schema, spec: Any, **facts: Any
) -> None:
    """Check a frame and write it with its provenance, atomically.

    Args:
        frame: rows, with the columns of the kind in any order.
        path: the parquet file; folders are made.
        kind: name of a schema, or a schema.
        spec: what was run: a dataclass (a job, usually) or its JSON text.
        facts: what else the provenance shall hold, by its key.

    Raises:
        ValueError: as in :func:`check`.
    """
    path, schema = Path(path), schema_of(kind)
    table = _to_arrow(check(frame, schema, str(path)), schema, str(path))
    write_arrow(table, path, schema.kind, spec, **facts)


def write_arrow(table: Any, path: Path, kind: str, spec: Any, **facts: Any) -> None:
    """Write an arrow table as :func:`write` does, unchecked, of any ``kind``."""
    record = provenance.collect(kind, spec, rows_sha256=rows_digest(table), **facts).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA_KEY: record})
    with in_one_go(path) as unfinished:
        pq.write_table(table, unfinished, write_page_checksum=True)


def read(path: str | Path, kind: str | Schema) -> pd.DataFrame:
    """Read and check a frame.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no parquet, holds another kind of frame, or as in :func:`check`.
    """
    path, schema = Path(path), schema_of(kind)
    record = provenance.parse(_metadata((table := _open(path)).schema))
    if (kind := record.get("kind", schema.kind)) != schema.kind:
        raise ValueError(f"{path} holds {kind}, not {schema.kind}")
    if provenance.is_foreign(record) and not set(schema.names) <= set(table.column_names):
        made = f"layout {record.get('layout', 1)} of the harness, here is {provenance.LAYOUT}"
        raise ValueError(f"{path} is of {made}: make it again; only compare reads its scores")
    frame = _rows(table, path)
    if later := [n for n in LATER if n in schema.names and n not in frame]:
        frame[later] = float("nan")
    return check(frame, schema, str(path))


def read_arrow(path: str | Path, kind: str) -> Any:
    """As :func:`read`, as an arrow table of exactly the schema's columns and types."""
    return _to_arrow(read(path, kind), schema_of(kind), str(path))


def read_all(paths: Sequence[str | Path], kind: str | Schema) -> pd.DataFrame:
    """Several frames of one kind under one another; rows with the same key are an error."""
    return _joined([read(path, kind) for path in paths], schema_of(kind), paths)


def read_images(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Image frames under one another, as :func:`read_all`; ``path`` leads to files from here.

    Raises:
        SpecError: an image's path leads out of its frame's folder.
    """
    for path, rows in zip(paths, parts := [read(p, IMAGES) for p in paths], strict=True):
        rows["path"] = below(Path(path).parent, rows["path"], path)
    return _joined(parts, IMAGES, paths)


def _joined(
    parts: Sequence[pd.DataFrame], schema: Schema, paths: Sequence[str | Path]
) -> pd.DataFrame:
    """Checked frames under one another; of several, rows may still have the same key."""
    if not parts:
        raise ValueError(f"no files with {schema.kind} given")
    frame = pd.concat(parts, ignore_index=True)
    if len(parts) > 1:
        _check_unique(frame, schema, ", ".join(map(str, paths)))
    return frame


def read_any(path: str | Path) -> pd.DataFrame:
    """The rows of a parquet file of any kind, unchecked; errors are those of :func:`read`."""
    return _rows(_open(Path(path)), path)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What a file says about its making; empty for a foreign parquet file."""
    return provenance.parse(_metadata(_open(Path(path), pq.read_schema)))


def _open(path: Path, read: Callable[[Path], Any] = _READ) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"frame {path} is missing")
    try:
        return read(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is truncated or not parquet: {error}") from error


def _rows(table: pa.Table, path: str | Path) -> pd.DataFrame:
    try:
        return pd.DataFrame(table.to_pandas())
    except (TypeError, KeyError) as error:  # In pandas' own notes, which no checksum covers.
        raise ValueError(f"{path} is damaged: {error!r}") from error


def _metadata(schema: pa.Schema) -> str:
    return str((schema.metadata or {}).get(_METADATA_KEY, b""), "utf-8")


def _check_unique(frame: pd.DataFrame, schema: Schema, where: str) -> None:
    if (key := list(schema.key)) and (twice := frame.duplicated(key)).any():
        row = frame.loc[twice, key].iloc[0].to_dict()
        raise ValueError(f"{where}: two rows of {schema.kind} are about the same thing: {row}")


def _to_arrow(frame: pd.DataFrame, schema: Schema, where: str) -> pa.Table:
    fields = [pa.field(column.name, _TYPES[column.dtype][0]) for column in schema.columns]
    try:
        return pa.Table.from_pandas(frame[schema.names], pa.schema(fields), preserve_index=False)
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: a text has half a character: {error.object!r}") from error
    except pa.ArrowException as error:
        raise ValueError(f"{where}: {'; '.join(map(str, error.args))}") from error
