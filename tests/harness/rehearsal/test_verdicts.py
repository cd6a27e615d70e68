"""What a rehearsal is held against: each check fails on the results that it is about."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from harness.rehearsal import verdicts

MARKED = "results/tables/table1.md"
PLAIN = "results/tables/table1.parquet"
STEPS = "results/training/some/steps.parquet"
SCORES = "results/scores/main/some.parquet"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Results as of a rehearsal, of which nothing can be traced."""
    for file in (MARKED, PLAIN, STEPS, SCORES):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / MARKED).write_text("| REHEARSAL | 0.5 |")
    pd.DataFrame({"geneval_mean": [0.5]}).to_parquet(tmp_path / PLAIN)
    pd.DataFrame({"name": ["loss"], "value": [1.0]}).to_parquet(tmp_path / STEPS)
    pd.DataFrame({"metric": ["correct"], "value": [1.0]}).to_parquet(tmp_path / SCORES)
    return tmp_path


def failed(out: Path, code: int = 0) -> dict[str, str]:
    found = verdicts.verdicts(out, ["results/tables/table1"], code, os.environ)
    return {verdict.check: verdict.detail for verdict in found if not verdict.passed}


def test_results_that_cannot_be_traced_fail_though_all_else_passes(out: Path) -> None:
    assert list(failed(out)) == ["every number can be traced (verify)"]


@pytest.mark.parametrize(
    ("file", "rows", "check", "words"),
    [
        (PLAIN, {"time_published": [0.1]}, "no table has a published number", "time_published"),
        (STEPS, {"name": ["loss"], "value": [float("nan")]}, "what trainings measured", "loss"),
        (SCORES, {"metric": ["reward"], "value": [float("inf")]}, "scores are finite", "reward"),
    ],
)
def test_a_check_names_the_file_and_what_is_wrong_in_it(
    out: Path, file: str, rows: dict[str, list[object]], check: str, words: str
) -> None:
    pd.DataFrame(rows).to_parquet(out / file)
    (found,) = (detail for name, detail in failed(out).items() if name.startswith(check))
    assert file in found
    assert words in found


def test_a_run_that_failed_a_table_that_is_not_there_and_one_without_mark_fail(out: Path) -> None:
    (out / MARKED).write_text("| 0.5 |")
    assert MARKED in failed(out)["every table says REHEARSAL"]
    for file in (MARKED, PLAIN):
        (out / file).unlink()
    found = failed(out, code=1)
    assert found["the workflow ran to its end"] == "exit code 1"
    assert found["every table and figure was made"] == "results/tables/table1"
