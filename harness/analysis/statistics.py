"""The uncertainty of every number: intervals that respect which images share a prompt.

Images of one prompt succeed and fail together, so the prompt (by what it asks for), not the image,
is the unit that was sampled: it is the *cluster*. What is used where:

- the share of right images in one task: Wilson's interval (:func:`proportion_interval`);
- the mean of tasks' shares, as GenEval's: the stratified score interval, and for its paired gains
  a t interval that knows of tasks without a differing image
  (:mod:`harness.analysis.stratified_score`; :func:`task_mean_interval`, :func:`paired_difference`);
- means of rewards: a bootstrap over prompts within tasks (:func:`bootstrap_interval`);
- every other mean over tasks, and paired gains in rewards: ``estimate +- t * standard error``
  (the same two functions), cluster-robust, with Welch and Satterthwaite's degrees of freedom,
  because there are often so few clusters that the normal quantile is too small;
- one setting of a sweep against another: paired on the same noise, too
  (:mod:`harness.analysis.references`), as is what is printed bold;
- several training seeds: their variance is in all of these (:mod:`harness.analysis.seed_variance`);
- p values of many differences in one table: Holm's correction (:func:`holm`).

Tasks are fixed, prompts are sampled within them: the variance of a score with tasks is the sum of
the tasks' own over the squared number of tasks. Where a task has one cluster, no variance is known
and bounds are NaN. Where all values are one number, a t interval collapses to it; that says that
the sample cannot tell, not that it is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, ndtr, stdtr  # type: ignore[import-untyped]

from harness.analysis.bootstrap import RESAMPLES, resampled
from harness.analysis.cluster_robust import (
    Estimate,
    Floats,
    check_length,
    clustered_mean,
    codes_of,
    contrast,
    joined,
    numbers_of,
    quantile,
    satterthwaite,
    task_codes,
    task_mean,
)
from harness.analysis.seed_variance import with_seeds
from harness.analysis.stratified_score import score_bounds, share_difference


class Interval(NamedTuple):
    """An estimate and its confidence bounds, in the unit of the values.

    Bounds are NaN where too few clusters leave the variance unknown; ``n`` rows are behind it.
    """

    mean: float
    low: float
    high: float
    n: int
    clusters: int


class Difference(NamedTuple):
    """An :class:`Interval` of a difference, and the two-sided p value of "no difference".

    Attributes:
        p_value: in [0, 1]; 1 where nothing differs, NaN where the variance is unknown.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int
    clusters: int


NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0, 0)


def mean_interval(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    seeds: npt.ArrayLike | None = None,
) -> Interval:
    """The mean of all rows; each row counts the same, however large its cluster.

    Args:
        values: [n] finite numbers or booleans, any unit.
        clusters: [n] integers or strings, the prompt of each row.
        level: confidence level in (0, 1).
        seeds: [n] as for :func:`task_mean_interval`.

    Returns:
        The interval with (number of clusters - 1) degrees of freedom; NaN bounds for one
        cluster.

    Raises:
        ValueError: an input is empty, not 1-D, not finite, or of another length.
    """
    numbers = numbers_of(values, "values")
    codes = codes_of(clusters, len(numbers), "clusters")
    estimate = clustered_mean(numbers, codes)
    total, freedom = with_seeds(estimate, estimate.clusters - 1, numbers, None, seeds)
    return _interval(total, freedom, len(numbers), level)


def proportion_interval(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    seeds: npt.ArrayLike | None = None,
) -> Interval:
    """Wilson's (1927) score interval of a proportion, for the sample size that the clusters leave.

    Rows of a cluster are alike, so n of them count as ``n * (independent variance) / (clustered
    variance)``, within the numbers of clusters and of rows; with Student's t, as Dean and Pagano
    (2015) advise for surveys. Where all rows are alike, only the clusters count.

    Args:
        values: [n] booleans, or numbers that are 0 or 1.
        clusters, level, seeds: as for :func:`mean_interval`.

    Returns:
        The interval; NaN bounds for one cluster.

    Raises:
        ValueError: a value is neither 0 nor 1, or as in :func:`mean_interval`.
    """
    numbers = numbers_of(values, "values")
    bad = numbers[(numbers != 0) & (numbers != 1)]
    if len(bad):
        raise ValueError(f"value {bad[0]:g} is neither 0 nor 1")
    codes = codes_of(clusters, len(numbers), "clusters")
    share, variance, n_clusters = found = clustered_mean(numbers, codes)
    if n_clusters < 2:
        return Interval(share, math.nan, math.nan, len(numbers), n_clusters)
    size = share * (1 - share) / variance if variance else n_clusters
    size = min(max(size, n_clusters), len(numbers))
    squared = quantile(n_clusters - 1, level) ** 2 / size
    centre = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * share * (1 - share) + squared**2 / 4) / (1 + squared)
    # Rounding must not push a bound past the share itself.
    bounds = [min(share, centre - half), max(share, centre + half)]
    return _share(found, n_clusters - 1, bounds, level, numbers, None, seeds)


