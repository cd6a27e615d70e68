"""Frame files: checked columns, provenance, and no half-written file."""

from __future__ import annotations

import json
import random
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from harness_toys import damage, generate_job
from measured import timings

from harness.base import own_code
from harness.base.errors import SpecError
from harness.results import frames, provenance
from harness.results.frames import Column, Schema


def score_rows(n: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "value": [0.5 * index for index in range(n)],
            "model": "m",
            "method": "base",
            "reward": "",
            "training_seed": None,
            "benchmark": "b",
            "prompt_id": [f"p{index}" for index in range(n)],
            "prompt_meaning": [f"p{index}" for index in range(n)],
            "task": "t",
            "image_index": 0,
            "seed": 1,
            "steps": 1,
            "metric": "geneval_correct",
            "meaning": "1 where the image is right",
            "detail": ["", "expected red ring", "…"][:n],
        }
    )


def test_what_is_written_is_read_back_in_the_schemas_order_and_types(tmp_path: Path) -> None:
    rows = score_rows()
    frames.write(rows, tmp_path / "deep" / "s.parquet", "scores", {"a": 1})
    found = frames.read(tmp_path / "deep" / "s.parquet", "scores")
    assert list(found.columns) == frames.SCORES.names
    assert found["value"].tolist() == [0.0, 0.5, 1.0]
    assert found["detail"].tolist() == ["", "expected red ring", "…"]
    assert found["image_index"].dtype == "int64"
    assert found["value"].dtype == "float64"


def test_whole_numbers_become_floats_where_the_schema_says_float(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    frames.write(score_rows().assign(value=[0, 1, 1]), path, "scores", {})
    assert pq.read_schema(path).field("value").type == "double"


def test_every_frame_says_what_made_it(tmp_path: Path) -> None:
    job = generate_job(tmp_path)
    frames.write(score_rows(), tmp_path / "s.parquet", "scores", job)
    record = frames.read_provenance(tmp_path / "s.parquet")
    assert record["kind"] == "scores"
    assert record["spec"]["model"]["name"] == "toy_model"
    assert record["spec"]["seed"] == 7
    assert record["packages"]["torch"] != "absent"
    assert record["hardware"]["cores"] >= 1
    assert record["hardware"]["memory_gib"] > 0
    assert set(record) >= {"commit", "dirty", "written"}
    assert pd.Timestamp(record["written"]).tz is not None


def test_hidden_files_and_folders_are_no_part_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("a")
    before = provenance.digest(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "b.txt").write_text("b")
    (tmp_path / "deep" / ".c").write_text("c")
    assert provenance.digest(tmp_path) == before
    (tmp_path / "deep" / "d.txt").write_text("d")
    assert provenance.digest(tmp_path) != before


def test_json_text_is_as_good_a_spec_as_a_dataclass() -> None:
    assert json.loads(provenance.collect("x", '{"a": 1}'))["spec"] == {"a": 1}


def test_code_outside_a_git_checkout_is_unknown_and_dirty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_code, "_git", lambda *_: None)
    assert own_code.commit.__wrapped__() == {"commit": "unknown", "dirty": True}


