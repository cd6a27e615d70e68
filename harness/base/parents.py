"""Processes that end with others: no job outlives its run, whatever ended that one."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

#: The process of the run, for its jobs on the same machine; set by the run.
VARIABLE = "HYPERNOISE_RUN"
#: Linux's name of a machine since it was started.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLL_S = 0.5


def name_run() -> None:
    """Say in this process's environment that its jobs end with it."""
    os.environ[VARIABLE] = f"{os.getpid()} {_numbering()}"


def end_with_run() -> None:
    """In a job of a run on this machine: end with the run, and with the parent.

    What a user starts without a run goes on when the shell is gone.
    """
    pid, _, numbering = os.environ.get(VARIABLE, "").partition(" ")
    if pid:
        end_with(os.getppid())
    if pid and numbering == _numbering():
        end_with(int(pid))


def end_with(pid: int) -> None:
    """End this process by SIGTERM when another one ends, or has ended."""

    def wait() -> None:
        _ended(pid)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _ended(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        # Not Linux, or a sandbox.
        with suppress(ProcessLookupError):
            while True:
                with suppress(PermissionError):
                    os.kill(pid, 0)
                time.sleep(_POLL_S)
        return
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    waiting.poll()
    os.close(descriptor)


def _numbering() -> str:
    """Whose process numbers ours are: a container may have its own, and every machine has. The
    namespace alone does not tell machines apart, for the first one is called alike on all of them.
    """
    try:
        return f"{BOOT_ID.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()
