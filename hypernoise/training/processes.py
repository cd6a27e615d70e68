"""Several processes that train one network: each draws its share of every batch.

Started by ``torchrun`` or ``accelerate launch``, which give every process its number. Gradients are
summed by hand rather than by ``DistributedDataParallel``: one training step passes through the
backbone several times, with its adapter on and off, which that wrapper does not allow for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0.
        count: how many there are; 1 needs no process group.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """This process's part of ``items``; the parts are consecutive and differ by one at most.

        Raises:
            ValueError: there are fewer items than processes.
        """
        if len(items) < self.count:
            raise ValueError(f"{len(items)} images cannot be shared by {self.count} processes")
        first, last = (len(items) * rank // self.count for rank in (self.rank, self.rank + 1))
        return items[first:last]

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype and device by their sums over all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def any(self, here: bool, device: str) -> bool:
        """Whether something holds in one of the processes at least; returns when all have asked."""
        found = torch.tensor([float(here)], device=device)
        self.sum([found])
        return bool(found.item())

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            dist.barrier()


ALONE = Processes()


def launched() -> int:
    """How many processes the launcher of this one has started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes of ``torchrun`` or ``accelerate launch``: NCCL on GPUs, else gloo.

    Each process of a machine takes the GPU of its own number.

    Raises:
        ValueError: the machine has fewer GPUs than processes.
    """
    if launched() == 1:
        yield ALONE
        return
    device: torch.device | None = None
    if torch.cuda.is_available():
        local_rank, n_gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local_rank >= n_gpus:
            raise ValueError(
                f"process {local_rank} of this machine has no GPU of its own: there are {n_gpus}. "
                "Start no more processes than GPUs"
            )
        torch.cuda.set_device(local_rank)
        device = torch.device("cuda", local_rank)
    dist.init_process_group("gloo" if device is None else "nccl", device_id=device)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
