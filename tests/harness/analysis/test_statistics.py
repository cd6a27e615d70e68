"""Intervals: known values, invariances, and how often they cover the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.analysis.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    mean_interval,
    paired_difference,
    proportion_interval,
    task_mean_interval,
)

Array = npt.NDArray[Any]


def binary_world(
    rng: np.random.Generator, sizes: tuple[int, ...], rates: tuple[float, ...], images: int = 4
) -> tuple[Array, Array, Array]:
    """Successes of ``images`` images per prompt; prompts differ widely in difficulty."""
    tasks = np.repeat(np.arange(len(sizes)), sizes)
    mean = np.asarray(rates)[tasks]
    difficulty = rng.beta(2 * mean, 2 * (1 - mean))
    values = rng.random((len(tasks), images)) < difficulty[:, None]
    clusters = np.repeat(np.arange(len(tasks)), images)
    return values.ravel(), np.repeat(tasks, images), clusters


def coverage(draw: Callable[[], Interval], truth: float, rounds: int = 600) -> float:
    intervals = [draw() for _ in range(rounds)]
    return float(np.mean([found.low <= truth <= found.high for found in intervals]))


def test_mean_of_single_row_clusters_is_the_textbook_t_interval() -> None:
    # Mean 3, standard deviation sqrt(2.5), t(4 dof, 97.5 %) = 2.7764451.
    found = mean_interval([1, 2, 3, 4, 5], list("abcde"))
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert found == pytest.approx((3, 3 - half, 3 + half, 5, 5), abs=1e-6)


def test_equal_clusters_give_the_t_interval_of_their_means() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 3)) + rng.normal(size=(6, 1))
    rows = mean_interval(table.ravel(), np.repeat(np.arange(6), 3))
    means = mean_interval(table.mean(axis=1), np.arange(6))
    assert rows[:3] == pytest.approx(means[:3])
    assert (rows.n, rows.clusters) == (18, 6)


def test_repeating_every_row_leaves_the_interval_as_it_is() -> None:
    values, clusters = np.array([0.0, 1, 1, 0, 1]), np.array([0, 0, 1, 2, 2])
    once = mean_interval(values, clusters)
    twice = mean_interval(np.repeat(values, 7), np.repeat(clusters, 7))
    assert once[:3] == pytest.approx(twice[:3])


def test_order_of_rows_and_names_of_clusters_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    values, clusters = rng.normal(size=40), rng.integers(0, 7, 40)
    order = rng.permutation(40)
    names = np.array([f"prompt {9 - cluster}" for cluster in clusters])
    first = mean_interval(values, clusters)
    assert mean_interval(values[order], names[order]) == pytest.approx(first)
    assert mean_interval(values, names.astype(object)) == pytest.approx(first)


def test_one_cluster_has_a_mean_but_no_bounds() -> None:
    found = mean_interval([0.0, 1.0], ["a", "a"])
    assert (found.mean, found.n, found.clusters) == (0.5, 2, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_constant_values_have_bounds_at_their_mean() -> None:
    # The mean of three 0.1 is not 0.1 in float64.
    found = mean_interval([0.1] * 3, np.arange(3))
    assert found.low == found.mean == found.high == pytest.approx(0.1)


def test_higher_level_is_wider() -> None:
    narrow, wide = (mean_interval([1, 2, 4], [0, 1, 2], level) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_task_mean_weighs_tasks_not_rows() -> None:
    values = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    tasks = ["a", "a", "b", "b", "b", "b"]
    assert task_mean_interval(values, tasks, np.arange(6)).mean == 0.5


def test_task_mean_of_one_task_is_the_mean() -> None:
    values, clusters = [1.0, 0.0, 0.5, 0.25], [0, 0, 1, 2]
    expected = mean_interval(values, clusters)
    assert task_mean_interval(values, ["x"] * 4, clusters) == pytest.approx(expected)


def test_task_mean_of_two_equal_tasks_doubles_the_degrees_of_freedom() -> None:
    # Each task: variance of the mean 1/3; together 1/6 on 4 dof, whose t is 2.7764451.
    found = task_mean_interval([0, 1, 2, 5, 6, 7], list("aaabbb"), np.arange(6))
    half = 2.7764451 * math.sqrt(1 / 6)
    assert found == pytest.approx((3.5, 3.5 - half, 3.5 + half, 6, 6), abs=1e-6)


def test_task_mean_has_no_bounds_when_a_task_has_one_cluster() -> None:
    found = task_mean_interval([0, 1, 1], list("aab"), np.arange(3))
    assert found.mean == 0.75
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_task_mean_refuses_a_cluster_in_two_tasks() -> None:
    with pytest.raises(ValueError, match="'p1' has rows in more than one task"):
        task_mean_interval([0, 1, 1], list("aab"), ["p0", "p1", "p1"])


def test_a_paired_difference_is_the_task_mean_of_the_differences() -> None:
    rng = np.random.default_rng(2)
    _, tasks, clusters = binary_world(rng, (5, 6), (0.5, 0.5))
    values, baseline = rng.normal(size=(2, len(tasks)))
    difference = values - baseline
    expected = task_mean_interval(difference, tasks, clusters)
    found = paired_difference(values, baseline, tasks, clusters)
    assert (found.mean, found.low, found.high, found.n, found.clusters) == expected


def test_a_paired_difference_is_narrower_than_its_sides_when_they_move_together() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(size=60)
    tasks, clusters = np.repeat([0, 1], 30), np.repeat(np.arange(20), 3)
    gain = paired_difference(shared + 0.1 + rng.normal(0, 0.05, 60), shared, tasks, clusters)
    side = task_mean_interval(shared, tasks, clusters)
    assert gain.low < 0.1 < gain.high
    assert gain.high - gain.low < 0.2 * (side.high - side.low)


def test_a_paired_difference_changes_sign_with_its_sides() -> None:
    values, baseline, clusters = [1.0, 0, 1, 1], [0.0, 0, 1, 0], [0, 0, 1, 2]
    there = paired_difference(values, baseline, [0] * 4, clusters)
    back = paired_difference(baseline, values, [0] * 4, clusters)
    assert (back.mean, back.low, back.high) == (-there.mean, -there.high, -there.low)


@pytest.mark.parametrize(
    ("sizes", "rates"),
    [
        ((4,) * 6, (0.5,) * 6),
        ((4, 16, 8, 16, 28, 28), (0.95, 0.5, 0.6, 0.85, 0.3, 0.4)),
        ((12,), (0.6,)),
    ],
    ids=["four prompts per task", "unequal tasks", "one task"],
)
def test_task_mean_covers_the_truth_at_its_level(
    sizes: tuple[int, ...], rates: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(4)
    covered = coverage(
        lambda: task_mean_interval(*binary_world(rng, sizes, rates)), float(np.mean(rates))
    )
    # 600 rounds have a standard error of 0.9 %; a bootstrap here covers 0.88 to 0.93.
    assert 0.925 <= covered <= 0.985


def test_ignoring_clusters_would_cover_too_little() -> None:
    rng = np.random.default_rng(5)

    def naive() -> Interval:
        values, _, _ = binary_world(rng, (20,), (0.5,), images=8)
        return mean_interval(values, np.arange(len(values)))

    assert coverage(naive, 0.5) < 0.85


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([], []), "values are empty"),
        (lambda: mean_interval([[1.0]], [1]), r"values have shape \[1, 1\]"),
        (lambda: mean_interval(["x"], [1]), "values are not all numbers"),
        (lambda: mean_interval([1.0, math.nan], [1, 2]), r"values\[1\] is nan"),
        (lambda: mean_interval([math.inf], [1]), r"values\[0\] is inf"),
        (lambda: mean_interval([1.0, 2.0], [1]), "clusters have 1 rows, must be 2"),
        (lambda: mean_interval([1.0, 2.0], [1, math.nan]), r"clusters\[1\] is missing"),
        (lambda: mean_interval([1.0, 2.0], np.array([None, "a"])), r"clusters\[0\] is missing"),
        (lambda: mean_interval([1.0, 2.0], [1, 2], 95), "level is 95"),
        (lambda: task_mean_interval([1.0], ["a", "b"], [1]), "tasks have 2 rows"),
        (lambda: paired_difference([1.0], [1.0, 2.0], ["a"], [1]), "baseline have 2 rows"),
        (lambda: paired_difference([1.0], [math.nan], ["a"], [1]), r"baseline\[0\] is nan"),
        (lambda: proportion_interval([0.5], [1]), "value 0.5 is neither 0 nor 1"),
        (lambda: bootstrap_interval([], []), "values are empty"),
        (lambda: holm([1.5]), r"p value 1.5 is not in \[0, 1\]"),
        (lambda: proportion_interval([0.0, 1.0], [0]), "clusters have 1 rows"),
    ],
)
def test_bad_input_is_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_wilson_is_the_published_one_where_every_row_is_a_cluster() -> None:
    # 8 of 10: Wilson's centre and half width by hand, with t(9) = 2.2621572 for z.
    found = proportion_interval([1] * 8 + [0] * 2, range(10))
    z2 = 2.2621572**2 / 10  # the effective size is clipped to the ten clusters
    half = math.sqrt(z2 * 0.16 + z2**2 / 4) / (1 + z2)
    centre = (0.8 + z2 / 2) / (1 + z2)
    assert found == pytest.approx((0.8, centre - half, centre + half, 10, 10), abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_wilson_of_all_alike_counts_clusters_not_images(share: float) -> None:
    few, many = (proportion_interval([share] * 80, np.arange(80) // size) for size in (20, 4))
    assert few.mean == many.mean == share
    assert few.high - few.low > many.high - many.low > 0.1
    assert few.low >= 0.0 and few.high <= 1.0


def test_wilson_covers_where_few_prompts_almost_always_succeed() -> None:
    rng = np.random.default_rng(3)

    def draw() -> Interval:
        values, _, clusters = binary_world(rng, (16,), (0.96,))
        return proportion_interval(values, clusters)

    assert coverage(draw, 0.96) > 0.92


def test_the_bootstrap_of_many_clusters_is_the_t_interval() -> None:
    rng = np.random.default_rng(0)
    values, clusters = rng.normal(size=1200), np.arange(1200) // 4
    drawn, analytic = bootstrap_interval(values, clusters), mean_interval(values, clusters)
    assert drawn.mean == analytic.mean
    width = analytic.high - analytic.low
    # 2000 draws leave a standard error of about 2 % of the width on each bound.
    assert drawn[1:3] == pytest.approx(analytic[1:3], abs=0.08 * width)
    assert bootstrap_interval(values, clusters) == drawn


def test_the_bootstrap_covers_at_eight_skewed_clusters() -> None:
    rng = np.random.default_rng(1)

    def draw() -> Interval:
        return bootstrap_interval(rng.exponential(size=8).repeat(3), np.arange(8).repeat(3))

    assert 0.87 < coverage(draw, 1.0) <= 0.98


def test_the_p_value_and_the_interval_agree_on_zero() -> None:
    rng = np.random.default_rng(2)
    tasks, clusters = np.repeat([0, 1], 20), np.arange(40) // 2
    for shift in (0.0, 0.2, 0.4, 0.8):
        values = rng.normal(shift, 1, 40)
        p = paired_difference(values, np.zeros(40), tasks, clusters).p_value
        gain = paired_difference(values, np.zeros(40), tasks, clusters, level=1 - p)
        assert min(abs(gain.low), abs(gain.high)) == pytest.approx(0, abs=1e-9)
    assert paired_difference(np.ones(40), np.ones(40), tasks, clusters).p_value == 1
    assert math.isnan(paired_difference([1.0, 0.0], [0.0, 0.0], [0, 0], [0, 0]).p_value)


def test_holm_is_the_textbook_step_down_and_skips_what_is_no_test() -> None:
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx(
        [0.03, math.nan, 0.06, 0.06], nan_ok=True
    )
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
