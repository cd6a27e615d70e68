"""A machine's snapshot: the whole path at tiny size, and what happens when time or memory ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import measured
import pandas as pd
import pytest
import torch

from harness.analysis.latency_table import latency as latency_table
from harness.results import frames
from harness.results.stage_names import STAGES
from harness.timing import contenders, profile
from tools import speed_snapshot
from tools.speed_limits import search_costs, targets
from tools.speed_snapshot import best_batch_size, continued
from tools.time_limits import TimeIsUp, time_limit

#: Commands that users type: they name components of the repository, and set torch's threads.
pytestmark = pytest.mark.usefixtures("typed_in_root")


def taken(folder: Path, *options: str, code: int = 0) -> Path:
    tiny = ["--models", "tiny_sd", "--device", "cpu", "--reward", "matcher", "--rank", "2"]
    small = ["--repeats", "3", "--largest-batch", "1", "--out", str(folder)]
    assert speed_snapshot.main([*tiny, *small, *options]) == code
    return folder / "cpu"


def provenance(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    return record


def test_searches_are_timed_with_a_reward_that_costs_something_and_needs_no_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(speed_snapshot, "run", lambda **options: asked.append(options["reward"]))
    assert speed_snapshot.main([]) == 0
    assert asked == ["hpsv2_1_random"]


def test_a_snapshot_leaves_rows_checks_and_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a compiler makes of the networks is another test's; here it takes minutes.
    monkeypatch.setattr(torch, "compile", lambda function, mode, dynamic: function)
    folder = taken(tmp_path, "--modes", "eager", "compiled")
    table = pd.read_csv(folder / "latency.csv")
    alone = table[(table["model"] == "tiny_sd") & (table["batch_size"] == 1)]
    assert {"base", "hypernoise:merged=true", "reno:iterations=3"} <= set(alone["method"])
    assert set(table["mode"]) == {"eager", "compiled"}
    checks = pd.read_csv(folder / "checks.csv").set_index("check")["passed"]
    assert checks["image is finite and of the model's size"]
    assert checks["compiled image differs from eager"]
    assert (pd.read_csv(folder / "searches.csv")["iteration_ms"] > 0).any()
    steps = pd.read_csv(folder / "training_steps.csv")
    assert set(steps["method"]) == {"hypernoise", "lora_finetune"}
    # The first step is a warm-up.
    assert steps["step"].unique().tolist() == [2, 3, 4, 5, 6, 7]
    parts = steps[steps["stage"].isin(STAGES)].groupby(["method", "step"])["ms"].sum()
    whole = steps[steps["stage"] == "step"].set_index(["method", "step"])["ms"]
    assert (parts <= whole).all()
    assert "backward" in set(steps["stage"])
    record = provenance(folder)
    assert record["spec"]["skipped"] == record["spec"]["failed"] == []
    # At the start, and after each part.
    assert len(record["spec"]["machine"]) == 1 + 6
    assert not list(folder.glob("*.partial"))


def test_what_there_is_no_time_for_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = provenance(taken(tmp_path, "--minutes", "0"))["spec"]["skipped"]
    assert skipped == [
        "tiny_sd eager: no time left",
        "tiny_sd training step of hypernoise: no time left",
        "tiny_sd training step of lora_finetune: no time left",
        "tiny_sd compiled base: no time left",
        "tiny_sd compiled base hypernoise:merged=true: no time left",
        "tiny_sd compiled base reno:iterations=1 reno:iterations=3: no time left",
    ]
    assert "tiny_sd eager: no time left" in capsys.readouterr().out


def test_a_wrong_name_stops_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed_snapshot.main(["--models", "tiny_ds", "--out", str(tmp_path)]) == 2
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


def only_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no training step; parts after the eager calls are others' tests."""
    monkeypatch.setattr(speed_snapshot, "KINDS", ())


def test_a_method_without_room_is_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_call = contenders.Contender.call
    called: list[str] = []

    def call(self: contenders.Contender, *arguments: Any) -> Any:
        called.append(self.spec.name)
        # The one image that shows that it runs has room.
        if called.count("reno:iterations=3") > 1 and called[-1] == "reno:iterations=3":
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        return real_call(self, *arguments)

    def no_copy(*_: Any) -> Any:
        raise torch.OutOfMemoryError("no second backbone")

    only_eager(monkeypatch)
    monkeypatch.setattr(
        speed_snapshot, "GROUPS", (speed_snapshot.NETWORKS[2:], speed_snapshot.SEARCHES[2:])
    )
    monkeypatch.setattr(contenders.Contender, "call", call)
    monkeypatch.setattr(contenders, "copy", SimpleNamespace(deepcopy=no_copy))
    folder = taken(tmp_path, "--modes", "eager")
    assert provenance(folder)["spec"]["skipped"] == [
        "tiny_sd hypernoise: no second backbone",
        "tiny_sd reno:iterations=3, batch 1: CUDA out of memory.",
    ]
    measured = set(pd.read_csv(folder / "latency.csv")["method"])
    assert {"base", "hypernoise:merged=true", "reno:iterations=1"} <= measured
    assert not measured & {"hypernoise", "reno:iterations=3"}


