"""Two runs in one folder: the second is refused, and a dead one holds nobody back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.experiment.workflow import hold_alone

#: Holds the folder, leaves a child that was forked from it and one that was started, and waits.
HOLDER = """
import os, subprocess, sys, time
from harness.experiment.workflow import hold_alone
lock = hold_alone()
child = os.fork()
if not child:
    time.sleep(60)
started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
print(child, started.pid, flush=True)
time.sleep(60)
"""


def test_the_run_at_work_is_named_and_its_children_hold_nothing_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        children = [int(pid) for pid in holder.stdout.readline().split()]
        try:
            with pytest.raises(SystemExit) as refused:
                hold_alone()
            assert f"(process {holder.pid} on {socket.gethostname()})" in str(refused.value)
            holder.kill()
            holder.wait()
            with hold_alone() as lock:
                assert Path(lock.name).read_text().startswith(f"process {os.getpid()} on ")
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
