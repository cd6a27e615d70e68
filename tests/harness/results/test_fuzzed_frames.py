"""Parquet with flipped bits and other values: the same rows, or one clear error, never others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import measured
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import VALUES, examples
from hypothesis import given
from hypothesis import strategies as st

from harness.results import component_versions, frames

ROWS = {
    "scores": measured.scores().head(6),
    "images": measured.images().head(6),
    "timings": measured.timings().head(6),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    for kind, rows in ROWS.items():
        frames.write(rows, folder / f"{kind}.parquet", kind, {"of": "a test"})
    return folder


@examples(100)
@given(kind=st.sampled_from(sorted(ROWS)), place=st.floats(0, 1, exclude_max=True))
def test_a_flipped_bit_gives_the_same_rows_or_an_error(
    folder: Path, kind: str, place: float
) -> None:
    good = folder / f"{kind}.parquet"
    data = bytearray(good.read_bytes())
    bit = int(place * len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    (folder / "flipped.parquet").write_bytes(data)
    try:
        found = frames.read(folder / "flipped.parquet", kind)
    except ValueError:
        return
    assert found.equals(frames.read(good, kind))


@examples(100)
@given(kind=st.sampled_from(sorted(ROWS)), data=st.data())
def test_other_values_are_refused_or_read_as_they_stand(
    folder: Path, kind: str, data: st.DataObject
) -> None:
    rows = ROWS[kind].astype(object).copy()
    name = data.draw(st.sampled_from(list(rows.columns)))
    value = data.draw(st.one_of(st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans()))
    rows[name] = [value, *rows[name][1:]] if data.draw(st.booleans()) else [value] * len(rows)
    try:
        table = pa.Table.from_pandas(rows, preserve_index=False)
    except pa.ArrowException:
        return
    pq.write_table(table, folder / "changed.parquet")
    try:
        found = frames.read(folder / "changed.parquet", kind)
    except ValueError:
        return
    told = found[name].iloc[0]
    assert told == value or (told != told and value != value)


@examples(30)
@given(
    record=VALUES,
    part=st.sampled_from(["", "spec", "inputs", "weights", "layout", "kind", "packages"]),
)
def test_whatever_a_provenance_says_is_read_or_refused(
    folder: Path, record: Any, part: str
) -> None:
    table = pq.read_table(folder / "scores.parquet")
    told = frames.read_provenance(folder / "scores.parquet") | {part: record} if part else record
    text = json.dumps(told).encode()
    path = folder / "told.parquet"
    pq.write_table(table.replace_schema_metadata({b"hypernoise": text}), path)
    for read in (
        lambda: frames.read(path, "scores"),
        lambda: frames.read_provenance(path),
        lambda: component_versions.check([path]),
    ):
        try:
            read()
        except ValueError as error:
            assert str(error)


@examples(100)
@given(noise=st.binary(max_size=30), place=st.floats(0, 1, exclude_max=True))
def test_notes_of_pandas_that_are_damaged_are_a_clear_error(
    folder: Path, noise: bytes, place: float
) -> None:
    table = pq.read_table(folder / "scores.parquet")
    notes = dict(table.schema.metadata)
    at = int(place * len(notes[b"pandas"]))
    notes[b"pandas"] = notes[b"pandas"][:at] + noise + notes[b"pandas"][at + len(noise) :]
    path = folder / "noted.parquet"
    pq.write_table(table.replace_schema_metadata(notes), path)
    try:
        found = frames.read(path, "scores")
    except ValueError:
        return
    assert found.equals(frames.read(folder / "scores.parquet", "scores"))
