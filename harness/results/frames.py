"""Every column of every file: its name, type, unit and meaning; reading and writing them checked.

A frame file is parquet. It carries its provenance (:mod:`harness.results.provenance`) in the
schema's metadata, and is written in one go: a killed job leaves no half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from harness.base.atomic_files import in_one_go
from harness.base.errors import unknown
from harness.base.safe_paths import below
from harness.results import provenance

Dtype = Literal["string", "int64", "float64", "bool"]
_ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}
_METADATA_KEY = b"hypernoise"


@dataclass(frozen=True)
class Column:
    """One column; ``may_be_missing`` allows null and NaN."""

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    may_be_missing: bool = False


@dataclass(frozen=True)
class Schema:
    """The columns of one kind of frame; no two rows may agree in all of ``key``."""

    kind: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


_WHO = (
    Column("model", "string", "", "name of the generator"),
    Column("method", "string", "", "name of the method"),
    Column("reward", "string", "", "reward that was trained on or searched; empty for base"),
)
_SPENT = (
    Column("nfe", "float64", "backbone passes per image", "noise network and generator alike"),
    Column("reward_calls", "float64", "calls per image", "rewards computed while generating"),
    Column("backward_passes", "float64", "passes per image", "gradients taken while generating"),
)

#: What says which image a row is about.
IDENTITY = (
    *_WHO,
    Column("benchmark", "string", "", "name of the benchmark"),
    Column("prompt_id", "string", "", "identity of the prompt within the benchmark"),
    Column("task", "string", "", "the benchmark's task that the prompt belongs to"),
    Column("image_index", "int64", "", "number of the image among its prompt's, from 0"),
    Column("seed", "int64", "", "experiment seed; same seed, prompt and index, same noise"),
    Column("steps", "int64", "sampling steps", "of the generator"),
)
_IDENTITY_NAMES = tuple(column.name for column in IDENTITY)

IMAGES = Schema(
    "images",
    (
        *IDENTITY,
        Column("prompt", "string", "", "the prompt's text"),
        Column("metadata", "string", "", "what the image is judged by: the prompt's, as JSON"),
        Column("path", "string", "", "8-bit PNG, relative to the frame's folder"),
        *_SPENT,
        Column(
            "batch_size",
            "float64",
            "images",
            "made together with this one; missing where the image does not depend on it",
            may_be_missing=True,
        ),
    ),
    _IDENTITY_NAMES,
)
SCORES = Schema(
    "scores",
    (
        *IDENTITY,
        Column("metric", "string", "", "a metric of the benchmark, or the name of a judge"),
        Column("meaning", "string", "", "of the metric, in words"),
        Column("value", "float64", "the metric's", "higher is better"),
        Column("detail", "string", "", "why, in words, where the metric says so"),
    ),
    (*_IDENTITY_NAMES, "metric"),
)
TIMINGS = Schema(
    "timings",
    (
        *_WHO,
        Column("steps", "int64", "sampling steps", "of the generator"),
        Column("batch_size", "int64", "images", "made by one call"),
        Column("size_px", "int64", "pixels", "width and height of an image"),
        Column("precision", "string", "", "dtype of the generator's networks"),
        Column("mode", "string", "", "eager, compiled or cuda_graphs"),
        Column("device", "string", "", "cpu or cuda"),
        Column("stage", "string", "", "part of the call (harness.results.stage_names)"),
        Column("repeat", "int64", "", "number of the method's call, from 0"),
        Column("turn", "int64", "", "place of the call among all methods' calls, from 0"),
        Column("ms", "float64", "ms per image", "wall time of the stage in the call / batch_size"),
        Column(
            "gflops",
            "float64",
            "10^9 per image",
            "operations of the stage, 2 per multiply-add; missing where they were not counted",
            may_be_missing=True,
        ),
        Column("nfe", "float64", "backbone passes per image", "noise network and generator alike"),
        Column("params_m", "float64", "millions", "parameters of the pipeline and the adapter"),
        Column(
            "peak_memory_mib",
            "float64",
            "MiB",
            "most that one eager call held in tensors in addition to what was loaded and the "
            "encoded prompts; missing where it was not measured",
            may_be_missing=True,
        ),
        Column("threads", "int64", "threads", "torch's, within an operator"),
    ),
    (
        *("model", "method", "reward", "steps", "batch_size", "size_px"),
        *("precision", "mode", "device", "stage", "repeat"),
    ),
)
TRAINING = Schema(
    "training",
    (
        *_WHO,
        Column(
            "kind",
            "string",
            "",
            "train: a batch; validation: fixed prompts and noise; kept: the result's",
        ),
        Column("step", "int64", "optimizer steps", "taken when the value was measured"),
        Column("name", "string", "", "what was measured: loss, kl_nats, a reward's name, ..."),
        Column("value", "float64", "the quantity's", "measured value"),
    ),
    ("model", "method", "reward", "kind", "step", "name"),
)
TRAJECTORIES = Schema(
    "trajectories",
    (
        *IDENTITY,
        Column("iteration", "int64", "scored images", "of this image so far, from 1"),
        Column("nfe", "float64", "backbone passes per image", "spent when it was scored"),
        Column("prompt", "string", "", "what the scored image was drawn for"),
        Column(
            "value",
            "float64",
            "the reward's",
            "searched reward of the iteration's image; missing where an attempt gave none",
            may_be_missing=True,
        ),
        Column("best_value", "float64", "the reward's", "highest value so far"),
    ),
    (*_IDENTITY_NAMES, "iteration"),
)
_NATS = "nats"
AUDITS = Schema(
    "audits",
    (
        *_WHO,
        Column("step", "int64", "optimizer steps", "of the checkpoint"),
        Column("is_kept", "bool", "", "whether the checkpoint became the training's result"),
        Column("prompt_id", "string", "", "identity of the prompt"),
        Column("task", "string", "", "the task that the prompt belongs to"),
        Column("image_index", "int64", "", "number of the noise among its prompt's, from 0"),
        Column("seed", "int64", "", "experiment seed; same seed, prompt and index, same noise"),
        Column("n_dimensions", "int64", "", "of one image's noise"),
        Column("exact", "bool", "", "whether the whole Jacobian J was formed"),
        Column("half_squared_norm_nats", "float64", _NATS, "half |f|^2: what training penalises"),
        Column("inner_product_nats", "float64", _NATS, "<x0, f>; its mean is that of the trace"),
        Column("trace_nats", "float64", _NATS, "Tr J"),
        Column("trace_se_nats", "float64", _NATS, "standard error of the estimate; 0 if exact"),
        Column("log_abs_det_nats", "float64", _NATS, "log|det(I + J)|"),
        Column("log_abs_det_se_nats", "float64", _NATS, "standard error of the estimate"),
        Column("dropped_nats", "float64", _NATS, "Tr J - log|det(I + J)|, which training drops"),
        Column("dropped_se_nats", "float64", _NATS, "standard error of the estimate"),
        Column("kl_nats", "float64", _NATS, "the KL's integrand: penalised plus dropped"),
        Column(
            "sign",
            "float64",
            "",
            "of det(I + J): -1 turns space over, 0 is singular; missing without the Jacobian",
            may_be_missing=True,
        ),
        Column("largest_singular_value", "float64", "", "of J"),
        Column("smallest_singular_value", "float64", "", "of I + J"),
        Column(
            "bound_nats",
            "float64",
            _NATS,
            "theorem 1's bound on |dropped| for this J; missing where its L is 1 or more",
            may_be_missing=True,
        ),
    ),
    ("model", "method", "reward", "step", "prompt_id", "image_index", "seed"),
)
PAIRS = Schema(
    "pairs",
    (
        *IDENTITY,
        Column("other_index", "int64", "", "number of the other image of the prompt, the larger"),
        Column("metric", "string", "", "what was compared: ..._distance or ..._similarity"),
        Column(
            "value",
            "float64",
            "the metric's",
            "of a distance, higher is more diverse; of a similarity, higher is less diverse",
        ),
    ),
    (*_IDENTITY_NAMES, "other_index", "metric"),
)
SCHEMAS = {
    schema.kind: schema
    for schema in (IMAGES, SCORES, TIMINGS, TRAINING, TRAJECTORIES, AUDITS, PAIRS)
}

#: Suffix for images that a metric excludes by its own rules. Such an image has no value of the
#: metric, but 1 under ``<metric>_left_out``, whose detail says why.
LEFT_OUT = "_left_out"
#: Ending of a metric that was measured against another prompt (:mod:`harness.stages.prompt_swaps`).
SWAPPED = "_swapped"


def schema_of(kind: str | Schema) -> Schema:
    """The schema of a kind of frame; a schema passes.

    Raises:
        SpecError: the kind is unknown.
    """
    if isinstance(kind, Schema):
        return kind
    if kind not in SCHEMAS:
        raise unknown("kind of frame", kind, SCHEMAS)
    return SCHEMAS[kind]


def check(frame: pd.DataFrame, kind: str | Schema, where: str) -> pd.DataFrame:
    """The frame with its columns in the schema's order and of the schema's types.

    Raises:
        ValueError: a column is missing, unknown, of another type or has missing values, or two
            rows have the same key. The message starts with ``where``.
    """
    schema = schema_of(kind)
    _check_names(frame, schema, where)
    for column in schema.columns:
        _check_column(frame[column.name], column, where)
    _check_unique(frame, schema, where)
    checked: pd.DataFrame = _to_arrow(frame, schema, where).to_pandas()
    return checked


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
    checked = check(frame, schema, str(path))
    write_arrow(_to_arrow(checked, schema, str(path)), path, schema.kind, spec, **facts)


def write_arrow(table: Any, path: Path, kind: str, spec: Any, **facts: Any) -> None:
    """Write an arrow table as :func:`write` does, unchecked; ``kind`` need be no schema's."""
    metadata = {_METADATA_KEY: provenance.collect(kind, spec, **facts).encode()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    with in_one_go(path) as partial:
        pq.write_table(table, partial)


def read(path: str | Path, kind: str | Schema) -> pd.DataFrame:
    """Read and check a frame.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no parquet, holds another kind of frame, or as in :func:`check`.
    """
    path, schema = Path(path), schema_of(kind)
    table = _open(path)
    written = provenance.kind_of(_metadata(table.schema))
    if written and written != schema.kind:
        raise ValueError(f"{path} holds {written}, not {schema.kind}")
    return check(table.to_pandas(), schema, str(path))


def read_arrow(path: str | Path, kind: str) -> Any:
    """As :func:`read`, as an arrow table of exactly the schema's columns and types."""
    return _to_arrow(read(path, kind), schema_of(kind), str(path))


def read_all(paths: Sequence[str | Path], kind: str | Schema) -> pd.DataFrame:
    """Several frames of one kind under one another; rows with the same key are an error."""
    if not paths:
        raise ValueError(f"no files with {schema_of(kind).kind} given")
    return _joined([read(path, kind) for path in paths], schema_of(kind), paths)


def read_images(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Image frames under one another, as :func:`read_all`; ``path`` leads to the files from here.

    Whether the image files exist is not checked.

    Raises:
        SpecError: an image's path leads out of its frame's folder.
    """
    if not paths:
        raise ValueError("no image frames given")
    parts = []
    for path in paths:
        rows = read(path, IMAGES)
        parts.append(rows.assign(path=below(Path(path).parent, rows["path"], path)))
    return _joined(parts, IMAGES, paths)


def _joined(
    parts: Sequence[pd.DataFrame], schema: Schema, paths: Sequence[str | Path]
) -> pd.DataFrame:
    """Checked frames under one another; of several, rows may still have the same key."""
    frame = pd.concat(parts, ignore_index=True)
    if len(parts) > 1:
        _check_unique(frame, schema, ", ".join(map(str, paths)))
    return frame


def read_any(path: str | Path) -> pd.DataFrame:
    """The rows of a parquet file of any kind, a table's for instance, unchecked.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is no parquet.
    """
    rows: pd.DataFrame = _open(Path(path)).to_pandas()
    return rows


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What a frame file says about its making; empty for a foreign parquet file."""
    return provenance.parse(_metadata(_open(Path(path), pq.read_schema)))


def _open(path: Path, read: Callable[[Path], Any] = pq.read_table) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"frame {path} is missing")
    try:
        return read(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is truncated or not parquet: {error}") from error


def _metadata(schema: pa.Schema) -> str:
    metadata: dict[bytes, bytes] = schema.metadata or {}
    return metadata.get(_METADATA_KEY, b"").decode()


def _check_names(frame: pd.DataFrame, schema: Schema, where: str) -> None:
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise ValueError(f"{where}: {schema.kind} lack the columns {', '.join(missing)}")
    for name in frame.columns:
        if name not in schema.names:
            raise unknown(f"column of {schema.kind}", name, schema.names, where)


def _check_column(values: pd.Series[Any], column: Column, where: str) -> None:
    missing = values.isna()
    if missing.any() and not column.may_be_missing:
        row = int(missing.to_numpy().argmax())
        raise ValueError(f"{where}: column {column.name!r} has no value in row {row}")
    if not len(values) or missing.all():
        return
    fits = {
        "string": pd.api.types.is_string_dtype,
        "int64": pd.api.types.is_integer_dtype,
        "float64": pd.api.types.is_numeric_dtype,
        "bool": pd.api.types.is_bool_dtype,
    }[column.dtype](values)
    if not fits:
        raise ValueError(
            f"{where}: column {column.name!r} is {values.dtype}, must be {column.dtype}"
        )


def _check_unique(frame: pd.DataFrame, schema: Schema, where: str) -> None:
    if not schema.key:
        return
    twice = frame.duplicated(list(schema.key))
    if twice.any():
        row = frame.loc[twice, list(schema.key)].iloc[0].to_dict()
        raise ValueError(f"{where}: two rows of {schema.kind} are about the same thing: {row}")


def _to_arrow(frame: pd.DataFrame, schema: Schema, where: str) -> pa.Table:
    fields = [pa.field(column.name, _ARROW[column.dtype]) for column in schema.columns]
    try:
        return pa.Table.from_pandas(frame[schema.names], pa.schema(fields), preserve_index=False)
    except pa.ArrowException as error:
        raise ValueError(f"{where}: {'; '.join(map(str, error.args))}") from error
