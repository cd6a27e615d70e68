"""What the machine lacks, told from the errors of many libraries, and what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from hypernoise.errors import lacks_main_memory

_NO_ROOM = ("No space left on device", "Disk quota exceeded")
#: Torch does not say why it could not write.
_NOT_WRITTEN = "PytorchStreamWriter failed"
#: A disk with less room is full.
_LEAST_ROOM_BYTES = 2**20


def advice(error: Exception, places: Iterable[str]) -> str | None:
    """What to add to the message of an error that the machine is the cause of; None of another's.

    Args:
        places: files and folders that were to be written.
    """
    if lacks_main_memory(error):
        return (
            ": out of memory: give the job more, run fewer jobs side by side (--cores), or make "
            "batch_size smaller. What is finished is kept, and the same command goes on."
        )
    codes = (errno.ENOSPC, errno.EDQUOT)
    is_full = getattr(error, "errno", 0) in codes or any(word in str(error) for word in _NO_ROOM)
    full = []
    for place in places:
        folder = Path(os.path.realpath(place))
        while not folder.exists():
            folder = folder.parent
        room = os.statvfs(folder)
        if room.f_bavail * room.f_frsize < _LEAST_ROOM_BYTES:
            full.append(str(folder))
    if is_full or (full and _NOT_WRITTEN in str(error)):
        named = getattr(error, "filename", None) or " and ".join(dict.fromkeys(full))
        of = f" of {named}" if named else ""
        return (
            f": the disk{of} is full: make room. What is finished is kept, and the same command "
            "goes on."
        )
    return None
