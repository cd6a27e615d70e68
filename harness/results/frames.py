"""Every column of every file: its name, type, unit and meaning; reading and writing them checked.

A frame file is parquet. It carries its provenance (:mod:`harness.results.provenance`) in the
schema's metadata, and is written in one go: a killed job leaves no half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from harness.base.atomic_files import in_one_go
from harness.base.errors import unknown
from harness.base.safe_paths import below
from harness.results import provenance
from harness.results.row_digests import rows_digest

Dtype = Literal["string", "int64", "float64", "bool"]
#: arrow's type, and whether a column of pandas can become one; every number can become a float.
_TYPES: dict[Dtype, tuple[pa.DataType, Callable[[pd.Series[Any]], bool]]] = {
    "string": (pa.string(), pd.api.types.is_string_dtype),
    "int64": (pa.int64(), pd.api.types.is_integer_dtype),
    "float64": (pa.float64(), pd.api.types.is_numeric_dtype),
    "bool": (pa.bool_(), pd.api.types.is_bool_dtype),
}
_METADATA_KEY = b"hypernoise"
_READ = partial(pq.read_table, page_checksum_verification=True)
_LATER = ("backbone_params_m", "slowdown")  # Columns that files may be older than.


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


def _text(name: str, meaning: str) -> Column:
    return Column(name, "string", "", meaning)


def _whole(name: str, unit: str, meaning: str, missing: str = "") -> Column:
    return _number(name, unit, meaning, missing, "int64")


def _number(name: str, unit: str, meaning: str, missing: str = "", of: Dtype = "float64") -> Column:
    """A float; ``missing`` says when it may be missing, which it may not be without."""
    told = f"{meaning}; missing {missing}" if missing else meaning
    return Column(name, of, unit, told, may_be_missing=bool(missing))


_WHO = (
    _text("model", "name of the generator"),
    _text("method", "name of the method"),
    _text("reward", "reward that was trained on or searched; empty for base"),
    _whole("training_seed", "", "seed of the network's training", "where nothing was trained"),
)
_NETWORK = tuple(column.name for column in _WHO)
_MEANING = _text("prompt_meaning", "what the prompt asks for: equal for its wordings")
_STEPS = _whole("steps", "sampling steps", "of the generator")
#: The experiment seed of images that other tools made, from noise that nobody knows.
NO_SEED = -1
_SEED = _whole("seed", "", "of the experiment: with prompt and index it is the noise; or NO_SEED")
_OF_OTHER_TOOLS = "of images that other tools made"
_NFE = _number("nfe", "backbone passes per image", "noise network and generator alike")

IDENTITY = (  # What says which image a row is about.
    *_WHO,
    _text("benchmark", "name of the benchmark"),
    _text("prompt_id", "identity of the prompt within the benchmark"),
    _MEANING,
    _text("task", "the benchmark's task that the prompt belongs to"),
    _whole("image_index", "", "number of the image among its prompt's, from 0"),
    _SEED,
    _STEPS,
)
_IDENTITY_NAMES = tuple(column.name for column in IDENTITY if column is not _MEANING)

IMAGES = Schema(
    "images",
    (
        *IDENTITY,
        _text("prompt", "the prompt's text"),
        _text("metadata", "what the image is judged by: the prompt's, as JSON"),
        _text("path", "8-bit PNG, relative to the frame's folder"),
        _number(_NFE.name, _NFE.unit, _NFE.meaning, _OF_OTHER_TOOLS),
        _number("reward_calls", "calls per image", "rewards computed meanwhile", _OF_OTHER_TOOLS),
        _number("backward_passes", "passes per image", "gradients taken", _OF_OTHER_TOOLS),
        _number("batch_size", "images", "made together", "where the image does not depend on it"),
    ),
    _IDENTITY_NAMES,
)
SCORES = Schema(
    "scores",
    (
        *IDENTITY,
        _text("metric", "a metric of the benchmark, or the name of a judge"),
        _text("meaning", "of the metric, in words"),
        _number("value", "the metric's", "higher is better"),
        _text("detail", "why, in words, where the metric says so"),
    ),
    (*_IDENTITY_NAMES, "metric"),
)
TIMINGS = Schema(
    "timings",
    (
        *_WHO,
        _STEPS,
        _whole("batch_size", "images", "made by one call"),
        _whole("size_px", "pixels", "width and height of an image"),
        _text("precision", "dtype of the generator's networks"),
        _text("mode", "eager, compiled or cuda_graphs"),
        _text("device", "cpu or cuda"),
        _text("stage", "part of the call (harness.results.stage_names)"),
        _whole("repeat", "", "number of the method's call, from 0"),
        _whole("turn", "", "place of the call among all methods' calls, from 0"),
        _number("ms", "ms per image", "wall time of the stage in the call / batch_size"),
        _number("gflops", "10^9 per image", "of the stage, 2 a multiply-add", "where not counted"),
        _NFE,
        _number("params_m", "millions", "parameters of the whole pipeline and the adapter"),
        _number(_LATER[0], "millions", "of the backbone and the adapter", "in old files"),
        _number("peak_memory_mib", "MiB", "of tensors that a call added", "where not measured"),
        _whole("threads", "threads", "torch's, within an operator"),
        _number(_LATER[1], "share", "a fixed kernel took longer than its best", "in old files"),
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
        _text("kind", "train: a batch; validation: fixed prompts and noise; kept: the result's"),
        _whole("step", "optimizer steps", "taken when the value was measured"),
        _text("name", "what was measured: loss, half_squared_norm_nats, a reward's name, ..."),
        _number("value", "the quantity's", "measured value"),
    ),
    (*_NETWORK, "kind", "step", "name"),
)
TRAJECTORIES = Schema(
    "trajectories",
    (
        *IDENTITY,
        _whole("iteration", "scored images", "of this image so far, from 1"),
        _number("nfe", "backbone passes per image", "spent when it was scored"),
        _text("prompt", "what the scored image was drawn for"),
        _number("value", "the reward's", "searched reward of the image", "where there is none"),
        _number("best_value", "the reward's", "highest value so far"),
    ),
    (*_IDENTITY_NAMES, "iteration"),
)
_SE = "standard error of the estimate"
AUDITS = Schema(
    "audits",
    (
        *_WHO,
        _whole("step", "optimizer steps", "of the checkpoint"),
        Column("is_kept", "bool", "", "whether the checkpoint became the training's result"),
        _text("prompt_id", "identity of the prompt"),
        _MEANING,
        _text("task", "the task that the prompt belongs to"),
        _whole("image_index", "", "number of the noise among its prompt's, from 0"),
        _SEED,
        _whole("n_dimensions", "", "of one image's noise"),
        Column("exact", "bool", "", "whether the whole Jacobian J was formed"),
        _number("half_squared_norm_nats", "nats", "half |f|^2: what training penalises"),
        _number("inner_product_nats", "nats", "<x0, f>; its mean is that of the trace"),
        _number("trace_nats", "nats", "Tr J"),
        _number("trace_se_nats", "nats", f"{_SE}; 0 if exact"),
        _number("log_abs_det_nats", "nats", "log|det(I + J)|"),
        _number("log_abs_det_se_nats", "nats", _SE),
        _number("dropped_nats", "nats", "Tr J - log|det(I + J)|, which training drops"),
        _number("dropped_se_nats", "nats", _SE),
        _number("kl_nats", "nats", "the KL's integrand: penalised plus dropped"),
        _number("sign", "", "of det(I + J): -1 turns over, 0 is singular", "without the Jacobian"),
        _number("largest_singular_value", "", "of J"),
        _number("smallest_singular_value", "", "of I + J"),
        _number(
            "bound_nats", "nats", "theorem 1's bound on |dropped| for this J", "where its L >= 1"
        ),
    ),
    (*_NETWORK, "step", "prompt_id", "image_index", "seed"),
)
PAIRS = Schema(
    "pairs",
    (
        *IDENTITY,
        _whole("other_index", "", "number of the other image of the prompt, the larger"),
        _text("metric", "what was compared: ..._distance or ..._similarity"),
        _number(
            "value", "the metric's", "higher is more diverse of distances, less of similarities"
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
    _check_unique(frame, schema, where)
    checked: pd.DataFrame = _to_arrow(frame, schema, where).to_pandas(integer_object_nulls=True)
    gaps = [c.name for c in schema.columns if c.dtype == "int64" and c.may_be_missing]
    return checked.astype({n: "Int64" for n in gaps if n in _NETWORK or frame[n].isna().any()})


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
    if later := [n for n in _LATER if n in schema.names and n not in frame]:
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
    except pa.ArrowException as error:
        raise ValueError(f"{where}: {'; '.join(map(str, error.args))}") from error
