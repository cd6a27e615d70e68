"""Files that outlast a power cut, and names that no two writers share. Standard library only."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from pathlib import Path

#: What file systems say that cannot sync a folder.
_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS)


def partial_path(path: Path) -> Path:
    """A hidden name beside ``path`` for what is being written.

    Process numbers repeat in containers and on the machines of a cluster, so host and random digits
    stand beside it.
    """
    host = socket.gethostname()[:32].replace("/", "_")
    name = f".{path.name}.{host}.{os.getpid()}.{secrets.token_hex(4)}.partial"
    return path.with_name(name)


def put(partial: Path, path: Path) -> Path:
    """Rename a file or folder so that after a power cut the whole of it is there or nothing of it.

    Returns:
        ``path``
    """
    # Most file systems may put off the content for longer than the name.
    sync_all(partial)
    partial.replace(path)
    sync(path.parent)
    return path


def sync_all(path: Path) -> None:
    """Return when a file, or a folder and all that is below it, is on disk."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            sync(Path(folder, name))
        sync(Path(folder))
    if not path.is_dir():
        sync(path)


def sync(path: Path) -> None:
    """Return when a file's content, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDERS or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
