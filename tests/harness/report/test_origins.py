"""The report's page on provenance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import measured
import pandas as pd
import pytest
from harness_toys import BENCHMARK, REWARD

from harness.cli.command_line import main
from harness.experiment.components import TableSpec
from harness.experiment.jobs import ScoreJob, TableJob
from harness.experiment.validation import to_json
from harness.results import frames, provenance


@pytest.fixture
def job(tmp_path: Path) -> TableJob:
    out = tmp_path / "scores.parquet"
    reward = replace(REWARD, version=7)
    frames.write(
        measured.scores(),
        out,
        "scores",
        ScoreJob(BENCHMARK, {"train_reward": reward}, (), str(out)),
    )
    config = {"seed": 0, "note": "<b>"}
    spec = TableSpec("provenance", "harness.report.provenance_page:origins", 1, {"config": config})
    return TableJob(spec, {"scores": (str(out),)}, str(tmp_path / "deep" / "provenance"))


def test_the_page_names_code_versions_machine_components_hashes_and_config(job: TableJob) -> None:
    assert main(["origins", "--job", to_json(job)]) == 0
    text = Path(f"{job.out}.html").read_text(encoding="utf-8")
    record = frames.read_provenance(job.reads[0])
    assert record["commit"] in text
    assert record["hardware"]["cpu"] in text
    assert f"<td>pandas</td><td>{pd.__version__}</td>" in text
    assert "<td>reward</td><td>toy_reward</td><td>7</td>" in text
    assert provenance.digest(job.reads[0]) in text
    assert "&#34;seed&#34;: 0" in text
    assert "<b>" not in text


def test_a_frame_without_provenance_is_an_error(
    job: TableJob, capsys: pytest.CaptureFixture[str]
) -> None:
    measured.scores().to_parquet(job.reads[0])
    assert main(["origins", "--job", to_json(job)]) == 2
    assert f"{job.reads[0]} has no provenance" in capsys.readouterr().err


def test_a_folders_hash_knows_names_and_contents_but_no_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = provenance.digest(tmp_path)
    (tmp_path / "a" / ".stamp").write_text("2")
    assert provenance.digest(tmp_path) == first
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    renamed = provenance.digest(tmp_path)
    assert renamed != first
    (tmp_path / "a" / "y").write_text("3")
    assert provenance.digest(tmp_path) not in (first, renamed)
