"""How long jobs take on some GPUs, each begun as soon as what it waits for is done."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True)
class Task(Generic[Key]):
    """What a job takes.

    Attributes:
        seconds: on the GPUs that it takes; on none, it takes no time here.
        gpus: that it takes at once.
        parts: pieces that it can be cut into, which need nothing of one another; 1 if it cannot.
        needs: the tasks that it waits for, which stand before it.
    """

    seconds: float
    gpus: int = 0
    parts: int = 1
    needs: tuple[Key, ...] = ()

    def on(self, n_gpus: int, sharded: bool) -> Task[Key]:
        """The task where there are so many GPUs, in as many parts as it is cut into there."""
        gpus = min(self.gpus, n_gpus)
        longer = self.gpus / gpus if gpus else 1.0
        parts = min(self.parts, n_gpus) if sharded and gpus else 1
        return replace(self, gpus=gpus, seconds=self.seconds * longer, parts=parts)


def makespan(tasks: Mapping[Key, Task[Key]], n_gpus: int, sharded: bool = False) -> float:
    """Seconds from the first start to the last end, on a number of GPUs.

    Of the tasks that could start, the one that most time depends on is started first.

    Args:
        tasks: each after those that it needs. One that takes more GPUs than there are takes all,
            for as many times longer.
        sharded: cut tasks into as many parts as there are GPUs, as far as they can be cut.

    Raises:
        ValueError: there are no GPUs.
    """
    if n_gpus < 1:
        raise ValueError(f"a schedule needs at least one GPU, got {n_gpus}")
    fitted = {key: task.on(n_gpus, sharded) for key, task in tasks.items()}
    order = list(fitted)
    rank = depending_on(fitted)
    waits = {key: len(task.needs) for key, task in fitted.items()}
    then: dict[Key, list[Key]] = defaultdict(list)
    for key, task in fitted.items():
        for need in task.needs:
            then[need].append(key)
    number = {key: place for place, key in enumerate(order)}
    ready = [(-rank[key], number[key], fitted[key].parts) for key in order if not waits[key]]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    left = {key: task.parts for key, task in fitted.items()}
    now, free = 0.0, n_gpus
    while ready or running:
        blocked = []
        while ready:
            priority, place, parts = heapq.heappop(ready)
            task = fitted[order[place]]
            started = min(parts, free // task.gpus) if task.gpus else parts
            for _ in range(started):
                free -= task.gpus
                heapq.heappush(running, (now + task.seconds / task.parts, place))
            if started < parts:
                blocked.append((priority, place, parts - started))
        for entry in blocked:
            heapq.heappush(ready, entry)
        now, place = heapq.heappop(running)
        key = order[place]
        free += fitted[key].gpus
        left[key] -= 1
        if not left[key]:
            for next_key in then[key]:
                waits[next_key] -= 1
                if not waits[next_key]:
                    entry = (-rank[next_key], number[next_key], fitted[next_key].parts)
                    heapq.heappush(ready, entry)
    return now


def longest(tasks: Mapping[Key, Task[Key]]) -> list[Key]:
    """The chain of tasks that wait for one another and take longest: no more GPUs shorten it."""
    done: dict[Key, tuple[float, Key | None]] = {}
    for key, task in tasks.items():
        before = max(task.needs, key=lambda need: done[need][0], default=None)
        done[key] = (task.seconds + (done[before][0] if before is not None else 0.0), before)
    chain: list[Key] = []
    place: Key | None = max(done, key=lambda key: done[key][0], default=None)
    while place is not None:
        chain.append(place)
        place = done[place][1]
    return chain[::-1]


def depending_on(tasks: Mapping[Key, Task[Key]]) -> dict[Key, float]:
    """Seconds from the start of each task to the end of the longest chain that begins with it."""
    after: dict[Key, float] = dict.fromkeys(tasks, 0.0)
    keys: Sequence[Key] = list(tasks)
    for key in reversed(keys):
        after[key] += tasks[key].seconds / tasks[key].parts
        for need in tasks[key].needs:
            after[need] = max(after[need], after[key])
    return after
