"""No job outlives its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.base import parents

#: A run, the shell of its job, and the job, as Snakemake starts them; each says its number.
RUN = """
import subprocess, sys
from harness.base.parents import name_run
if sys.argv[1] == "run":
    name_run()
shell = subprocess.Popen(["bash", "-c", "exec 3>&1; echo $$; $0 -c '" + sys.argv[2] + "' | cat >&3",
                          sys.executable])
shell.wait()
"""
JOB = """
import os, time
from harness.base.parents import end_with_run
end_with_run()
print(os.getppid(), os.getpid(), flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("kind", "killed", "ends"),
    [("run", "run", True), ("run", "shell", True), ("none", "run", False)],
)
def test_a_job_ends_with_its_run_and_its_shell_and_one_without_a_run_goes_on(
    kind: str, killed: str, ends: bool
) -> None:
    command = [sys.executable, "-c", RUN, kind, JOB]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        shell = int(run.stdout.readline())
        parent, job = map(int, run.stdout.readline().split())
        assert parent == shell
        os.kill(run.pid if killed == "run" else shell, signal.SIGKILL)
        try:
            end = time.monotonic() + (10 if ends else 0.5)
            while is_alive(job) and time.monotonic() < end:
                time.sleep(0.02)
            assert is_alive(job) is not ends
        finally:
            if is_alive(job):
                os.kill(job, signal.SIGKILL)


def test_a_job_on_another_machine_waits_for_no_process_of_the_same_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watched: list[int] = []
    monkeypatch.setattr(parents, "end_with", watched.append)
    monkeypatch.setenv(parents.VARIABLE, "")
    parents.name_run()
    parents.end_with_run()
    assert watched == [os.getppid(), os.getpid()]
    other = tmp_path / "boot_id"
    other.write_text("another machine")
    monkeypatch.setattr(parents, "BOOT_ID", other)
    watched.clear()
    parents.end_with_run()
    assert watched == [os.getppid()]