def test_a_part_that_fails_costs_no_other_part_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_compiler(function: Any, mode: str, dynamic: bool) -> Any:
        raise RuntimeError("no C compiler")

    only_eager(monkeypatch)
    monkeypatch.setattr(speed_snapshot, "GROUPS", ((),))
    monkeypatch.setattr(torch, "compile", no_compiler)
    folder = taken(tmp_path, "--modes", "eager", "compiled", code=1)
    assert provenance(folder)["spec"]["failed"][0] == (
        "tiny_sd compiled base: RuntimeError: no C compiler"
    )
    assert set(pd.read_csv(folder / "latency.csv")["method"]) == {"base"}
    assert "not as wanted: tiny_sd compiled base: RuntimeError" in capsys.readouterr().out


def test_a_part_that_takes_too_long_is_cut_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_rows = profile.rows_of

    def rows_then_nothing(*arguments: Any) -> Any:
        rows = list(real_rows(*arguments))
        yield from rows[:-1]
        # As the timer does when the time is up.
        signal.raise_signal(signal.SIGALRM)

    only_eager(monkeypatch)
    monkeypatch.setattr(speed_snapshot, "GROUPS", ((),))
    monkeypatch.setattr(profile, "rows_of", rows_then_nothing)
    folder = taken(tmp_path, "--modes", "eager")
    (said,) = provenance(folder)["spec"]["skipped"]
    assert said.startswith("tiny_sd eager: not finished within ")
    table = pd.read_csv(folder / "latency.csv")
    assert table["method"].tolist() == ["base"]
    # The last call lacks its last row.
    assert table["n_timings"].tolist() == [2]
    assert table["end_to_end_ms"].notna().all()


def timings(method: str, ms: float, **changes: Any) -> pd.DataFrame:
    """Six equal timings of a method on a GPU."""
    row = {"model": "sana_sprint_0_6b_random", "method": method, "reward": "", "steps": 1}
    row |= {"batch_size": 1, "size_px": 1024, "precision": "bfloat16", "mode": "eager"}
    row |= {"device": "cuda", "gflops": 1.0, "nfe": 1.0, "params_m": 1.0, "threads": 1}
    row["backbone_params_m"] = 1.0
    row |= {"ms": ms, "peak_memory_mib": 1.0, **changes}
    return measured.in_stages([{**row, "repeat": n, "turn": n} for n in range(6)], text_ms=0.0)


def in_turn(*frames_of_methods: pd.DataFrame) -> pd.DataFrame:
    rows: list[pd.DataFrame] = []
    for each in frames_of_methods:
        rows.append(continued(each, rows))
    return pd.concat(rows, ignore_index=True)


def test_rows_of_a_second_group_come_after_the_firsts() -> None:
    rows = in_turn(timings("base", 1.0), timings("reno", 2.0), timings("base", 1.0))
    frames.check(rows, "timings", "a test")
    rows = rows[rows["stage"] == "end_to_end"]
    assert rows["turn"].tolist() == list(range(18))


def test_targets_are_told_from_costs() -> None:
    eight = {"batch_size": 8}
    rows = in_turn(
        timings("base", 110.0),
        timings("hypernoise:merged=true", 165.0),
        timings("best_of_n:n=1", 120.0),
        timings("best_of_n:n=3", 360.0),
        timings("reno:iterations=1", 130.0),
        timings("reno:iterations=3", 530.0),
        timings("reno:iterations=1", 100.0, **eight),
        timings("reno:iterations=3", 300.0, **eight),
    )
    table = latency_table(rows)
    costs = search_costs(table).set_index("batch_size")
    assert costs.loc[1, ["candidate_ms", "iteration_ms"]].tolist() == [120.0, 200.0]
    assert costs.loc[1, "reno_50_s"] == pytest.approx(0.13 + 49 * 0.2)
    assert costs.loc[8, "candidate_ms"] != costs.loc[8, "candidate_ms"]
    steps = pd.DataFrame({"model": "m", "method": "x", "stage": ["stages"] * 3})
    steps["share"] = [0.8, 0.88, 0.95]
    found = {check.check: check for check in targets(table, steps)}
    assert {name: check.passed for name, check in found.items()} == {
        "x: share of a training step outside networks, batch 1": False,
        "ReNO, eager: time of an iteration at batch 8 against batch 1": True,
        "ReNO, eager, batch 1: s per image of 50 iterations": True,
        "ReNO, eager, batch 8: s per image of 50 iterations": True,
        "base, eager, batch 1: end-to-end ms": True,
        "hypernoise:merged=true, eager, batch 1: of the base's end-to-end time": False,
    }
    # Seconds and ratios of a GPU say nothing about a CPU.
    assert targets(latency_table(rows.assign(device="cpu")), steps.iloc[:0]) == []
    assert targets(None, steps.iloc[:0]) == []


def test_a_time_limit_ends_what_does_not_look_at_the_clock_and_leaves_nothing_behind() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeIsUp), time_limit(0.02):
        while True:
            time.sleep(0.001)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with time_limit(60.0):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
