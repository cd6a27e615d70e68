"""The uncertainty of every number: intervals that respect which images share a prompt.

Images of one prompt succeed and fail together, so the prompt, not the image, is the unit that
was sampled: it is the *cluster*. What is used where:

- the share of right images in one task: Wilson's interval (:func:`proportion_interval`);
- a score over tasks, and every difference from a baseline, image by image on the same noise:
  ``estimate ± t * standard error`` (:func:`task_mean_interval`,
  :func:`paired_difference`);
- means of rewards and of scores that are no proportion: the bootstrap over prompts
  (:func:`bootstrap_interval`);
- p values of many differences in one table: Holm's correction (:func:`holm`).

The standard errors are cluster-robust (sandwich), with Student's t, because there are often so few
clusters that the normal quantile is too small.

A score with tasks is the plain mean of the per-task means. Tasks are fixed, prompts are
sampled within them, so its variance is the sum of the tasks' own variances over the squared
number of tasks, with Welch and Satterthwaite's degrees of freedom. A cluster bootstrap would
be the alternative; it is the worse one here, since resampling G prompts loses the factor
(G - 1) / G of the variance (a quarter at G = 4) and its percentiles know no t quantile: at
four prompts per task a nominal 95 % interval of it covers about 88 %, this one about 95 %.

Where every cluster has the same mean, the variance estimate is 0 and such an interval collapses
to its centre; that says that the sample cannot tell, not that the number is exact. Wilson's does
not collapse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, ndtr, stdtr, stdtrit  # type: ignore[import-untyped]

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]

#: Resamples of a bootstrap: at 2000 its bounds move by some hundredths of their width.
RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate and its confidence bounds, in the unit of the values.

    Attributes:
        mean: the estimate.
        low: lower bound; NaN where too few clusters leave the variance unknown.
        high: upper bound; NaN likewise.
        n: how many rows it rests on.
        clusters: how many distinct clusters they form.
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


#: Of something that was not measured.
NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0, 0)


class _Estimate(NamedTuple):
    mean: float
    variance: float
    clusters: int


def mean_interval(values: npt.ArrayLike, clusters: npt.ArrayLike, level: float = 0.95) -> Interval:
    """The mean of all rows; each row counts the same, however large its cluster.

    Args:
        values: [n] finite numbers or booleans, any unit.
        clusters: [n] integers or strings, the prompt of each row.
        level: confidence level in (0, 1).

    Returns:
        The interval with (number of clusters - 1) degrees of freedom; NaN bounds for one
        cluster.

    Raises:
        ValueError: an input is empty, not 1-D, not finite, or of another length.
    """
    numbers = _numbers(values, "values")
    codes = _codes(clusters, len(numbers), "clusters")
    estimate = _clustered_mean(numbers, codes)
    return _interval(estimate, estimate.clusters - 1, len(numbers), level)


def proportion_interval(
    values: npt.ArrayLike, clusters: npt.ArrayLike, level: float = 0.95
) -> Interval:
    """Wilson's (1927) score interval of a proportion, for the sample size that the clusters leave.

    Rows of one cluster are alike, so n of them count as ``n * (independent variance) / (clustered
    variance)``, but as no fewer than there are clusters and no more than there are rows; with
    Student's t, as Dean and Pagano (2015) advise for surveys. Where all rows are alike, only the
    clusters count. Unlike the t interval it stays in [0, 1], and is no point at 0 or 1.

    Args:
        values: [n] booleans, or numbers that are 0 or 1.
        clusters: [n] integers or strings, the prompt of each row.
        level: confidence level in (0, 1).

    Returns:
        The interval; NaN bounds for one cluster.

    Raises:
        ValueError: a value is neither 0 nor 1, or as in :func:`mean_interval`.
    """
    numbers = _numbers(values, "values")
    bad = numbers[(numbers != 0) & (numbers != 1)]
    if len(bad):
        raise ValueError(f"value {bad[0]:g} is neither 0 nor 1")
    codes = _codes(clusters, len(numbers), "clusters")
    share, variance, n_clusters = _clustered_mean(numbers, codes)
    if n_clusters < 2:
        return Interval(share, math.nan, math.nan, len(numbers), n_clusters)
    size = share * (1 - share) / variance if variance else n_clusters
    size = min(max(size, n_clusters), len(numbers))
    squared = _quantile(n_clusters - 1, level) ** 2 / size
    centre = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * share * (1 - share) + squared**2 / 4) / (1 + squared)
    # Rounding must not push a bound past the share itself.
    low, high = max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
    return Interval(share, low, high, len(numbers), n_clusters)


def bootstrap_interval(
    values: npt.ArrayLike, clusters: npt.ArrayLike, level: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of all rows, with percentiles of a bootstrap that draws whole clusters.

    Percentiles are taken further out, for the share of the variance that drawing G clusters loses
    and for Student's t: Hesterberg's (2015) expanded percentile interval. No shape of the values'
    distribution is assumed.

    Args:
        values: [n] finite numbers, any unit.
        clusters: [n] integers or strings, the prompt of each row.
        level: confidence level in (0, 1).
        seed: of the :data:`RESAMPLES` draws; same seed and clusters, same draws.

    Returns:
        The interval; NaN bounds for one cluster.

    Raises:
        ValueError: as in :func:`mean_interval`.
    """
    numbers = _numbers(values, "values")
    codes = _codes(clusters, len(numbers), "clusters")
    n_clusters, mean = int(codes.max()) + 1, float(numbers.mean())
    if n_clusters < 2:
        return Interval(mean, math.nan, math.nan, len(numbers), n_clusters)
    draws = _draws(n_clusters, seed)
    # From the mean: else the rounding of large values would look like spread.
    sums, sizes = np.bincount(codes, weights=numbers - mean), np.bincount(codes)
    means = mean + (draws @ sums) / (draws @ sizes)
    expansion = math.sqrt(n_clusters / (n_clusters - 1))
    tail = float(ndtr(-expansion * _quantile(n_clusters - 1, level)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), len(numbers), n_clusters)


