"""A machine's snapshot: the whole path at tiny size, and what happens when time or memory ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from harness.__main__ import main
from harness.snapshot import best_batch_size
from harness.stage_names import STAGES

#: Commands that users type: they name components of the repository, and set torch's threads.
pytestmark = pytest.mark.usefixtures("typed_in_root")


def snapshot(folder: Path, *options: str) -> Path:
    tiny = ["--models", "tiny_sd", "--device", "cpu", "--reward", "matcher", "--rank", "2"]
    small = ["--repeats", "3", "--largest-batch", "1", "--out", str(folder)]
    assert main(["snapshot", *tiny, *small, *options, "--traceback"]) == 0
    return folder / "cpu"


def provenance(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    return record


def test_a_snapshot_leaves_rows_checks_and_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a compiler makes of the networks is another test's; here it takes minutes.
    monkeypatch.setattr(torch, "compile", lambda function, mode, dynamic: function)
    folder = snapshot(tmp_path, "--modes", "eager", "compiled")
    table = pd.read_csv(folder / "latency.csv")
    alone = table[(table["model"] == "tiny_sd") & (table["batch_size"] == 1)]
    assert {"base", "hypernoise:merged=true", "reno:iterations=3"} <= set(alone["method"])
    assert set(table["mode"]) == {"eager", "compiled"}
    checks = pd.read_csv(folder / "checks.csv")
    assert len(checks) == 2
    assert checks["passed"].all()
    steps = pd.read_csv(folder / "training_steps.csv")
    assert set(steps["method"]) == {"hypernoise", "lora_finetune"}
    parts = steps[steps["stage"].isin(STAGES)].groupby(["method", "step"])["latency_ms"].sum()
    whole = steps[steps["stage"] == "step"].set_index(["method", "step"])["latency_ms"]
    assert (parts <= whole).all()
    assert "backward" in set(steps["stage"])
    record = provenance(folder)
    assert record["spec"]["skipped"] == []
    assert len(record["spec"]["machine"]) == 2
    assert not list(folder.glob("*.partial"))


def test_what_there_is_no_time_for_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = provenance(snapshot(tmp_path, "--minutes", "0"))["spec"]["skipped"]
    assert skipped == [
        "tiny_sd eager: no time left",
        "tiny_sd training step of hypernoise: no time left",
        "tiny_sd training step of lora_finetune: no time left",
        "tiny_sd compiled: no time left",
    ]
    assert "tiny_sd eager: no time left" in capsys.readouterr().out


def test_a_wrong_name_stops_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["snapshot", "--models", "tiny_ds", "--out", str(tmp_path)]) == 2
    assert "did you mean 'tiny_sd'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "largest", "best"),
    [
        # Twice the images in twice the time are not worth it.
        ({1: 1.0, 2: 1.2, 4: 1.5, 8: 3.0}, 64, 4),
        ({1: 1.0, 2: 2.0}, 64, 1),
        ({1: 1.0, 2: 1.0, 4: 1.0}, 4, 4),
        # No row: out of memory.
        ({1: 1.0, 2: 1.2}, 64, 2),
    ],
)
def test_the_best_batch_is_the_last_doubling_that_pays(
    seconds: dict[int, float], largest: int, best: int
) -> None:
    def measure(size: int) -> float:
        if size not in seconds:
            raise torch.OutOfMemoryError("too large")
        return seconds[size]

    assert best_batch_size(measure, largest) == best
