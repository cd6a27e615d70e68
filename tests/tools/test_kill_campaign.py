"""A short kill campaign: jobs that are killed at seeded moments end with what undisturbed ones do.

``make kill-campaign`` kills whole runs, forty times.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from experiments import load
from micro_runs import CONFIG, MODEL, REWARD, prepared

from harness.experiment.config import read
from harness.experiment.plan import Experiment, Run
from harness.experiment.planned import Planned
from harness.stages import generate, train
from tools.kill_campaign import differences

KILLS = 2


def started(run: Callable[[Any], None], job: Any) -> int:
    """A job in a fork of this process, as the run's server starts it."""
    pid = os.fork()
    if pid:
        return pid
    try:
        run(job)
    except BaseException:
        os._exit(1)
    os._exit(0)


def killed(run: Callable[[Any], None], job: Any, moment: float) -> bool:
    """Kill a job some moments after it has made something new in its work folder."""
    work, pid = Path(job.work), started(run, job)
    before = {*work.rglob("*")}
    while {*work.rglob("*.png"), *work.rglob("step_*")} <= before:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_killed_jobs_end_with_what_undisturbed_ones_do(tmp_path: Path) -> None:
    changes = {
        "methods": ["base", "hypernoise", "reno"],
        "arguments": {"reno": {"iterations": 8}},
        "batch_size": 2,
        "image_sets": {},
        "tables": ["table1"],
    }
    config = read(load("tiny.yaml") | CONFIG | changes, "micro.yaml")
    chance, n_kills = random.Random(0), 0
    folders = {name: tmp_path / name for name in ("whole", "killed")}
    for folder in folders.values():
        folder.mkdir()
        registry = prepared(folder)
    planned = Planned(Experiment(config, registry, "micro.yaml"))
    searched = Run("micro", MODEL, "reno", REWARD, 1)
    stages: list[tuple[Callable[[Any], None], Any]] = [
        (train.run, planned.train(MODEL, REWARD, "hypernoise")),
        (generate.run, planned.generate(**searched._asdict())),
    ]
    for run, job in stages:
        with chdir(folders["whole"]):
            run(job)
        with chdir(folders["killed"]):
            n_kills += sum(killed(run, job, chance.uniform(0, 0.1)) for _ in range(KILLS))
            run(job)
    assert n_kills >= KILLS
    assert differences(*(folder / "results" for folder in folders.values())) == []


@pytest.mark.parametrize("changed", ["value", "image", "missing"])
def test_a_campaign_sees_what_differs_but_no_time(changed: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        table = pd.DataFrame({"value": [1.0], "generation_ms": [len(changed) * (name == "b")]})
        (folder / "image.png").write_bytes(b"1")
        table.to_csv(folder / "t.csv")
    assert differences(tmp_path / "a", tmp_path / "b") == []
    if changed == "value":
        table.assign(value=2.0).to_csv(tmp_path / "b" / "t.csv")
    elif changed == "image":
        (tmp_path / "b" / "image.png").write_bytes(b"2")
    else:
        (tmp_path / "b" / "image.png").unlink()
    assert differences(tmp_path / "a", tmp_path / "b") == [
        "t.csv" if changed == "value" else "image.png"
    ]
