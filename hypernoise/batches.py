"""Batches that get smaller where a device's memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from hypernoise.progress import tell

Item = TypeVar("Item")
Made = TypeVar("Made")


class Batches:
    """Items in batches of one size, and of half of it once that was too much.

    For work whose results do not depend on the batch size.

    Args:
        size: items at a time.
        what: whose batches they are, for messages.
    """

    def __init__(self, size: int, what: str) -> None:
        self.size = size
        self._what = what

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
            torch.OutOfMemoryError: a single item does not fit.
        """
        done = 0
        while done < len(items):
            batch = items[done : done + self.size]
            try:
                made = make(batch)
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                self._halve(len(batch))
                continue
            yield batch, made
            del made
            done += len(batch)

    def _halve(self, size: int) -> None:
        self.size = (size + 1) // 2
        tell(f"{self._what}: out of memory with {size} at a time, going on with {self.size}")
