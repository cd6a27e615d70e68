"""The verb audit and its table: what they measure, write and refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import FINETUNE, HYPERNOISE, model, train_job

from harness.experiment.components import ModelSpec, PromptsSpec
from harness.experiment.jobs import AuditJob
from harness.results import frames
from harness.stages import audit, train

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
        ({"options": {"probes": 1}}, "'probes' must be .* or equal to 2, got 1"),
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
