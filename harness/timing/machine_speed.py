"""How fast the machine is at the moment: one fixed piece of work, timed again and again.

Other work on the machine makes a method's times larger and says so nowhere. It does the same to
this piece, whose own time is known: its fastest run so far.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import torch

from harness.results.stage_names import STEADY

Made = TypeVar("Made")
#: Runs of the kernel in one probe. Each is a fraction of a scheduler's turn, so that some run
#: undisturbed even on a loaded machine, and together they are long enough to meet other work.
_RUNS = 40
#: Calls between two probes take about so many seconds at least; a probe takes some 0.03 s.
_BLOCK_S = 0.4
#: How often a block that was disturbed is measured again, and how many in a row may be for nothing:
#: on a machine that is busy all the time nothing would be gained.
_AGAIN, _IN_VAIN = 2, 6


class MachineSpeed:
    """Probes of one device.

    Args:
        device: of torch.
        kernel: makes one run, in seconds; without it two matrix products and a pass over memory.
    """

    def __init__(self, device: str, kernel: Callable[[], float] | None = None) -> None:
        self._kernel = kernel or kernel_on(device)
        self._fastest_s = math.inf
        self.slowdown()  # The first runs of all are slow by themselves.

    def slowdown(self) -> float:
        """By which share a run takes longer now, on average, than the fastest one so far."""
        runs = [self._kernel() for _ in range(_RUNS)]
        self._fastest_s = min(self._fastest_s, *runs)
        return sum(runs) / len(runs) / self._fastest_s - 1.0

    def steady(
        self,
        calls: Sequence[Callable[[], Made]],
        until: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> Iterator[tuple[Made, float]]:
        """Make calls in order, with a probe before, between and after.

        A block of calls between two probes, of which one finds the machine slower than
        :data:`harness.results.stage_names.STEADY`, is made again, twice at most; the attempt that
        was disturbed least counts.

        Args:
            calls: all of them.
            until: when, by the clock, nothing is made again any more.
            clock: gives seconds.

        Yields:
            What each call made, and the larger slowdown of the probes around it.
        """
        done, in_vain, before = 0, 0, self.slowdown()
        while done < len(calls):
            attempts: list[tuple[float, list[Made]]] = []
            n_block = len(calls) - done
            while not attempts or (len(attempts) <= _AGAIN and in_vain < _IN_VAIN):
                began, made = clock(), []
                for call in calls[done : done + n_block]:
                    made.append(call())
                    if clock() - began >= _BLOCK_S and not attempts:
                        break
                n_block = len(made)
                after = self.slowdown()
                attempts.append((max(before, after), made))
                before = after
                is_steady = attempts[-1][0] <= STEADY
                in_vain = 0 if is_steady else in_vain + (len(attempts) > 1)
                if is_steady or clock() >= until:
                    break
            slowdown, made = min(attempts, key=lambda attempt: attempt[0])
            yield from ((one, slowdown) for one in made)
            done += n_block


@cache
def of(device: str, threads: int) -> MachineSpeed:
    """The probes of a device and a number of torch's threads: its best is that of the process."""
    return MachineSpeed(device)


def kernel_on(device: str) -> Callable[[], float]:
    """The fixed piece of work on a device, float32 from a fixed seed; a call gives its seconds."""
    generator = torch.Generator().manual_seed(0)
    of_gpu = device.startswith("cuda")
    size, n = (2048, 1 << 24) if of_gpu else (256, 1 << 18)
    a, b = (torch.randn(size, size, generator=generator).to(device) for _ in range(2))
    values = torch.randn(n, generator=generator).to(device)

    def run() -> float:
        began = time.perf_counter()
        with torch.no_grad():
            made: Any = torch.mm(a, b), torch.mm(b, a), (values * values).add_(1.0)
        if of_gpu:
            torch.cuda.synchronize()
        del made
        return time.perf_counter() - began

    return run
