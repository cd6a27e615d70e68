"""The verb audit and its table: what they measure, write and refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trainings import FINETUNE, HYPERNOISE, model, train_job

from harness.analysis.pairing import FrameError
from harness.experiment.components import ModelSpec, PromptsSpec
from harness.experiment.jobs import AuditJob
from harness.results import frames
from harness.stages import audit, train
from hypernoise.networks.kl_audit import dropped_bound

__all__ = ["model"]

OPTIONS = {"exact_up_to": 0, "probes": 2, "lanczos_steps": 2, "power_iterations": 1}


@pytest.fixture(scope="module")
def trained(model: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    train.run(train_job(folder, model))
    return folder / "out"


def audit_job(folder: Path, model: ModelSpec, training: Path, **changes: Any) -> AuditJob:
    fields: dict[str, Any] = {
        "model": model,
        "method": HYPERNOISE,
        "reward": "red",
        "training": str(training),
        "prompts": PromptsSpec("harness_toys:prompts", {"n": 2}),
        "n_images": 1,
        "seed": 3,
        "checkpoints": 1,
        "options": OPTIONS,
        "out": str(folder / "audits.parquet"),
        "work": str(folder / "work"),
    }
    return AuditJob(**fields | changes)


def test_an_audit_has_a_row_for_every_checkpoint_prompt_and_noise(
    model: ModelSpec, trained: Path, tmp_path: Path
) -> None:
    job = audit_job(tmp_path, model, trained, checkpoints=2)
    audit.run(job)
    rows = frames.read(job.out, frames.AUDITS)
    assert sorted(set(rows["step"])) == [2, 4]
    assert rows.loc[rows["is_kept"], "step"].unique().tolist() == [4]
    assert len(rows) == 4
    assert rows["sign"].isna().all()
    assert not rows["exact"].any()
    assert (rows["half_squared_norm_nats"] > 0).all()
    kl = rows["half_squared_norm_nats"] + rows["dropped_nats"]
    np.testing.assert_allclose(rows["kl_nats"], kl)
    assert not (tmp_path / "work").exists()
    assert list(frames.read_provenance(job.out)["inputs"]) == [str(trained)]


def test_a_killed_audit_goes_on_where_it_was(
    model: ModelSpec, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = audit_job(tmp_path, model, trained)
    whole = audit.audit
    calls: list[int] = []

    def killed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(audit, "audit", killed)
    with pytest.raises(KeyboardInterrupt):
        audit.run(job)
    audit.run(job)
    assert len(calls) == 3  # one done, one killed, and that one again
    assert len(frames.read(job.out, frames.AUDITS)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {"probs": 3}}, "unknown audit option 'probs'; did you mean 'probes'"),
        ({"options": {"probes": 1}}, "probes must be at least 2, got 1"),
        ({"method": FINETUNE}, "does not move noise"),
    ],
)
def test_what_cannot_be_audited_is_refused(
    model: ModelSpec, trained: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        audit.run(audit_job(tmp_path, model, trained, **changes))


def test_a_missing_training_is_named(model: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        audit.check(audit_job(tmp_path, model, tmp_path / "nowhere"))


@pytest.mark.parametrize(("n", "chosen"), [(1, [50]), (2, [10, 50]), (3, [10, 30, 50]), (9, None)])
def test_checkpoints_are_spread_over_the_training(n: int, chosen: list[int] | None) -> None:
    steps = [10, 20, 30, 40, 50]
    assert audit.spread(steps, n) == (chosen or steps)


def measured(**changes: Any) -> dict[str, Any]:
    terms = {name: 0.0 for name in frames.AUDITS.names}
    return terms | {
        "model": "m",
        "method": "hypernoise",
        "reward": "r",
        "step": 10,
        "is_kept": True,
        "task": "t",
        "prompt_id": "a",
        "image_index": 0,
        "seed": 0,
        "n_dimensions": 8,
        "exact": True,
        "half_squared_norm_nats": 2.0,
        "dropped_nats": -0.5,
        "dropped_se_nats": 0.3,
        "kl_nats": 1.5,
        "sign": 1.0,
        "largest_singular_value": 0.5,
        "smallest_singular_value": 0.6,
        "bound_nats": 1.0,
        **changes,
    }


def test_the_table_has_means_extremes_and_counts() -> None:
    rows = pd.DataFrame(
        [
            measured(),
            measured(image_index=1, dropped_nats=0.7, largest_singular_value=0.8, sign=-1.0),
            measured(prompt_id="b", dropped_nats=0.1, smallest_singular_value=0.0, sign=0.0),
            measured(prompt_id="b", image_index=1, dropped_nats=0.1, sign=np.nan),
        ]
    )
    (row,) = audit.table(rows, temperatures={"m": {"hypernoise": (4.0, "mean")}}).to_dict("records")
    assert row["temperature"] == 0.5
    assert row["n_images"] == 4
    assert row["dropped_nats"] == pytest.approx(0.1)
    assert row["dropped_nats_ci_low"] < 0.1 < row["dropped_nats_ci_high"]
    assert row["dropped_se_nats"] == pytest.approx(0.15)
    assert row["largest_singular_value"] == 0.8
    assert row["bound_nats"] == pytest.approx(dropped_bound(8, 0.8))
    assert row["bound_holds"]
    assert row["smallest_singular_value"] == 0
    assert (row["n_reversed"], row["n_singular"], row["n_sign_unknown"]) == (1, 1, 1)


def test_the_table_says_where_the_theorem_does_not_apply() -> None:
    rows = pd.DataFrame([measured(), measured(prompt_id="b", largest_singular_value=1.2)])
    (row,) = audit.table(rows).to_dict("records")
    assert row["share_above_1"] == 0.5
    assert np.isnan(row["bound_nats"])
    assert not row["bound_holds"]
    assert np.isnan(row["temperature"])


def test_the_mean_over_a_singular_map_is_infinite() -> None:
    rows = pd.DataFrame([measured(), measured(prompt_id="b", dropped_nats=np.inf, kl_nats=np.inf)])
    (row,) = audit.table(rows).to_dict("records")
    assert row["kl_nats"] == np.inf
    assert np.isnan(row["kl_nats_ci_low"])


def test_a_method_without_audits_is_named() -> None:
    with pytest.raises(FrameError, match="'hypernose'"):
        audit.table(pd.DataFrame([measured()]), methods=["hypernose"])


def test_float64_audits_agree_with_float32(model: ModelSpec, trained: Path, tmp_path: Path) -> None:
    single = audit_job(
        tmp_path, model, trained, prompts=PromptsSpec("harness_toys:prompts", {"n": 1})
    )
    double = dataclasses.replace(single, precision="float64", out=str(tmp_path / "double.parquet"))
    for job in (single, double):
        audit.run(job)
    first, second = (frames.read(job.out, frames.AUDITS).iloc[0] for job in (single, double))
    assert first["trace_nats"] != second["trace_nats"]
    assert first["trace_nats"] == pytest.approx(second["trace_nats"], rel=1e-2, abs=1e-5)
    assert first["kl_nats"] == pytest.approx(second["kl_nats"], rel=1e-2)