def bootstrap_interval(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    seed: int = 0,
    tasks: npt.ArrayLike | None = None,
    seeds: npt.ArrayLike | None = None,
) -> Interval:
    """The mean of all rows, with percentiles of a bootstrap that draws whole clusters of each task.

    Tasks are fixed, so each is a stratum: what sets tasks apart is no variance.
    Percentiles are taken further out, for the share of the variance that drawing G clusters of a
    task loses and for Student's t: Hesterberg's (2015) expanded percentiles, task by task. A few
    training seeds are too few to draw from: a normal number in each resample stands for them.

    Args:
        values: [n] finite numbers, any unit.
        clusters, level: as for :func:`mean_interval`.
        seed: of the draws; same seed and clusters, same draws.
        tasks, seeds: [n] as for :func:`task_mean_interval`; None for one task, or no seeds.

    Returns:
        The interval; NaN bounds where a task has one cluster.

    Raises:
        ValueError: as in :func:`task_mean_interval`.
    """
    numbers = numbers_of(values, "values")
    mean, n = float(numbers.mean()), len(numbers)
    strata, codes = task_codes(np.zeros(n) if tasks is None else tasks, clusters, n)
    parts, deviations = resampled(numbers, strata, codes, seed)
    whole = Estimate(mean, math.fsum(p.variance for p in parts), sum(p.clusters for p in parts))
    total, freedom = with_seeds(whole, satterthwaite(parts), numbers, None, seeds)
    if math.isnan(total.variance):
        return Interval(mean, math.nan, math.nan, n, total.clusters)
    if total.variance > whole.variance:
        added = np.random.default_rng((seed, len(parts))).standard_normal(RESAMPLES)
        deviations += math.sqrt(total.variance - whole.variance) * added
    tail = float(ndtr(-quantile(freedom, level)))
    low, high = np.quantile(mean + deviations, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), n, total.clusters)


def task_mean_interval(
    values: npt.ArrayLike,
    tasks: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    seeds: npt.ArrayLike | None = None,
) -> Interval:
    """The plain mean of the per-task means, as in GenEval's overall score.

    Where all values are 0 or 1, the interval is the score interval, which holds near 0 and 1, too
    (:mod:`harness.analysis.stratified_score`); else the t interval of the tasks' variances.

    Args:
        values: [n] finite numbers or booleans, any unit.
        tasks: [n] integers or strings.
        clusters: [n] integers or strings, the prompt of each row; a prompt has one task.
        level: in (0, 1).
        seeds: [n] integers, the training seed behind each row, every one on the same prompts and
            noises; None for a method that trains nothing. The variance between several is in the
            interval (:mod:`harness.analysis.seed_variance`).

    Returns:
        The interval; NaN bounds if a task has one cluster only.

    Raises:
        ValueError: as in :func:`mean_interval`, or a cluster has rows in two tasks.
    """
    numbers = numbers_of(values, "values")
    if not _are_shares(numbers):
        total, freedom = with_seeds(*task_mean(numbers, tasks, clusters), numbers, tasks, seeds)
        return _interval(total, freedom, len(numbers), level)
    codes = task_codes(tasks, clusters, len(numbers))
    found, freedom, *bounds = score_bounds(numbers, *codes, level)
    return _share(found, freedom, bounds, level, numbers, tasks, seeds)


def paired_difference(
    values: npt.ArrayLike,
    baseline: npt.ArrayLike,
    tasks: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    seeds: npt.ArrayLike | None = None,
) -> Difference:
    """How much ``values`` exceed ``baseline``, both made from the same prompts and noise.

    Pairing removes what prompt and noise contribute to both sides, so the interval is usually much
    narrower than two separate ones suggest.

    Args:
        values: [n] finite numbers or booleans, any unit.
        baseline: [n] the same, row i from the same prompt and noise as ``values[i]``.
        tasks: [n] integers or strings; all equal for a gain without tasks.
        clusters, level: as for :func:`mean_interval`.
        seeds: [n] as for :func:`task_mean_interval`. A baseline that trains nothing has the same
            number in all rows of an image; one that trains is matched seed by seed.

    Returns:
        The plain mean over tasks of the differences, a t interval, and the p value of its test. Of
        zeros and ones it allows for images that would differ in another sample, unless none does.

    Raises:
        ValueError: as in :func:`task_mean_interval`.
    """
    numbers, reference = numbers_of(values, "values"), numbers_of(baseline, "baseline")
    check_length(len(reference), len(numbers), "baseline")
    gains = numbers - reference
    if gains.any() and _are_shares(numbers, reference):
        found = share_difference(gains, *task_codes(tasks, clusters, len(gains)))
    else:
        found = task_mean(gains, tasks, clusters)
    total, freedom = with_seeds(*found, gains, tasks, seeds)
    return _tested(total, freedom, len(numbers), level)