def test_code_that_is_installed_inside_another_checkout_does_not_tell_that_ones_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        said = ("-c", "user.name=they", "-c", "user.email=they@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *said, *command], check=True)
    module = tmp_path / "site-packages" / "harness" / "base" / "own_code.py"
    module.parent.mkdir(parents=True)
    shutil.copy(own_code.__file__, module)
    assert runpy.run_path(str(module))["commit"]() == {"commit": "unknown", "dirty": True}
    note = module.parents[2] / own_code.IN_WHEEL / own_code.COMMIT_FILE
    note.parent.mkdir()
    note.write_text('{"commit": "ours", "dirty": false}')
    assert runpy.run_path(str(module))["commit"]() == {"commit": "ours", "dirty": False}


def test_a_changed_tracked_file_makes_the_commit_dirty(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"ls-files": "x.py", "rev-parse": "abc", "status": " M harness/x.py"}
    monkeypatch.setattr(own_code, "_git", lambda verb, *_: answers[verb])
    assert own_code.commit.__wrapped__() == {"commit": "abc", "dirty": True}
    answers["status"] = ""
    assert own_code.commit.__wrapped__() == {"commit": "abc", "dirty": False}


def broken(**changes: Any) -> pd.DataFrame:
    return score_rows().assign(**changes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (score_rows().drop(columns=["value", "seed"]), "lack the columns seed, value"),
        (broken(metrik="x"), "unknown column of scores 'metrik'.*'metric'"),
        (broken(value=["a", "b", "c"]), "'value' is .*, must be float64"),
        (broken(steps=[1.0, 1.0, 2.0]), "'steps' is float64, must be int64"),
        (broken(prompt_id=[1, 2, 3]), "'prompt_id' is int64, must be string"),
        (broken(value=[0.0, float("nan"), 1.0]), "'value' has no value in row 1"),
        (broken(task=["t", "t", None]), "'task' has no value in row 2"),
        (broken(prompt_id=["p", "q", "p"]), "same thing.*'prompt_id': 'p'"),
        (broken(value=[0.0, 1.0, float("inf")]), "'value' is inf in row 2, must be finite"),
        (broken(value=[True, False, True]), "'value' is bool, must be float64"),
        (broken(steps=[1, 0, 1]), "'steps' is 0 in row 1, must be 1 or more"),
        (broken(seed=-2), "'seed' is -2 in row 0, must be -1 or more"),
        (broken(detail=pd.Series(["", "\ud800", ""], dtype=object)), "a text has half a character"),
    ],
)
def test_a_frame_that_breaks_its_schema_is_not_written(
    rows: pd.DataFrame, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        frames.write(rows, tmp_path / "s.parquet", "scores", {})
    assert str(caught.value).startswith(str(tmp_path / "s.parquet"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("nfe", -1.0, "0 or more"),
        ("nfe", float("-inf"), "0 or more"),
        ("nfe", float("inf"), "0 or more"),
        ("ms", 0.0, "above 0"),
        ("ms", float("inf"), "above 0"),
        ("gflops", -1.0, "0 or more"),
        ("batch_size", 0, "1 or more"),
    ],
)
def test_a_file_with_numbers_that_cannot_be_is_refused(
    column: str, value: float, allowed: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.parquet"
    frames.write(timings(), path, "timings", {})
    stored = pq.read_table(path)
    rows = stored.to_pandas()
    rows.loc[1, column] = value
    pq.write_table(type(stored).from_pandas(rows, schema=stored.schema), path)
    with pytest.raises(ValueError, match=f"{column!r} is .* in row 1, must be {allowed}") as caught:
        frames.read(path, "timings")
    assert str(caught.value).startswith(str(path))


def test_a_log_determinant_of_a_singular_map_may_be_infinite() -> None:
    columns = {column.name: column for column in frames.AUDITS.columns}
    assert columns["log_abs_det_nats"].numbers.may_be_infinite
    assert not columns["trace_nats"].numbers.may_be_infinite


def test_a_file_of_another_kind_or_no_frame_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    frames.write(score_rows(), path, "scores", {})
    with pytest.raises(ValueError, match=r"s\.parquet holds scores, not images"):
        frames.read(path, "images")
    damage(path)
    with pytest.raises(ValueError, match=r"s\.parquet is truncated or not parquet"):
        frames.read(path, "scores")
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        frames.read(tmp_path / "none.parquet", "scores")
    with pytest.raises(SpecError, match=r"'score'.*'scores'"):
        frames.read(path, "score")


def test_a_frame_of_an_older_layout_is_refused_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.parquet"
    monkeypatch.setattr(provenance, "LAYOUT", 2)
    later = ["training_seed", "prompt_meaning"]
    old = Schema("scores", tuple(c for c in frames.SCORES.columns if c.name not in later))
    frames.write(score_rows().drop(columns=later), path, old, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"s\.parquet is of layout 2 .*, here is 3: make it again"):
        frames.read(path, "scores")


def test_a_training_seed_is_a_whole_number_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    frames.write(score_rows().assign(training_seed=[None, 2, 2**60 + 1]), path, "scores", {})
    seeds = frames.read(path, "scores")["training_seed"]
    assert seeds.dtype == "Int64"
    assert seeds.isna().tolist() == [True, False, False]
    assert seeds[1] == 2
    with pytest.raises(ValueError, match="'training_seed' is float64, must be int64"):
        frames.write(score_rows().assign(training_seed=[None, 0.5, 1]), path, "scores", {})


def test_a_foreign_parquet_file_with_the_right_columns_is_read(tmp_path: Path) -> None:
    score_rows().to_parquet(tmp_path / "s.parquet")
    assert len(frames.read(tmp_path / "s.parquet", "scores")) == 3
    assert frames.read_provenance(tmp_path / "s.parquet") == {}


def test_a_write_that_dies_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.parquet"
    frames.write(score_rows(), path, "scores", {})

    def die(_table: Any, partial: Path, **_: Any) -> None:
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(frames.pq, "write_table", die)
    with pytest.raises(KeyboardInterrupt):
        frames.write(score_rows(2), path, "scores", {})
    assert len(frames.read(path, "scores")) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_row_in_two_files_is_an_error(tmp_path: Path) -> None:
    frames.write(score_rows(), tmp_path / "a.parquet", "scores", {})
    other = score_rows().assign(method="reno")
    frames.write(other, tmp_path / "b.parquet", "scores", {})
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert len(frames.read_all(paths, "scores")) == 6
    with pytest.raises(ValueError, match="same thing"):
        frames.read_all([*paths, paths[0]], "scores")
    with pytest.raises(ValueError, match="no files with scores"):
        frames.read_all([], "scores")


def test_a_schema_of_ones_own_may_allow_missing_values(tmp_path: Path) -> None:
    schema = Schema(
        "mine",
        (
            Column("name", "string", "", "which"),
            Column("gain", "float64", "", "gain", may_be_missing=True),
            Column("best", "bool", "", "whether it is the best"),
        ),
        key=("name",),
    )
    rows = pd.DataFrame({"name": ["a", "b"], "gain": [0.1, None], "best": [True, False]})
    frames.write(rows, tmp_path / "m.parquet", schema, {})
    found = frames.read(tmp_path / "m.parquet", schema)
    assert found["gain"].isna().tolist() == [False, True]
    assert found["best"].tolist() == [True, False]


@pytest.mark.parametrize("schema", frames.SCHEMAS.values(), ids=list(frames.SCHEMAS))
def test_every_column_says_what_it_means_and_every_key_is_a_column(schema: Schema) -> None:
    assert len(set(schema.names)) == len(schema.names)
    assert set(schema.key) <= set(schema.names)
    assert all(column.meaning for column in schema.columns)


def test_a_bit_that_flipped_on_the_disk_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    frames.write(score_rows(), path, "scores", {})
    whole, written = frames.read(path, "scores"), path.read_bytes()
    refused, rng = 0, random.Random(0)
    for _ in range(500):
        place, bit = rng.randrange(len(written)), rng.randrange(8)
        spoilt = bytearray(written)
        spoilt[place] ^= 1 << bit
        path.write_bytes(spoilt)
        try:
            pd.testing.assert_frame_equal(frames.read(path, "scores"), whole)
        except ValueError as error:
            refused += "s.parquet" in str(error) or "scores" in str(error)
    assert refused > 50
