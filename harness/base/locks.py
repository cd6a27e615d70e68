"""Locks that end with their process: nobody has to remove what a kill leaves behind."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from pathlib import Path
from typing import IO

from hypernoise.errors import Mendable

#: What file systems without locks say: Lustre, some of NFS.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


class Busy(Mendable):
    """Another process has the lock.

    Attributes:
        who: what it says of itself; empty before it has.
        about: what it was told to say besides.
    """

    def __init__(self, path: Path, said: str) -> None:
        self.who, _, self.about = said.partition("\n")
        super().__init__(f"{path} is held by {self.who or 'another process'}")


def acquired(path: Path, about: str = "") -> IO[str]:
    """Lock a file, which is made, for this process, until it ends or closes what it is given.

    It is a record lock: children inherit none, so that none of them can hold it when this process
    is gone; and it holds between the machines of a cluster, too. Where the file system has no
    locks, a warning says so.

    Args:
        about: what others shall read that find it locked.

    Raises:
        Busy: another process has it.
        OSError: the file cannot be made.
        Mendable: it cannot be locked, for another reason.
    """
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                with file:
                    file.seek(0)
                    said = file.read()
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise Busy(path, said) from None
                raise Mendable(f"{path} cannot be locked: {error.strerror}") from error
            print(
                f"warning: the file system of {path.parent} has no locks ({error.strerror}): see "
                "to it that nothing else is at work here",
                file=sys.stderr,
            )
        # Who had it may have removed the file before giving it back: the next one makes another.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            break
        file.close()
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n{about}")
    file.flush()
    return file
