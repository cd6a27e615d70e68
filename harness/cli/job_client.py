"""Hand a job to the run's server, if there is one, and be its process to everybody outside.

Standard library only: this is what a job starts with instead of its imports.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

#: Where the server's socket is; set by the run, for its jobs.
VARIABLE = "HYPERNOISE_JOB_SERVER"
#: Told to a client whose job has begun.
ACCEPTED = b"accepted "
#: What differs from one shell to the next and is read by no library when it is imported.
_FREE = {VARIABLE, "PATH", "PYTHONUNBUFFERED", "PWD", "OLDPWD", "SHLVL", "_"}
_FREE |= {"TMPDIR", "TMP", "TEMPDIR", "TEMP"}


class Order(NamedTuple):
    """What a client asks for: a command line, the environment, and the streams 0 to 2."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    streams: list[int]


def same_environment(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    """Whether libraries that were imported under one are as if imported under the other."""
    return all(a.get(name) == b.get(name) for name in (a.keys() | b.keys()) - _FREE)


def handed_over(arguments: Sequence[str]) -> int | None:
    """Let the run's server do a job.

    Args:
        arguments: the command line after ``python -m harness``.

    Returns:
        The job's exit code; None where there is no server for it, and the caller does it itself.
        If a signal ended the job, so it does this process.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            _send(connection, arguments)
        except OSError:
            return None
        answer = b""
        try:
            while part := connection.recv(64):
                answer += part
        except KeyboardInterrupt:
            # The server sees this end closed and stops the job.
            return 128 + signal.SIGINT
        except ConnectionError:
            # As if it had ended in good order: what it had said counts.
            pass
    if not answer.startswith(ACCEPTED):
        return None
    if answer == ACCEPTED:
        fault = f"the server of this run's jobs ({path}) ended before its job"
        print(f"error: {fault}", file=sys.stderr)
        return 1
    code = int(answer.removeprefix(ACCEPTED))
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _send(connection: socket.socket, arguments: Sequence[str]) -> None:
    order = {
        "arguments": list(arguments),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    text = json.dumps(order).encode()
    socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(text)


def received(connection: socket.socket) -> Order | None:
    """The order of a client, None if it ended before it had said it."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with suppress(ValueError, KeyError, OSError):
        left, parts = int.from_bytes(head, "big"), []
        while left:
            part = connection.recv(min(left, 1 << 16))
            if not part:
                raise ValueError("the client ended")
            parts.append(part)
            left -= len(part)
        return Order(**json.loads(b"".join(parts)), streams=streams)
    for stream in streams:
        os.close(stream)
    return None
