"""How often intervals cover the truth, simulated with fixed seeds.

A case is an evaluation: tasks with so many prompts and images, a mean of the tasks, and how alike
images of one prompt are (intraclass correlation). What thousands of rounds gave stands in the
modules; these are few enough to run in seconds, and bounds allow for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import brentq  # type: ignore[import-untyped]
from scipy.special import expit, logit  # type: ignore[import-untyped]

from harness.analysis.seed_variance import seed_means, seed_spread
from harness.analysis.statistics import (
    Difference,
    Interval,
    bootstrap_interval,
    mean_interval,
    paired_difference,
    task_mean_interval,
    unpaired_difference,
)

Array = npt.NDArray[Any]
#: Images of each prompt, by task: of the first embedded world, of one whose tasks weigh alike, and
#: of GenEval.
EVALUATIONS = {
    "unequal tasks": [[4] * n for n in (4, 16, 8, 16, 28, 28)],
    "equal tasks": [
        *([32] * 4, [16] * 8, [15] * 2 + [14] * 7, [8] * 16, [4] * 32, [4] * 32),
    ],
    "geneval": [[4] * n for n in (80, 99, 80, 94, 100, 100)],
}
MEANS, CORRELATIONS = (0.6, 0.79, 0.95, 0.98), (0.0, 0.15, 0.3, 0.5)
#: Shares of an untrained model by task, which are moved together to a mean.
SHARES = np.array([0.97, 0.6, 0.6, 0.9, 0.25, 0.4])


def shares_of(mean: float) -> Array:
    """[6] shares of the tasks with a mean, as far apart on the logit scale as :data:`SHARES`."""
    by = brentq(lambda shift: expit(logit(SHARES) + shift).mean() - mean, -20, 20)
    found: Array = expit(logit(SHARES) + by)
    return found


def layout(evaluation: str) -> tuple[Array, Array]:
    """The task and the prompt of each image."""
    sizes = EVALUATIONS[evaluation]
    tasks = np.repeat(np.arange(len(sizes)), [len(own) for own in sizes])
    images = np.concatenate(sizes)
    return np.repeat(tasks, images), np.repeat(np.arange(len(images)), images)


def prompts(rng: np.random.Generator, shares: Array, correlation: float) -> Array:
    """A prompt's chance of a right image, whose mean over prompts is its share."""
    if not correlation:
        return shares
    strength = (1 - correlation) / correlation
    found: Array = rng.beta(strength * shares, strength * (1 - shares))
    return found


