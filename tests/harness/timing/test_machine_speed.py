"""Whether timings say that other work ran, and are made again then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.timing.machine_speed import MachineSpeed


class Busy:
    """A machine whose kernel takes 1 s, or more while it is at other work."""

    def __init__(self, factors: list[float]) -> None:
        self.factors, self.now, self.n_calls = factors, 0.0, 0
        self._runs = 0

    def kernel(self) -> float:
        # One factor for each probe; every tenth run goes undisturbed.
        self._runs += 1
        probe = (self._runs - 1) // 40
        factor = self.factors[min(probe, len(self.factors) - 1)]
        return 1.0 if self._runs % 10 == 0 else factor

    def call(self) -> int:
        self.now += 1.0
        self.n_calls += 1
        return self.n_calls

    def steady(self, n: int, until: float = 1e9) -> Iterator[tuple[int, float]]:
        speed = MachineSpeed("cpu", self.kernel)
        return speed.steady([self.call] * n, until, lambda: self.now)


def test_on_a_steady_machine_each_call_is_made_once_and_has_no_slowdown() -> None:
    assert list(Busy([1.0]).steady(3)) == [(1, 0.0), (2, 0.0), (3, 0.0)]


def test_a_call_that_other_work_disturbed_is_made_again() -> None:
    # Probes: the first of the process, before, after the first call, after the second, ...
    made = list(Busy([1.0, 1.0, 2.0, 1.0, 1.0, 1.0]).steady(2))
    # The second attempt began beside other work, the third is sound.
    assert made == [(3, 0.0), (4, 0.0)]


@pytest.mark.parametrize(("until", "n_calls"), [(1e9, 4 + 6), (0.0, 4)])
def test_on_a_machine_that_is_always_busy_calls_say_so_and_are_not_repeated_for_ever(
    until: float, n_calls: int
) -> None:
    machine = Busy([1.5])
    made = list(machine.steady(4, until))
    assert [slowdown for _, slowdown in made] == [pytest.approx(0.45)] * 4
    assert machine.n_calls == n_calls


def test_of_disturbed_attempts_the_least_disturbed_counts() -> None:
    (made,) = Busy([1.0, 1.0, 3.0, 2.0, 1.5]).steady(1)
    assert made == (3, pytest.approx(0.9))


def test_the_kernel_of_this_machine_has_a_slowdown() -> None:
    assert 0.0 <= MachineSpeed("cpu").slowdown() < 1000.0
