"""One line about a whole run of the workflow: how many jobs are done, and how long the rest takes.

Snakemake logs what it does as records with an ``event``; a filter of its logger sees them all.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from hypernoise.progress import in_words


class RunProgress(logging.Filter):
    """Says ``12 of 44 jobs done, about 9 min left`` in place of Snakemake's own line.

    The time left is that of the unfinished jobs, each taken to be as long as those of its rule were
    on average (of a rule without a finished job: as all jobs were), divided by how many jobs were
    at work at once so far.

    Args:
        rules: the rule of every job that the run is going to do.
        clock: gives seconds.
    """

    def __init__(self, rules: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._unfinished = Counter(rules)
        self._clock, self._began = clock, clock()
        self._running: dict[int, tuple[str, float]] = {}
        self._took: dict[str, list[float]] = defaultdict(list)

    def filter(self, record: logging.LogRecord) -> bool:
        """Take note of a record; one that tells Snakemake's progress gets our words."""
        told = vars(record)
        event = str(told.get("event") or "")
        if event == "job_info":
            self._running[told["jobid"]] = (told["rule_name"], self._clock())
        elif event == "job_finished" and told["job_id"] in self._running:
            rule, started = self._running.pop(told["job_id"])
            self._took[rule].append(self._clock() - started)
            self._unfinished[rule] -= 1
        elif event == "progress":
            record.msg, record.args = self._line(told["done"], told["total"]), None
            told["event"] = None
        return True

    def _line(self, done: int, total: int) -> str:
        count = f"{done} of {total} jobs done"
        if done == total:
            return f"{count} in {in_words(self._clock() - self._began)}"
        minutes = round(self._left() / 60)
        return (
            f"{count}, {f'about {in_words(60 * minutes)}' if minutes else 'less than 1 min'} left"
        )

    def _left(self) -> float:
        took = [seconds for of_rule in self._took.values() for seconds in of_rule]
        mean = sum(took) / max(1, len(took))
        lengths = {rule: sum(own) / len(own) for rule, own in self._took.items()}
        ahead = sum(n * lengths.get(rule, mean) for rule, n in self._unfinished.items())
        now = self._clock()
        behind = sum(
            min(now - started, lengths.get(rule, mean)) for rule, started in self._running.values()
        )
        at_once = sum(took) / max(now - self._began, 1e-9)
        return (ahead - behind) / at_once if at_once else 0.0