def covered(draw: Callable[[], Interval | Difference], truth: float, rounds: int) -> float:
    found = [draw() for _ in range(rounds)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def of_shares(
    rng: np.random.Generator, evaluation: str, mean: float, correlation: float
) -> tuple[Array, Array, Array]:
    tasks, clusters = layout(evaluation)
    of_prompt = tasks[np.unique(clusters, return_index=True)[1]]
    chances = prompts(rng, shares_of(mean)[of_prompt], correlation)
    return (rng.random(len(tasks)) < chances[clusters]).astype(float), tasks, clusters


@pytest.mark.parametrize("evaluation", list(EVALUATIONS))
@pytest.mark.parametrize("mean", MEANS)
def test_a_mean_of_shares_is_covered_near_one_as_in_the_middle(
    evaluation: str, mean: float
) -> None:
    rng = np.random.default_rng(0)
    rounds = 40 if evaluation == "geneval" else 70
    found = [
        covered(
            lambda c=correlation: task_mean_interval(  # type: ignore[misc]
                *of_shares(rng, evaluation, mean, c)
            ),
            mean,
            rounds,
        )
        for correlation in CORRELATIONS
    ]
    # 280 rounds together (160 of GenEval): a standard error of 1.3 % (1.7).
    assert 0.925 <= np.mean(found) <= 0.995, found


def test_a_t_interval_covers_too_little_near_one() -> None:
    rng = np.random.default_rng(1)

    def draw() -> Interval:
        values, tasks, clusters = of_shares(rng, "unequal tasks", 0.98, 0.3)
        # A little more than 1 is no share: the t interval of the same numbers.
        return task_mean_interval(values * 1.001, tasks, clusters)

    assert covered(draw, 0.98 * 1.001, 300) < 0.92


def test_shares_near_zero_have_the_mirrored_interval() -> None:
    rng = np.random.default_rng(2)
    values, tasks, clusters = of_shares(rng, "unequal tasks", 0.95, 0.15)
    high, low = (task_mean_interval(v, tasks, clusters) for v in (values, 1 - values))
    assert (1 - low.high, 1 - low.low) == pytest.approx((high.low, high.high))


def test_all_right_in_all_tasks_is_no_point_and_two_prompts_suffice() -> None:
    tasks, clusters = np.repeat([0, 1], 8), np.repeat([0, 1, 2, 3], 4)
    found = task_mean_interval(np.ones(16), tasks, clusters)
    assert found.high == 1.0
    assert 0.6 < found.low < 0.95
    alone = task_mean_interval(np.ones(12), tasks[:12], clusters[:12])
    assert math.isnan(alone.low) and math.isnan(alone.high)


@pytest.mark.parametrize("evaluation", ["unequal tasks", "equal tasks"])
@pytest.mark.parametrize(("after", "before"), [(0.79, 0.6), (0.97, 0.93), (0.99, 0.93)])
def test_a_paired_gain_is_covered_where_one_side_is_all_right_in_a_task(
    evaluation: str, after: float, before: float
) -> None:
    rng = np.random.default_rng(3)
    tasks, clusters = layout(evaluation)
    n_prompts = int(clusters.max()) + 1
    of_prompt = tasks[np.unique(clusters, return_index=True)[1]]

    def draw(correlation: float) -> Difference:
        # Prompts that are hard for one side are hard for the other, and so are noises.
        ease, noise = rng.random(n_prompts), rng.random(len(tasks))
        sides = []
        for mean in (after, before):
            share = shares[mean][of_prompt]
            chance = np.where(ease < correlation, ease / correlation < share, share)
            sides.append((noise < chance[clusters]).astype(float))
        return paired_difference(*sides, tasks, clusters)

    shares = {mean: shares_of(mean) for mean in (after, before)}
    truth = float((shares[after] - shares[before]).mean())
    found = [covered(lambda c=c: draw(c), truth, 200) for c in (0.01, 0.3)]  # type: ignore[misc]
    assert 0.93 <= np.mean(found) <= 0.995, found


@pytest.mark.parametrize("n_prompts", [3, 4, 8])
def test_an_unpaired_difference_of_other_prompts_is_covered(n_prompts: int) -> None:
    rng = np.random.default_rng(4)
    tasks = np.repeat(np.arange(2), n_prompts).repeat(3)
    clusters = np.arange(2 * n_prompts).repeat(3)

    def draw() -> Difference:
        one, two = (
            rng.normal(size=2 * n_prompts).repeat(3) + rng.normal(size=len(tasks)) for _ in range(2)
        )
        return unpaired_difference((one, tasks, clusters), (two, tasks, clusters + 100))

    # With one number of degrees of freedom for both sides it is 92 to 93 %.
    assert 0.94 <= covered(draw, 0.0, 1500) <= 0.97


def test_an_unpaired_difference_has_the_variance_between_the_seeds_of_both_sides_in_it() -> None:
    rng = np.random.default_rng(8)
    tasks, clusters, seeds = np.zeros(120), np.arange(60).repeat(2), np.tile([0, 1], 60)
    shared = rng.normal(size=60).repeat(2)
    one, two = shared + 2.0 * seeds, shared + rng.normal(size=60).repeat(2)
    sides = (one, tasks, clusters), (two, tasks, clusters + 100)
    plain, with_both = (
        unpaired_difference(*sides, seeds=of) for of in ((None, None), (seeds, seeds))
    )
    assert with_both.mean == plain.mean
    # Two seeds that are 2 apart: their mean's variance is 1, with one degree of freedom.
    assert plain.high - plain.mean < 1 < 2 < with_both.high - with_both.mean
    assert with_both.p_value > plain.p_value


def test_tasks_that_differ_do_not_widen_the_interval_of_a_mean_reward() -> None:
    rng = np.random.default_rng(5)
    tasks, clusters = layout("unequal tasks")
    level = np.array([3.0, 1.0, 0.0, -1.0, -2.0, -3.0])[tasks]

    def draw() -> Interval:
        own = rng.normal(size=int(clusters.max()) + 1)[clusters] + rng.normal(size=len(tasks))
        return bootstrap_interval(level + own, clusters, tasks=tasks)

    assert 0.93 <= covered(draw, float(level.mean()), 400) <= 0.97
    values = level + rng.normal(size=len(tasks))
    wide, narrow = (bootstrap_interval(values, clusters, tasks=t) for t in (None, tasks))
    assert narrow.mean == wide.mean
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


@pytest.mark.parametrize("n_seeds", [2, 3, 4, 5])
@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_the_variance_between_training_seeds_is_covered(n_seeds: int, spread: float) -> None:
    """The standard deviation between seeds is ``spread`` standard errors of one network's number.

    Prompts, noises and what a network does to single images are random, too.
    """
    rng = np.random.default_rng(6)
    n_prompts, n_images = 60, 2
    tasks = np.repeat(np.arange(3), n_prompts // 3).repeat(n_images)
    clusters = np.arange(n_prompts).repeat(n_images)
    error = math.sqrt((0.5 + 0.5 / n_images) / n_prompts + 0.25 / (n_prompts * n_images))

    def draw() -> Difference:
        shared = rng.normal(0, 0.5**0.5, n_prompts)[clusters]
        shared = shared + rng.normal(0, 0.5**0.5, len(clusters))
        networks = rng.normal(0, spread * error, (n_seeds, 1))
        values = shared + networks + rng.normal(0, 0.5, (n_seeds, len(clusters)))
        seeds = np.arange(n_seeds).repeat(len(clusters))
        return paired_difference(
            values.ravel(),
            np.zeros(values.size),
            np.tile(tasks, n_seeds),
            np.tile(clusters, n_seeds),
            seeds=seeds,
        )

    found = [draw() for _ in range(700)]
    share = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.925 <= share <= 0.985
    assert share == pytest.approx(np.mean([one.p_value >= 0.05 for one in found]))


def test_one_training_seed_changes_nothing_and_several_widen_every_interval() -> None:
    rng = np.random.default_rng(7)
    tasks, clusters = layout("unequal tasks")
    right = rng.random(len(tasks)) < 0.8
    one = np.zeros(len(tasks), int)
    calls: list[Callable[..., Interval | Difference]] = [
        lambda v, t, c, **k: task_mean_interval(v, t, c, **k),
        lambda v, t, c, **k: task_mean_interval(v + 0.5, t, c, **k),
        lambda v, t, c, **k: bootstrap_interval(v, c, tasks=t, **k),
        lambda v, t, c, **k: mean_interval(v, c, **k),
        lambda v, t, c, **k: paired_difference(v, np.zeros(len(v)), t, c, **k),
    ]
    both = np.concatenate([right, right & (rng.random(len(tasks)) < 0.6)]).astype(float)
    twice = [np.tile(of, 2) for of in (tasks, clusters)]
    for call in calls:
        assert call(right * 1.0, tasks, clusters, seeds=one) == call(right * 1.0, tasks, clusters)
        with_both = call(both, *twice, seeds=np.repeat([3, 5], len(tasks)))
        without = call(both, *twice)
        assert with_both.mean == without.mean
        assert with_both.low < without.low and with_both.high > without.high


def test_means_and_spread_over_seeds_are_those_of_each_seeds_tasks() -> None:
    values, tasks, seeds = [1.0, 0.0, 0.0, 3.0, 2.0, 2.0], [0, 0, 1, 0, 0, 1], [7, 7, 7, 9, 9, 9]
    assert list(seed_means(values, tasks, seeds)) == pytest.approx([0.25, 2.25])
    assert seed_spread(values, tasks, seeds) == pytest.approx(2**0.5)
    assert math.isnan(seed_spread(values[:3], tasks[:3], seeds[:3]))
    with pytest.raises(ValueError, match="training seed 9 has no rows of a task"):
        seed_means(values[:5], tasks[:5], seeds[:5])