@lru_cache(maxsize=4)
def _draws(n_clusters: int, seed: int) -> Floats:
    """[RESAMPLES, n_clusters], how often each cluster is drawn."""
    rng = np.random.default_rng(seed)
    shares = np.full(n_clusters, 1 / n_clusters)
    return rng.multinomial(n_clusters, shares, size=RESAMPLES).astype(np.float64)


def task_mean_interval(
    values: npt.ArrayLike,
    tasks: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
) -> Interval:
    """The plain mean of the per-task means, as in GenEval's overall score.

    Args:
        values: [n] finite numbers or booleans, any unit.
        tasks: [n] integers or strings.
        clusters: [n] integers or strings, the prompt of each row; a prompt has one task.
        level: confidence level in (0, 1).

    Returns:
        The interval from the summed per-task variances; NaN bounds if a task has one
        cluster only.

    Raises:
        ValueError: as in :func:`mean_interval`, or a cluster has rows in two tasks.
    """
    numbers = _numbers(values, "values")
    total, freedom = _task_mean(numbers, tasks, clusters)
    return _interval(total, freedom, len(numbers), level)


def paired_difference(
    values: npt.ArrayLike,
    baseline: npt.ArrayLike,
    tasks: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
) -> Difference:
    """How much ``values`` exceed ``baseline``, both made from the same prompts and noise.

    Pairing removes what prompt and noise contribute to both sides, so the interval is the
    one of the row-wise differences and usually much narrower than two separate ones suggest.

    Args:
        values: [n] finite numbers or booleans, any unit.
        baseline: [n] the same, row i from the same prompt and noise as ``values[i]``.
        tasks: [n] integers or strings; all equal for a gain without tasks.
        clusters: [n] integers or strings, the prompt of each row.
        level: confidence level in (0, 1).

    Returns:
        :func:`task_mean_interval` of the differences, and the p value of the test that belongs
        to it.

    Raises:
        ValueError: as in :func:`task_mean_interval`.
    """
    numbers, reference = _numbers(values, "values"), _numbers(baseline, "baseline")
    _check_length(len(reference), len(numbers), "baseline")
    total, freedom = _task_mean(numbers - reference, tasks, clusters)
    return _tested(total, freedom, len(numbers), level)


def median_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """The median of independent values, between two of them that hold it at the given level.

    The number of values below the true median is binomial, whatever their distribution: the
    interval is the narrowest symmetric pair of order statistics that covers at least ``level``.

    Args:
        values: [n] finite numbers, any unit.
        level: confidence level in (0, 1).

    Returns:
        The interval; NaN bounds where too few values reach the level (fewer than 6 at 95 %).

    Raises:
        ValueError: the input is empty, not 1-D or not finite.
    """
    ordered = np.sort(_numbers(values, "values"))
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
) -> Difference:
    """How much ``values`` exceed ``others`` where no row of one belongs to a row of the other.

    Prompts that both sides share still pair their rows' deviations, so that only the noise, not
    the prompts, is taken to differ between them.

    Args:
        values: values [n], tasks [n] and clusters [n], as in :func:`task_mean_interval`.
        others: the same of the other side, with the same tasks.
        level: confidence level in (0, 1).

    Returns:
        The difference; NaN bounds and p value where a side has one cluster only of a task.

    Raises:
        ValueError: as in :func:`task_mean_interval`, or a task is on one side only.
    """
    numbers = [_numbers(side[0], name) for side, name in ((values, "values"), (others, "others"))]
    split = len(numbers[0])
    tasks = np.concatenate([np.asarray(side[1]) for side in (values, others)])
    clusters = np.concatenate([np.asarray(side[2]) for side in (values, others)])
    both = np.concatenate(numbers)
    task_codes = _codes(tasks, len(both), "tasks")
    codes = _codes(clusters, len(both), "clusters")
    _check_nested(codes, task_codes, clusters)
    first = np.arange(len(both)) < split
    parts = []
    for task in range(task_codes.max() + 1):
        rows = task_codes == task
        parts.append(_contrast(both[rows], codes[rows], first[rows], tasks[rows][0]))
    return _tested(_joined(parts), _satterthwaite(parts), len(both), level)


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
    order = [int(place) for place in np.argsort(numbers) if not np.isnan(numbers[place])]
    corrected, largest = np.full(len(numbers), np.nan), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * float(numbers[place])))
        corrected[place] = largest
    return [float(value) for value in corrected]