def median_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """The median of independent values, between two of them that hold it at the given level.

    How many are below the true median is binomial: the interval is the narrowest symmetric pair of
    order statistics that covers at least ``level``.

    Args:
        values: [n] finite numbers, any unit.
        level: confidence level in (0, 1).

    Returns:
        The interval; NaN bounds where too few values reach the level (fewer than 6 at 95 %).

    Raises:
        ValueError: the input is empty, not 1-D or not finite.
    """
    ordered = np.sort(numbers_of(values, "values"))
    n = len(ordered)
    # The largest rank from either end that leaves at most half of the rest outside.
    outside = bdtr(np.arange(n // 2 + 1), n, 0.5)
    rank = int((outside <= (1 - level) / 2).sum())
    low, high = (ordered[rank - 1], ordered[n - rank]) if rank else (math.nan, math.nan)
    return Interval(float(np.median(ordered)), float(low), float(high), n, n)


def unpaired_difference(
    values: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    others: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    level: float = 0.95,
    seeds: tuple[npt.ArrayLike | None, npt.ArrayLike | None] = (None, None),
) -> Difference:
    """How much ``values`` exceed ``others`` where no row of one belongs to a row of the other.

    Prompts that both sides share still pair their rows' deviations, so that only the noise, not
    the prompts, is taken to differ between them. Where a task's prompts are all different on the
    two sides, each has a variance and degrees of freedom of its own (Welch's).

    Args:
        values: values [n], tasks [n] and clusters [n], as in :func:`task_mean_interval`.
        others: the same of the other side, with the same tasks.
        level: confidence level in (0, 1).
        seeds: of each side, as for :func:`task_mean_interval`; the two have no network in common.

    Returns:
        The difference; NaN bounds and p value where a side has one cluster only of a task.

    Raises:
        ValueError: as in :func:`task_mean_interval`, or a task is on one side only.
    """
    numbers = [numbers_of(side[0], name) for side, name in ((values, "values"), (others, "others"))]
    split = len(numbers[0])
    tasks = np.concatenate([np.asarray(side[1]) for side in (values, others)])
    clusters = np.concatenate([np.asarray(side[2]) for side in (values, others)])
    both = np.concatenate(numbers)
    of_task, codes = task_codes(tasks, clusters, len(both))
    first = np.arange(len(both)) < split
    parts, n_tasks = [], int(of_task.max()) + 1
    for task in range(n_tasks):
        rows = of_task == task
        parts += contrast(both[rows], codes[rows], first[rows], tasks[rows][0])
    total, freedom = joined(parts, n_tasks), satterthwaite(parts)
    for own, side, of in zip(numbers, (values, others), seeds, strict=True):
        total, freedom = with_seeds(total, freedom, own, side[1], of)
    return _tested(total, freedom, len(both), level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: p values that hold for all tests of a table together.

    Args:
        p_values: [n] in [0, 1]; NaN stands for no test, and counts for none.

    Returns:
        [n], at least as large as given and at most 1; NaN stays NaN.

    Raises:
        ValueError: a p value is outside [0, 1].
    """
    numbers = np.asarray(p_values, dtype=np.float64)
    bad = numbers[(numbers < 0) | (numbers > 1)]
    if len(bad):
        raise ValueError(f"p value {bad[0]:g} is not in [0, 1]")
    # NaN comes last in this order.
    order = np.argsort(numbers)[: int((~np.isnan(numbers)).sum())]
    times_tests = np.minimum(1.0, np.arange(len(order), 0, -1) * numbers[order])
    corrected = np.full(len(numbers), np.nan)
    corrected[order] = np.maximum.accumulate(times_tests)
    return [float(value) for value in corrected]


def _tested(total: Estimate, freedom: float, n: int, level: float) -> Difference:
    found = _interval(total, freedom, n, level)
    if math.isnan(total.variance):
        p_value = math.nan
    elif total.variance == 0:
        p_value = float(total.mean == 0)
    else:
        p_value = float(2 * stdtr(freedom, -abs(total.mean) / math.sqrt(total.variance)))
    return Difference(found.mean, found.low, found.high, p_value, n, found.clusters)


def _interval(estimate: Estimate, freedom: float, n: int, level: float) -> Interval:
    reach = quantile(freedom, level)
    half = reach * math.sqrt(estimate.variance) if freedom > 0 else math.nan
    mean = estimate.mean
    return Interval(mean, mean - half, mean + half, n, estimate.clusters)


def _share(
    found: Estimate,
    freedom: float,
    bounds: Sequence[float],
    level: float,
    values: Floats,
    tasks: npt.ArrayLike | None,
    seeds: npt.ArrayLike | None,
) -> Interval:
    """A share and its two bounds, taken further out by the variance between training seeds."""
    reaches = []
    for bound in bounds:
        error = (bound - found.mean) / quantile(freedom, level)
        side = found._replace(variance=error**2)
        total, degrees = with_seeds(side, freedom, values, tasks, seeds)
        reaches.append(quantile(degrees, level) * math.sqrt(total.variance))
    low, high = np.clip([found.mean - reaches[0], found.mean + reaches[1]], 0.0, 1.0).tolist()
    return Interval(found.mean, low, high, len(values), found.clusters)


def _are_shares(*sides: Floats) -> bool:
    return all(bool(((numbers == 0) | (numbers == 1)).all()) for numbers in sides)
