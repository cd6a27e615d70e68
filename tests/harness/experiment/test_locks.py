"""A folder that cannot be held says why: it is no other run's fault."""

from __future__ import annotations

import errno
import fcntl
import logging
from pathlib import Path

import pytest

from harness.experiment.workflow import hold_alone, nearest_target


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_runs(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(code, "no such thing")

    monkeypatch.setattr(fcntl, "lockf", fail)
    with hold_alone():
        assert "has no locks (no such thing)" in capsys.readouterr().err


def test_another_fault_of_a_lock_is_not_taken_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "disk on fire")

    monkeypatch.setattr(fcntl, "lockf", fail)
    with pytest.raises(SystemExit, match=r"results/\.lock cannot be locked: disk on fire"):
        hold_alone()


def test_a_results_folder_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = Path("results")
    results.symlink_to(tmp_path / "nowhere")
    with pytest.raises(SystemExit, match=r"results, a link to .*nowhere, cannot be made or"):
        hold_alone()
    results.unlink()
    results.touch()
    with pytest.raises(SystemExit, match="results cannot be made or written in"):
        hold_alone()


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("MissingRuleException:\nNo rule to produce tabel2 (if you use input functions", "table2"),
        ("No rule to produce al.", "all"),
    ],
)
def test_a_misspelt_target_is_told_the_nearest_one(text: str, nearest: str) -> None:
    record = logging.LogRecord("snakemake", logging.ERROR, "", 1, text, (), None)
    assert nearest_target(lambda: ["all", "table2", "pareto"])(record)
    assert f"did you mean {nearest!r}? (valid: all, pareto, table2)" in record.getMessage()


def test_other_lines_of_the_log_stay_as_they_are() -> None:
    record = logging.LogRecord("snakemake", logging.INFO, "", 1, "rule %s", ("all",), None)
    assert nearest_target(lambda: ["all"])(record)
    assert record.getMessage() == "rule all"
