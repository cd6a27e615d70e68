"""Traces of training steps: what is in the file, and shares that follow from it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tools.training_trace import PARTS, TRACED_STEPS, in_stages, main, median_shares, stages_of

#: Commands that users type: they name components of the repository, and set torch's threads.
pytestmark = pytest.mark.usefixtures("typed_in_root")


def event(name: str, start: float, length: float, cat: str = "user_annotation") -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "ts": start, "dur": length}


def test_shares_are_those_of_the_ranges_within_each_step(tmp_path: Path) -> None:
    steps = [event("ProfilerStep#2", 0, 1000), event("ProfilerStep#3", 1000, 2000)]
    first = [event("backbone", 0, 400), event("backbone", 450, 100), event("backward", 600, 300)]
    second = [event("reward", 1000, 1000), event("Optimizer.step#AdamW.step", 2500, 500)]
    others = [
        # Neither an operator of that name nor a range before the steps is a part of one.
        event("backbone", 100, 100, cat="cpu_op"),
        event("reward", -500, 400),
        event("Optimizer.zero_grad#AdamW.zero_grad", 950, 10),
        {"ph": "i", "name": "Record Window End", "ts": 5000},
    ]
    path = tmp_path / "trace.json.gz"
    with gzip.open(path, "wt") as file:
        json.dump({"traceEvents": [*others, *second, *steps, *first]}, file)
    parts = stages_of(path)
    shares = parts.pivot(index="step", columns="part", values="share")
    assert shares.loc[2, ["backbone", "backward", "other"]].tolist() == [0.5, 0.3, 0.2]
    assert shares.loc[3, ["reward", "optimizer", "other"]].tolist() == [0.5, 0.25, 0.25]
    assert parts.groupby("step")["ms"].sum().tolist() == pytest.approx([1.0, 2.0])
    assert in_stages(parts) == pytest.approx((0.8 + 0.5) / 2)
    medians = median_shares(parts)
    assert medians["part"].tolist() == list(PARTS)
    assert medians.set_index("part").loc["backbone", "ms"] == pytest.approx(0.25)


def test_a_training_step_is_traced_with_its_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["--models", "tiny_sd", "--reward", "matcher", "--rank", "2", "--batch-sizes", "2"]
    arguments = [*tiny, "--methods", "base", "hypernoise", "--device", "cpu"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    (trace,) = tmp_path.glob("*.json.gz")
    assert trace.name == "tiny_sd_hypernoise_batch_2.json.gz"
    with gzip.open(trace, "rt") as file:
        names = {entry.get("name") for entry in json.load(file)["traceEvents"]}
    # Torch's own operators are there beside our ranges.
    assert {"backbone", "backward", "aten::conv2d"} <= names
    parts = pd.read_csv(trace.with_suffix("").with_suffix(".csv"))
    assert parts["step"].nunique() == TRACED_STEPS
    own = median_shares(parts).set_index("part")["ms"]
    spent = ["noise_network", "backbone", "vae_decode", "reward", "backward", "optimizer"]
    assert (own[spent] > 0).all()
    assert own["other"] > 0
    assert 0 < in_stages(parts) < 1
    said = capsys.readouterr().out
    assert f"trace: {trace}" in said
    assert "base trains nothing" in said


def test_what_cannot_be_traced_is_said_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--models", "tiny_sd", "--out", str(tmp_path / "none")]
    assert main([*arguments, "--reward", ""]) == 2
    assert "name one with --reward" in capsys.readouterr().err
    assert main([*arguments, "--reward", "matcher", "--methods", "base", "reno"]) == 2
    assert "nothing is trained for base, reno" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
