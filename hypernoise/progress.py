"""Progress of long loops as plain lines: one line per job and interval, whole when it is printed.

Several jobs may write to one terminal or log at once, so nothing is ever drawn over: there is no
bar and no carriage return, and every line says by itself whose progress it tells.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
#: Seconds between two lines of one job.
INTERVAL_S = 10.0


class Progress:
    """Counts what is done, and says it at most every ``interval_s`` seconds and at the end.

    A context: the last line is printed when it is left, whether by the end of the work or by an
    error. A line reads ``generate tiny_sd reno: 96 of 384 images, 3.1 images/s, 1 min 33 s left``.

    Args:
        what: verb, model and method, or what else tells this job from its neighbours.
        total: how many there are in all.
        unit: what is counted, in the plural.
        done: how many of them were there before; they do not count for the rate.
        interval_s: seconds between two lines.
        silent: print nothing, as all processes but the first of a shared training do.

    Attributes:
        done: how many are done.
        note: a few words for the next lines, e.g. the current loss.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str,
        done: int = 0,
        interval_s: float = INTERVAL_S,
        silent: bool = False,
    ) -> None:
        self.done = done
        self.note = ""
        self._what, self._total, self._unit = what, total, unit
        self._interval_s, self._silent = interval_s, silent
        self._done_before = done
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Progress:
        self._began = self._said = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._say("stopped" if error else f"in {in_words(time.monotonic() - self._began)}")

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each counted as done once the next one is asked for."""
        with self:
            for item in items:
                yield item
                self.update()

    def update(self, n: int = 1) -> None:
        """Count ``n`` more as done."""
        self.done += n
        if time.monotonic() - self._said >= self._interval_s and self.done < self._total:
            self._say(self._left())

    def _say(self, state: str) -> None:
        self._said = time.monotonic()
        count = f"{self.done} of {self._total} {self._unit}"
        parts = [part for part in (count, self._rate(), self.note, state) if part]
        if not self._silent:
            # One write: lines of processes that share a terminal do not mix.
            sys.stderr.write(f"{self._what}: {', '.join(parts)}\n")
            sys.stderr.flush()

    def _per_second(self) -> float:
        seconds = time.monotonic() - self._began
        return (self.done - self._done_before) / seconds if seconds > 0 else 0.0

    def _rate(self) -> str:
        rate = self._per_second()
        if not rate:
            return ""
        return f"{rate:.3g} {self._unit}/s" if rate >= 1 else f"{1 / rate:.3g} s each"

    def _left(self) -> str:
        rate = self._per_second()
        return f"{in_words((self._total - self.done) / rate)} left" if rate else ""


def tell(line: str) -> None:
    """Print a line about a job that is at work, where its progress goes too."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def in_words(seconds: float) -> str:
    """A duration in h, min and s, e.g. ``"1 min 33 s"`` or ``"2 h 5 min"``."""
    whole = round(seconds)
    parts = {"h": whole // 3600, "min": whole // 60 % 60, "s": whole % 60 if whole < 3600 else 0}
    return " ".join(f"{n} {unit}" for unit, n in parts.items() if n) or "0 s"
