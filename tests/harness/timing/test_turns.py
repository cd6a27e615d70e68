"""Who is timed when, and how often."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from harness.results.stage_names import GENERATION
from harness.timing import turns


def test_equal_methods_alternate_and_a_rare_one_is_spread_over_the_rounds() -> None:
    assert turns.interleaved([3, 3]) == [0, 1, 0, 1, 0, 1]
    order = turns.interleaved([12, 3, 12])
    assert [order.count(method) for method in range(3)] == [12, 3, 12]
    rare = [position for position, method in enumerate(order) if method == 1]
    assert all(8 <= later - earlier <= 10 for earlier, later in pairwise(rare))


def test_slow_methods_are_timed_less_often_but_often_enough_for_an_interval() -> None:
    assert turns.repeats_of([0.1, 0.2, 0.99, 2.0, 50.0], 20) == [20, 20, 20, 10, 6]
    assert turns.repeats_of([0.1, 50.0], 3) == [3, 3]


def test_warm_up_lasts_until_two_calls_agree_or_the_time_is_up() -> None:
    def durations(*seconds: float) -> Any:
        left = list(seconds)
        return (lambda: {GENERATION: left.pop(0)}), left

    call, left = durations(0.5, 0.2, 0.1, 0.101, 9.0)
    assert turns.warm_up(call) == {GENERATION: 0.101}
    assert left == [9.0]
    call, left = durations(13.0, 9.0)
    assert turns.warm_up(call) == {GENERATION: 13.0}
    assert left == [9.0]
    call, left = durations(0.9, 0.6, 0.4, 0.3, 9.0)
    assert turns.warm_up(call) == {GENERATION: 0.3}
    assert left == [9.0]


def test_fewer_calls_where_time_is_short_but_never_fewer_than_three() -> None:
    assert turns.affordable([1.0, 2.0], [12, 12], float("inf")) == [12, 12]
    assert turns.affordable([1.0, 2.0], [12, 12], 18.0) == [6, 6]
    assert turns.affordable([1.0, 2.0], [12, 3], -1.0) == [3, 3]
    assert turns.affordable([], [], 5.0) == []