def auc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """How often a positive scores above a negative, ties counting half: in [0, 1].

    Args:
        scores: [n] finite numbers, higher is better.
        labels: [n] booleans, or numbers that are 0 or 1.

    Raises:
        ValueError: a class is missing, a label is neither 0 nor 1, or as in
            :func:`mean_interval`.
    """
    numbers = _numbers(scores, "scores")
    positive = _labels(labels, len(numbers))
    return float(_wins(numbers[positive], numbers[~positive]).mean())


def auc_interval(
    scores: npt.ArrayLike, labels: npt.ArrayLike, clusters: npt.ArrayLike, level: float = 0.95
) -> Interval:
    """:func:`auc` with an interval that lets positives and negatives share clusters.

    The variance sums, per cluster, how its rows' placements among the other class deviate
    from the AUC: DeLong's (1988) estimate, clustered after Obuchowski (1997). Bounds are cut
    at 0 and 1; a perfect separation has variance 0, so its interval is a point.

    Args:
        scores: [n] finite numbers, higher is better.
        labels: [n] booleans, or numbers that are 0 or 1.
        clusters: [n] integers or strings, the prompt of each row.
        level: confidence level in (0, 1).

    Raises:
        ValueError: as in :func:`auc` and :func:`mean_interval`.
    """
    numbers = _numbers(scores, "scores")
    positive = _labels(labels, len(numbers))
    codes = _codes(clusters, len(numbers), "clusters")
    above, below = numbers[positive], numbers[~positive]
    wins = _wins(above, below)
    area = float(wins.mean())
    influence = np.empty_like(numbers)
    influence[positive] = (wins - area) / len(above)
    influence[~positive] = (_wins(-below, -above) - area) / len(below)
    estimate = _Estimate(area, _sandwich(influence, codes), int(codes.max()) + 1)
    found = _interval(estimate, estimate.clusters - 1, len(numbers), level)
    low, high = np.clip([found.low, found.high], 0.0, 1.0)
    return found._replace(low=float(low), high=float(high))


def _task_mean(
    numbers: Floats, tasks: npt.ArrayLike, clusters: npt.ArrayLike
) -> tuple[_Estimate, float]:
    """The plain mean of the per-task means, and its degrees of freedom."""
    task_codes = _codes(tasks, len(numbers), "tasks")
    codes = _codes(clusters, len(numbers), "clusters")
    _check_nested(codes, task_codes, clusters)
    parts = [
        _clustered_mean(numbers[rows], np.unique(codes[rows], return_inverse=True)[1])
        for rows in (task_codes == task for task in range(task_codes.max() + 1))
    ]
    return _joined(parts), _satterthwaite(parts)


def _joined(parts: list[_Estimate]) -> _Estimate:
    """The plain mean of independent estimates."""
    return _Estimate(
        mean=math.fsum(part.mean for part in parts) / len(parts),
        variance=math.fsum(part.variance for part in parts) / len(parts) ** 2,
        clusters=sum(part.clusters for part in parts),
    )


def _contrast(
    values: Floats, codes: Codes, first: npt.NDArray[np.bool_], task: object
) -> _Estimate:
    """The mean of some rows minus that of the others; a cluster may have rows among both."""
    if first.all() or not first.any():
        raise ValueError(f"task {task} is on one side only")
    influence = np.empty_like(values)
    means = []
    for rows, sign in ((first, 1.0), (~first, -1.0)):
        means.append(float(values[rows].mean()))
        influence[rows] = sign * (values[rows] - means[-1]) / rows.sum()
    own = np.unique(codes, return_inverse=True)[1]
    # Deviations from the mean of the only cluster add up to 0, whatever its prompt contributes.
    known = all(len(np.unique(codes[rows])) > 1 for rows in (first, ~first))
    variance = _sandwich(influence, own) if known else math.nan
    return _Estimate(means[0] - means[1], variance, int(own.max()) + 1)


