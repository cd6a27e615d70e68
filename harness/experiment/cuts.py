"""How a job is cut into shards: consecutive parts, cut where its batches end.

Batches are then those of the whole job, so that shards make the same numbers as it: on a CPU to the
byte. Their results are joined by the job itself, which then makes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, TypeAlias, TypeVar

from pydantic.dataclasses import dataclass

from harness.base.errors import SpecError
from harness.experiment.validation import STRICT
from hypernoise.identity import PLACE

_T = TypeVar("_T")
_SHARD = re.compile(r"([1-9]\d*)/([1-9]\d*)")


@dataclass(frozen=True, config=STRICT)
class Cut:
    """What of a job a process does: all of it, without either.

    Attributes:
        shard: its number from 1 and how many there are, as ``"2/4"``.
        joins: results of all shards, in their order.
    """

    shard: str = ""
    joins: tuple[str, ...] = ()


WHOLE = Cut()
#: Where parts are made changes no result.
CutField: TypeAlias = Annotated[Cut, PLACE]


def shard_of(items: Sequence[_T], shard: str, batch_size: int = 1) -> Sequence[_T]:
    """The items of a shard; all of them without one.

    Args:
        items: of the whole job, in its order.
        shard: its number from 1 and how many there are, as ``"2/4"``; empty for the whole.
        batch_size: items that are worked on together.

    Raises:
        SpecError: it is no shard, or there are more shards than batches.
    """
    if not shard:
        return items
    found = _SHARD.fullmatch(shard)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise SpecError(f"shard {shard!r} must be a number and how many there are, as in '2/4'")
    n_batches = -(-len(items) // batch_size)
    if of > n_batches:
        raise SpecError(f"{n_batches} batches of {batch_size} cannot be cut into {of} shards")
    first, last = (n_batches * k // of * batch_size for k in (number - 1, number))
    return items[first:last]
