"""Batches that get smaller where a device's memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from hypernoise.errors import lacks_main_memory
from hypernoise.progress import tell

Item = TypeVar("Item")
Made = TypeVar("Made")


class Batches:
    """Items in batches of one size, and of half of it once that was too much.

    Results of searches along gradients depend on the batch size: their rows say it.

    Args:
        size: items at a time.
        what: whose batches they are, for messages.
    """

    def __init__(self, size: int, what: str) -> None:
        self.size = size
        self.what = what

    def run(
        self, items: Sequence[Item], make: Callable[[Sequence[Item]], Made]
    ) -> Iterator[tuple[Sequence[Item], Made]]:
        """Every batch with what was made of it, in order.

        What was made is not kept: once the caller has let go of it, too, its memory is free before
        the next batch is begun.

        Args:
            items: all of them.
            make: called with a batch; where it runs out of memory, called again with half of it.

        Raises:
            torch.OutOfMemoryError, or what a CPU raises: a single item does not fit.
        """
        done = 0
        while done < len(items):
            batch = items[done : done + self.size]
            try:
                made = make(batch)
            except (RuntimeError, MemoryError) as error:
                is_gpu = isinstance(error, torch.OutOfMemoryError)
                if len(batch) == 1 or not (is_gpu or lacks_main_memory(error)):
                    raise
                self._halve(len(batch))
                continue
            yield batch, made
            del made
            done += len(batch)

    def run_each(
        self, runs: Iterable[Sequence[Item]], make: Callable[[Sequence[Item]], Made]
    ) -> Iterator[tuple[Sequence[Item], Made]]:
        """As :meth:`run`, of several runs of items, which share no batch."""
        for items in runs:
            yield from self.run(items, make)

    def _halve(self, size: int) -> None:
        self.size = (size + 1) // 2
        tell(f"{self.what}: out of memory with {size} at a time, going on with {self.size}")


def unfinished(
    items: Sequence[Item], made_with: Callable[[Item], int], size: int
) -> list[Sequence[Item]]:
    """What of some items is still to be made, in runs of neighbours that begin where batches do.

    Of a batch that lost an item all of them are made again, so that an interruption changes no
    batch, and with it no result that hangs on the batch.

    Args:
        items: all of them, in the order in which they are made.
        made_with: how many were made together with an item, itself among them; 0 if it is lost.
        size: of a batch that nothing is known of.
    """
    runs: list[Sequence[Item]] = []
    start, is_open = 0, False
    while start < len(items):
        known = next(filter(None, map(made_with, items[start : start + size])), size)
        batch = items[start : start + known]
        is_whole = all(map(made_with, batch))
        if not is_whole and is_open:
            runs[-1] = [*runs[-1], *batch]
        elif not is_whole:
            runs.append(batch)
        start, is_open = start + known, not is_whole
    return runs