def _tested(total: _Estimate, freedom: float, n: int, level: float) -> Difference:
    found = _interval(total, freedom, n, level)
    if math.isnan(total.variance):
        p_value = math.nan
    elif total.variance == 0:
        p_value = float(total.mean == 0)
    else:
        p_value = float(2 * stdtr(freedom, -abs(total.mean) / math.sqrt(total.variance)))
    return Difference(found.mean, found.low, found.high, p_value, n, found.clusters)


def _clustered_mean(values: Floats, codes: Codes) -> _Estimate:
    mean = float(values.mean())
    # A constant sample must have variance 0: the rounding of its mean is no evidence.
    spread = values - mean if np.ptp(values) else np.zeros_like(values)
    return _Estimate(mean, _sandwich(spread / len(values), codes), int(codes.max()) + 1)


def _sandwich(influence: Floats, codes: Codes) -> float:
    sums = np.bincount(codes, weights=influence)
    if len(sums) < 2:
        return math.nan
    # An estimate follows its own clusters, which hides one degree of freedom of G.
    return float(np.sum(sums**2)) * len(sums) / (len(sums) - 1)


def _satterthwaite(parts: list[_Estimate]) -> float:
    total = math.fsum(part.variance for part in parts)
    if math.isnan(total) or total == 0.0:
        return float(sum(part.clusters - 1 for part in parts))
    # Shares rather than variances: the square of a tiny variance would underflow.
    return 1.0 / math.fsum((part.variance / total) ** 2 / (part.clusters - 1) for part in parts)


def _interval(estimate: _Estimate, freedom: float, n: int, level: float) -> Interval:
    quantile = _quantile(freedom, level)
    half = quantile * math.sqrt(estimate.variance) if freedom > 0 else math.nan
    mean = estimate.mean
    return Interval(mean, mean - half, mean + half, n, estimate.clusters)


def _quantile(freedom: float, level: float) -> float:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}, must be between 0 and 1")
    return float(stdtrit(freedom, 0.5 + level / 2)) if freedom > 0 else math.nan


def _wins(scores: Floats, others: Floats) -> Floats:
    """For each score the share of ``others`` below it, ties counting half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, side="left")
    not_above = np.searchsorted(ordered, scores, side="right")
    share: Floats = (below + not_above) / (2 * len(others))
    return share


def _numbers(values: npt.ArrayLike, name: str) -> Floats:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} are not all numbers: {error}") from error
    _check_vector(numbers.shape, name)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}] is {numbers[bad[0]]}, must be finite")
    return numbers


def _codes(ids: npt.ArrayLike, length: int, name: str) -> Codes:
    """Number the distinct ids from 0, in sorted order."""
    array = np.asarray(ids)
    _check_vector(array.shape, name)
    _check_length(len(array), length, name)
    # A missing id would quietly make a cluster of its own. NaN is what differs from itself.
    may_miss = array.dtype.kind not in "biuU"
    missing = [i for i, v in enumerate(array.tolist()) if v is None or v != v] if may_miss else []
    if missing:
        raise ValueError(f"{name}[{missing[0]}] is missing ({array[missing[0]]})")
    if array.dtype == object:
        # Sorting needs one type, and pandas hands strings over as objects.
        array = array.astype(str)
    return np.unique(array, return_inverse=True)[1]


def _labels(labels: npt.ArrayLike, length: int) -> npt.NDArray[np.bool_]:
    numbers = _numbers(labels, "labels")
    _check_length(len(numbers), length, "labels")
    bad = numbers[(numbers != 0) & (numbers != 1)]
    if len(bad):
        raise ValueError(f"label {bad[0]:g} is neither 0 nor 1")
    positive: npt.NDArray[np.bool_] = numbers == 1
    if positive.all() or not positive.any():
        raise ValueError(f"all {length} labels are {numbers[0]:g}; an AUC needs both 0 and 1")
    return positive


def _check_vector(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 1:
        raise ValueError(f"{name} have shape {list(shape)}, must be [n]")
    if not shape[0]:
        raise ValueError(f"{name} are empty")


def _check_length(length: int, expected: int, name: str) -> None:
    if length != expected:
        raise ValueError(f"{name} have {length} rows, must be {expected} as the others")


def _check_nested(codes: Codes, task_codes: Codes, clusters: npt.ArrayLike) -> None:
    # A shared cluster would correlate the tasks, and the sum of variances would be wrong.
    home = np.empty(int(codes.max()) + 1, dtype=np.intp)
    home[codes] = task_codes
    stray = np.flatnonzero(home[codes] != task_codes)
    if len(stray):
        raise ValueError(
            f"cluster {np.asarray(clusters).tolist()[stray[0]]!r} has rows in more than one task; "
            "make cluster ids unique to their task"
        )
