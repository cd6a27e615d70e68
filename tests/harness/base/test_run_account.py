"""What a run says of its failed jobs, from Snakemake's log and their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.run_account import account

SNAKEMAKE = """\
Job 7: train hypernoise on sd_turbo for matcher
Reason: Missing output files
/usr/bin/bash: line 1: 28806 Killed                  python -m harness train
RuleException:
CalledProcessError in file "/somewhere/Snakefile", line 8:
Command 'set -euo pipefail;  python -m harness train --job x 2>&1 | tee {train}' returned non-zero \
exit status 137.
[Mon Nov 30 04:19:02 2026]
Error in rule train:
    message: None
    jobid: 7
    output: results/training
    log: {train} (check log file(s) for error details)
    shell:
        python -m harness train --job x 2>&1 | tee {train}
        (command exited with non-zero exit code)
Job 12: make table1
RuleException:
CalledProcessError in file "/somewhere/Snakefile", line 13:
Command 'set -euo pipefail;  python -m harness table --job y 2>&1 | tee {table}' returned non-zero \
exit status 2.
Error in rule table1:
    message: None
    jobid: 12
    output: results/tables
    log: {table} (check log file(s) for error details)
"""


def told(tmp_path: Path, train: str, table: str) -> list[str]:
    logs = {"train": tmp_path / "train.log", "table": tmp_path / "table.log"}
    logs["train"].write_text(train)
    logs["table"].write_text(table)
    log = tmp_path / "snakemake.log"
    log.write_text(SNAKEMAKE.format(**logs))
    return account([str(log)]).splitlines()


def test_a_failed_job_is_named_with_its_exit_code_and_its_last_error_line(tmp_path: Path) -> None:
    killed, wrong = told(
        tmp_path,
        "step 3\rstep 4\n",
        "error: an old one\nerror: no baseline 'bass'\nand some notes\n",
    )
    assert wrong == (
        f"failed: make table1 (exit code 2): error: no baseline 'bass' ({tmp_path / 'table.log'})"
    )
    assert killed.startswith("failed: train hypernoise on sd_turbo for matcher (exit code 137: ")
    assert "SIGKILL; the system kills what takes too much memory" in killed
    assert "it told no error, and last said 'step 4'" in killed


@pytest.mark.parametrize(
    "line",
    ["torch.OutOfMemoryError: no room", "KeyboardInterrupt", "my_package.Wrong.WrongError: x"],
)
def test_the_end_of_a_traceback_is_an_error_line(tmp_path: Path, line: str) -> None:
    killed, _ = told(tmp_path, f"Traceback:\n  raise\n{line}\n[torchrun] more words\n", "error: x")
    assert f": {line} (" in killed
