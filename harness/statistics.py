"""The uncertainty of every number: intervals that respect which images share a prompt.

Images of one prompt succeed and fail together, so the prompt, not the image, is the unit that
was sampled: it is the *cluster*. All intervals are ``estimate ± t * standard error`` with a
cluster-robust (sandwich) standard error and Student's t, because there are often so few
clusters that the normal quantile is too small.

A score with tasks is the plain mean of the per-task means. Tasks are fixed, prompts are
sampled within them, so its variance is the sum of the tasks' own variances over the squared
number of tasks, with Welch and Satterthwaite's degrees of freedom. A cluster bootstrap would
be the alternative; it is the worse one here, since resampling G prompts loses the factor
(G - 1) / G of the variance (a quarter at G = 4) and its percentiles know no t quantile: at
four prompts per task a nominal 95 % interval of it covers about 88 %, this one about 95 %.

Where every cluster has the same mean, the variance estimate is 0 and the interval collapses
to its centre; that says that the sample cannot tell, not that the number is exact.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, stdtrit  # type: ignore[import-untyped]

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]


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
    task_codes = _codes(tasks, len(numbers), "tasks")
    codes = _codes(clusters, len(numbers), "clusters")
    _check_nested(codes, task_codes, clusters)
    parts = [
        _clustered_mean(numbers[rows], np.unique(codes[rows], return_inverse=True)[1])
        for rows in (task_codes == task for task in range(task_codes.max() + 1))
    ]
    total = _Estimate(
        mean=math.fsum(part.mean for part in parts) / len(parts),
        variance=math.fsum(part.variance for part in parts) / len(parts) ** 2,
        clusters=sum(part.clusters for part in parts),
    )
    return _interval(total, _satterthwaite(parts), len(numbers), level)


def paired_gain(
    values: npt.ArrayLike,
    baseline: npt.ArrayLike,
    tasks: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
) -> Interval:
    """How much ``values`` exceed ``baseline``, both made from the same prompts and noise.

    Pairing removes what prompt and noise contribute to both sides, so the interval is the
    one of the row-wise differences and usually much narrower than two separate ones suggest.

    Args:
        values: [n] finite numbers or booleans, any unit.
        baseline: [n] the same, row i from the same prompt and noise as ``values[i]``.
        tasks: [n] integers or strings; all equal for a gain without tasks.
        clusters: [n] integers or strings, the prompt of each row.
        level: confidence level in (0, 1).

    Raises:
        ValueError: as in :func:`task_mean_interval`.
    """
    numbers, reference = _numbers(values, "values"), _numbers(baseline, "baseline")
    _check_length(len(reference), len(numbers), "baseline")
    return task_mean_interval(numbers - reference, tasks, clusters, level)


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
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}, must be between 0 and 1")
    half = math.nan
    if freedom > 0:
        half = float(stdtrit(freedom, 0.5 + level / 2)) * math.sqrt(estimate.variance)
    mean = estimate.mean
    return Interval(mean, mean - half, mean + half, n, estimate.clusters)


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
    missing = np.flatnonzero([item is None or item != item for item in array.tolist()])
    if len(missing):
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
