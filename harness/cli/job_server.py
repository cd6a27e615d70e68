"""Jobs of a run in forks of one process that has imported what they need.

A job of the embedded world works for seconds, and the imports of torch, diffusers and pandas take
as long. A run on one machine starts a server: it imports them once and forks for every job, so each
still has a process, an exit code and a crash of its own. What starts in a process of its own is
told by :attr:`harness.cli.verbs.JobVerb.own_process`. The client is
:mod:`harness.cli.job_client`, in the process that the rule started.

The server serves its own user alone (the socket is in a private folder) and only processes that
have its environment: libraries read variables when they are imported. It ends when the run does,
however that ends: its standard input is a pipe whose other end the run holds.
"""

from __future__ import annotations

import importlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from harness.base.parents import end_with
from harness.cli.command_line import main as run
from harness.cli.job_client import ACCEPTED, VARIABLE, Order, received, same_environment
from harness.cli.verbs import JOB_VERBS

_THREADS = (
    "GOTO_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def start() -> subprocess.Popen[bytes]:
    """Start a server for this process, and name it in this process's environment.

    It ends when this process does.
    """
    folder = tempfile.mkdtemp(prefix="hypernoise-jobs-")
    path = str(Path(folder) / "socket")
    os.environ.pop(VARIABLE, None)
    command = [sys.executable, "-m", "harness.cli.job_server", path]
    # As Snakemake tells a job of one thread.
    environment = os.environ | dict.fromkeys(_THREADS, "1")
    server = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    os.environ[VARIABLE] = path
    return server


def listen(path: str) -> socket.socket:
    """The server's socket. Clients may come at once: they wait until :func:`serve` has time."""
    listener = socket.socket(socket.AF_UNIX)
    # The name appears when somebody listens.
    listener.bind(f"{path}.new")
    listener.listen()
    os.rename(f"{path}.new", path)
    return listener


def serve(
    listener: socket.socket,
    run: Callable[[Sequence[str]], int],
    until: IO[bytes],
    environment: Mapping[str, str],
) -> None:
    """Fork for every order until ``until`` is at its end; then let the running jobs finish.

    Args:
        listener: of :func:`listen`.
        run: gets a job's command line and returns its exit code, in a process forked for it.
        environment: that libraries were imported under.
    """
    _Server(listener, run, until, environment).serve()


class _Server:
    def __init__(
        self,
        listener: socket.socket,
        run: Callable[[Sequence[str]], int],
        until: IO[bytes],
        environment: Mapping[str, str],
    ) -> None:
        self._listener, self._run, self._until = listener, run, until
        self._environment = environment
        self._jobs: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C reaches the whole group: the run decides what becomes of its jobs.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._until, selectors.EVENT_READ, self._close)
        self._selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(4096))
        while self._listener.fileno() >= 0 or self._jobs:
            for key, _ in self._selector.select():
                key.data()
            self._reap()

    def _close(self) -> None:
        self._selector.unregister(self._until)
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        order = received(connection)
        if order is None or not same_environment(order.environment, self._environment):
            connection.close()
            for stream in order.streams if order else ():
                os.close(stream)
            return
        server = os.getpid()
        pid = os.fork()
        if not pid:
            self._become(order, connection, server)
        for stream in order.streams:
            os.close(stream)
        self._jobs[pid] = connection
        with suppress(OSError):
            connection.sendall(ACCEPTED)
        self._selector.register(
            connection, selectors.EVENT_READ, lambda: self._forsaken(pid, connection)
        )

    def _forsaken(self, pid: int, connection: socket.socket) -> None:
        # Only the end of a client can be read from it; its job shares that end.
        self._selector.unregister(connection)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        for pid in list(self._jobs):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            connection = self._jobs.pop(pid)
            with suppress(KeyError):
                self._selector.unregister(connection)
            with suppress(OSError):
                connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            connection.close()

    def _become(self, order: Order, connection: socket.socket, server: int) -> NoReturn:
        """Be the process of a job: its streams, folder and environment, and then its work."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._selector.close()
            self._listener.close()
            # Held here, they would not be at their ends when the server closes them.
            for other in (connection, *self._jobs.values()):
                other.close()
            # A server that was killed answers no client, and a job that goes on then would write
            # into what the run takes for failed.
            end_with(server)
            for stream, own in zip(order.streams, (0, 1, 2), strict=True):
                os.dup2(stream, own)
                os.close(stream)
            sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
            os.chdir(order.folder)
            os.environ.clear()
            os.environ.update(order.environment)
            sys.argv = ["harness", *order.arguments]
            code = self._run(order.arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def main() -> None:
    """Import what jobs need, then serve until standard input ends."""
    # Some libraries set variables when they are imported.
    environment = dict(os.environ)
    listener = listen(sys.argv[1])
    for verb in JOB_VERBS.values():
        if not verb.own_process:
            importlib.import_module(f"harness.{verb.module}")
    try:
        serve(listener, run, sys.stdin.buffer, environment)
    finally:
        with suppress(OSError):
            os.unlink(sys.argv[1])
            os.rmdir(os.path.dirname(sys.argv[1]))


if __name__ == "__main__":
    main()
