"""A limit to how long something may take, where nothing in it looks at the clock."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Between two interruptions: one that comes while an object is deleted is lost.
_AGAIN_S = 10.0


class TimeIsUp(BaseException):
    """The time is up. Not an Exception: compilers catch those and dress them up as theirs."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeIsUp` inside once so much time has passed, at the next step of Python.

    Only the main thread of a POSIX process can be interrupted; elsewhere there is no limit. Limits
    do not nest.

    Args:
        seconds: more than 0.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() != threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise TimeIsUp
