"""Frames of several versions of a component, and score rows for notebooks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import harness_toys as toys
import measured
import pytest

from harness.analysis.notebook import LOADED, load
from harness.base.errors import SpecError
from harness.experiment.components import RewardSpec, TableSpec
from harness.experiment.jobs import ScoreJob, TableJob
from harness.report.make import run
from harness.results import component_versions, frames, provenance


def score_file(path: Path, model: str, **changes: Any) -> str:
    """Scores of one model as a benchmark and reward of some version gave them."""
    benchmark = replace(toys.BENCHMARK, version=changes.get("benchmark", 1))
    part = RewardSpec("part", toys.REWARD.target, changes.get("part", 1))
    rewards = {"train_reward": replace(toys.REWARD, parts={"part": part})}
    job = ScoreJob(benchmark, rewards, ("images.parquet",), str(path))
    scores = measured.scores()
    frames.write(scores[scores["model"] == model], path, "scores", job)
    return str(path)


def test_files_of_one_version_pass_and_nested_declarations_count(tmp_path: Path) -> None:
    one = score_file(tmp_path / "a.parquet", "tiny_a")
    component_versions.check([one, score_file(tmp_path / "b.parquet", "tiny_b")])
    with pytest.raises(SpecError) as caught:
        component_versions.check(
            [one, score_file(tmp_path / "c.parquet", "tiny_b", benchmark=2, part=3)]
        )
    for words in (
        "versions are mixed",
        f"benchmark 'toy_benchmark' is of version 1 in {one} and of version 2 in {tmp_path}/c",
        "reward 'part' is of version 1 in",
    ):
        assert words in str(caught.value)


def test_a_table_of_mixed_versions_is_not_made(tmp_path: Path) -> None:
    first = score_file(tmp_path / "a.parquet", "tiny_a")
    second = score_file(tmp_path / "b.parquet", "tiny_b", benchmark=2)
    spec = TableSpec("mine", "harness.analysis.tables:sweep", 1, {"values": {"base": None}})
    job = TableJob(spec, {"scores": (first, second)}, str(tmp_path / "mine"))
    with pytest.raises(SpecError, match="benchmark 'toy_benchmark' is of version 1 in"):
        run(job)
    assert not (tmp_path / "mine.csv").exists()


def test_frames_of_other_packages_are_named_in_a_tables_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score_file(tmp_path / "a.parquet", "tiny_a")
    here = provenance.packages()
    monkeypatch.setattr(provenance, "packages", lambda: here | {"torch": "0.9", "pandas": "0.9"})
    second = score_file(tmp_path / "b.parquet", "tiny_b")
    spec = TableSpec("mine", "harness.analysis.tables:sweep", 1, {"values": {"base": None}})
    run(TableJob(spec, {"scores": (first, second)}, str(tmp_path / "mine")))
    said = f"side by side: torch 0.9 (1 of 2 frames) and {here['torch']} (1 of 2 frames)."
    assert said in (tmp_path / "mine.md").read_text(encoding="utf-8")
    run(TableJob(spec, {"scores": (second,)}, str(tmp_path / "mine")))
    assert "side by side" not in (tmp_path / "mine.md").read_text(encoding="utf-8")


def test_machines_are_told_of_timings_alone() -> None:
    made = [{"hardware": {"cpu": name, "gpu": "none"}} for name in ("one", "other")]
    for kind, said in (
        ("timings", "cpu one (1 of 2 frames) and other (1 of 2 frames)"),
        ("scores", ""),
    ):
        records = {name: record | {"kind": kind} for name, record in zip("ab", made, strict=True)}
        assert said in component_versions.mixed(records)
        assert bool(said) == bool(component_versions.mixed(records))
    assert component_versions.mixed({"foreign": {}, "broken": {"packages": ["torch"]}}) == ""


def test_load_gives_all_rows_with_what_they_come_from(tmp_path: Path) -> None:
    for selection, model in (("shapes", "tiny_a"), ("shapes", "tiny_b"), ("ranks", "tiny_a")):
        score_file(tmp_path / "scores" / selection / f"{model}.parquet", model)
    rows = load(tmp_path)
    assert list(rows.columns) == [*frames.SCORES.names, *LOADED]
    assert len(rows) == 1.5 * len(measured.scores())
    assert rows["image_set"].value_counts()["shapes"] == len(measured.scores())
    assert set(rows["benchmark_version"]) == {1}
    assert set(rows["file"]) == {str(path) for path in tmp_path.rglob("*.parquet")}
    assert rows["commit"].notna().all() and rows["written"].notna().all()


def test_load_names_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there are no scores in"):
        load(tmp_path)
    broken = tmp_path / "scores" / "shapes" / "tiny_a.parquet"
    score_file(broken, "tiny_a")
    toys.damage(broken)
    with pytest.raises(ValueError, match=r"tiny_a\.parquet is truncated or not parquet"):
        load(tmp_path)
