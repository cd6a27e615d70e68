"""Measurements of trainings in TensorBoard and the like: shown there, and changing nothing."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from experiments import load
from paths import REPOSITORY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainings import model, train_job

from harness.base.errors import SpecError
from harness.experiment.component_files import declared
from harness.experiment.components import ModelSpec
from harness.experiment.config import read
from harness.experiment.identity import identity_of
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.results import frames
from harness.results.results_folder import SKIPPED
from harness.stages import trackers, train
from hypernoise.training.loop import Training
from hypernoise.training.measurements import Row
from hypernoise.weights.pins import Missing
from hypernoise.weights.saved_lora import WEIGHTS_FILE

__all__ = ["model"]


def watched(folder: Path, model: ModelSpec) -> Any:
    return train_job(folder, model, trackers={"tensorboard": str(folder / "shown" / "hypernoise")})


def shown(folder: Path) -> pd.DataFrame:
    """What TensorBoard reads back: kind/name, step and value."""
    events = EventAccumulator(str(folder / "shown" / "hypernoise"))
    events.Reload()
    scalars = [
        (tag, event.step, event.value)
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
    ]
    return pd.DataFrame(scalars, columns=["tag", "step", "value"])


def measured(folder: Path) -> pd.DataFrame:
    rows = frames.read(folder / "out" / "steps.parquet", "training")
    rows = rows[rows["kind"] != "kept"]
    return rows.assign(tag=rows["kind"] + "/" + rows["name"])[["tag", "step", "value"]]


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    order = ["tag", "step"]
    pd.testing.assert_frame_equal(
        *(one.sort_values(order, ignore_index=True) for one in (a, b)), check_dtype=False, rtol=1e-6
    )


def test_tensorboard_shows_the_rows_of_a_training_and_changes_none(
    model: ModelSpec, tmp_path: Path
) -> None:
    job = watched(tmp_path / "shown", model)
    train.run(job)
    rows = shown(tmp_path / "shown")
    same(rows, measured(tmp_path / "shown"))
    assert {"train/loss", "train/reward", "validation/reward", "validation/judge"} <= {*rows["tag"]}
    plain = train_job(tmp_path / "plain", model)
    train.run(plain)
    assert identity_of(job) == identity_of(plain)
    weights = (tmp_path / name / "out" / WEIGHTS_FILE for name in ("shown", "plain"))
    assert next(weights).read_bytes() == next(weights).read_bytes()
    timed = ("train/seconds",)
    a, b = (measured(tmp_path / name) for name in ("shown", "plain"))
    same(a[~a["tag"].isin(timed)], b[~b["tag"].isin(timed)])


def test_a_training_that_goes_on_is_shown_once_and_whole(
    model: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(training: Training, progress: str) -> Any:
        def on_row(row: Row) -> None:
            assert training.on_row
            training.on_row(row)
            if row.kind == "train" and row.step == 3:
                raise KeyboardInterrupt

        return original(replace(training, on_row=on_row), progress)

    original, job = train.train, watched(tmp_path, model)
    job = replace(job, options={**job.options, "sync_every": 1})
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train, "train", killed)
        train.run(job)
    assert shown(tmp_path)["step"].max() == 3
    train.run(job)
    rows = shown(tmp_path)
    same(rows, measured(tmp_path))
    assert set(Counter(zip(rows["tag"], rows["step"], strict=True)).values()) == {1}


def test_a_tracker_that_is_not_installed_is_refused_before_any_work(
    model: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [SimpleNamespace(value="tensorboard")]
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: there)
    job = train_job(tmp_path, model, trackers={"wandb": str(tmp_path)})
    for act in (train.check, train.run):
        with pytest.raises(
            Missing, match=r"wandb is not installed; .* there is tensorboard"
        ) as said:
            act(job)
        assert said.value.command == "pip install wandb"
    assert not list(tmp_path.iterdir())


def test_hosted_trackers_are_told_the_name_options_and_rows(
    model: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []

    class Run:
        config = SimpleNamespace(update=lambda *_, **__: None)

        def log(self, values: dict[str, float], step: int, **_: Any) -> None:
            said.append((step, values))

        def finish(self) -> None:
            said.append("finished")

    def init(**given: Any) -> Run:
        said.append(given)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    job = train_job(tmp_path, model, trackers={"wandb": str(tmp_path)})
    with trackers.tracking(job, [Row("validation", 0, {"reward": 1.0})]) as tell:
        assert tell
        tell(Row("train", 1, {"loss": 2.0, "reward": 3.0}))
    assert said[0]["project"] == "hypernoise"
    assert said[0]["name"] == "tiny_sd hypernoise on red"
    assert said[0]["config"]["rank"] == 2
    assert said[1:] == [
        (0, {"validation/reward": 1.0}),
        (1, {"train/loss": 2.0, "train/reward": 3.0}),
        "finished",
    ]


def test_a_config_names_trackers_that_are_known_and_there_are_none_by_default() -> None:
    shipped = load("tiny.yaml")
    assert read(shipped, "tiny.yaml").trackers == ()
    said = r"tiny\.yaml: .* config key 'trackers\.0': 'tensorbord'; did you mean 'tensorboard'"
    with pytest.raises(SpecError, match=said):
        read(shipped | {"trackers": ["tensorbord"]}, "tiny.yaml")


def test_trackers_are_no_part_of_what_a_training_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, registry = load("tiny.yaml"), declared(REPOSITORY / "workflows")
    plain, told = (
        Planned(Experiment(read(shipped | more, "tiny.yaml"), registry, "tiny.yaml")).train(
            "tiny_sd", "matcher", "hypernoise"
        )
        for more in ({}, {"trackers": ["tensorboard", "wandb"]})
    )
    place = "results/tensorboard/tiny_sd/matcher/hypernoise"
    assert told.trackers == {"tensorboard": place, "wandb": place}
    assert identity_of(plain) == identity_of(told)
    # What `verify` leaves alone.
    assert place.split("/")[1] in SKIPPED
