"""Means of clustered rows and their variances, for :mod:`harness.analysis.statistics`."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit  # type: ignore[import-untyped]

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]


class Estimate(NamedTuple):
    """A mean, its variance (NaN where one cluster leaves it unknown), and how many clusters."""

    mean: float
    variance: float
    clusters: int


def task_mean(
    numbers: Floats, tasks: npt.ArrayLike, clusters: npt.ArrayLike
) -> tuple[Estimate, float]:
    """The plain mean of the per-task means, and its degrees of freedom."""
    of_task, codes = task_codes(tasks, clusters, len(numbers))
    parts = [
        clustered_mean(numbers[rows], np.unique(codes[rows], return_inverse=True)[1])
        for rows in (of_task == task for task in range(of_task.max() + 1))
    ]
    return joined(parts), satterthwaite(parts)


def task_codes(tasks: npt.ArrayLike, clusters: npt.ArrayLike, length: int) -> tuple[Codes, Codes]:
    """Tasks and clusters [length], numbered from 0; ValueError if a cluster has two tasks."""
    of_task, codes = codes_of(tasks, length, "tasks"), codes_of(clusters, length, "clusters")
    check_nested(codes, of_task, clusters)
    return of_task, codes


def joined(parts: list[Estimate], n: int = 0) -> Estimate:
    """The plain mean of independent estimates; their sum over ``n`` where that is given."""
    n = n or len(parts)
    return Estimate(
        mean=math.fsum(part.mean for part in parts) / n,
        variance=math.fsum(part.variance for part in parts) / n**2,
        clusters=sum(part.clusters for part in parts),
    )


def contrast(
    values: Floats, codes: Codes, first: npt.NDArray[np.bool_], task: object
) -> list[Estimate]:
    """Independent parts of the mean of some rows minus that of the others.

    They are one for each side where the two have no cluster in common, else one for both.
    """
    if first.all() or not first.any():
        raise ValueError(f"task {task} is on one side only")
    sides = [(values[rows], codes[rows]) for rows in (first, ~first)]
    if not set(sides[0][1]) & set(sides[1][1]):
        one, two = (clustered_mean(own, np.unique(of, return_inverse=True)[1]) for own, of in sides)
        return [one, two._replace(mean=-two.mean)]
    influence = np.empty_like(values)
    means = []
    for rows, sign in ((first, 1.0), (~first, -1.0)):
        means.append(float(values[rows].mean()))
        influence[rows] = sign * (values[rows] - means[-1]) / rows.sum()
    own = np.unique(codes, return_inverse=True)[1]
    # Deviations from the mean of the only cluster add up to 0, whatever its prompt contributes.
    known = all(len(np.unique(of)) > 1 for _, of in sides)
    variance = _sandwich(influence, own) if known else math.nan
    return [Estimate(means[0] - means[1], variance, int(own.max()) + 1)]


def clustered_mean(values: Floats, codes: Codes) -> Estimate:
    """The mean of values [n] whose clusters are numbered from 0 by codes [n]."""
    mean = float(values.mean())
    # A constant sample must have variance 0: the rounding of its mean is no evidence.
    spread = values - mean if np.ptp(values) else np.zeros_like(values)
    return Estimate(mean, _sandwich(spread / len(values), codes), int(codes.max()) + 1)


def _sandwich(influence: Floats, codes: Codes) -> float:
    sums = np.bincount(codes, weights=influence)
    if len(sums) < 2:
        return math.nan
    # An estimate follows its own clusters, which hides one degree of freedom of G.
    return float(np.sum(sums**2)) * len(sums) / (len(sums) - 1)


def satterthwaite(parts: list[Estimate]) -> float:
    """Degrees of freedom of the plain mean of independent estimates."""
    total = math.fsum(part.variance for part in parts)
    if math.isnan(total) or total == 0.0:
        return float(sum(part.clusters - 1 for part in parts))
    # Shares rather than variances: the square of a tiny variance would underflow.
    return 1.0 / math.fsum((part.variance / total) ** 2 / (part.clusters - 1) for part in parts)


def quantile(freedom: float, level: float) -> float:
    """How many standard errors an interval reaches: Student's t; NaN without freedom."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}, must be between 0 and 1")
    return float(stdtrit(freedom, 0.5 + level / 2)) if freedom > 0 else math.nan


def numbers_of(values: npt.ArrayLike, name: str) -> Floats:
    """Values [n] as floats; ValueError, with their name, unless they are finite and not empty."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} are not all numbers: {error}") from error
    _check_vector(numbers.shape, name)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}] is {numbers[bad[0]]}, must be finite")
    return numbers


def codes_of(ids: npt.ArrayLike, length: int, name: str) -> Codes:
    """Number the distinct ids from 0, in sorted order."""
    array = np.asarray(ids)
    _check_vector(array.shape, name)
    check_length(len(array), length, name)
    # A missing id would quietly make a cluster of its own. NaN is what differs from itself.
    may_miss = array.dtype.kind not in "biuU"
    missing = [i for i, v in enumerate(array.tolist()) if v is None or v != v] if may_miss else []
    if missing:
        raise ValueError(f"{name}[{missing[0]}] is missing ({array[missing[0]]})")
    if array.dtype == object:
        # Sorting needs one type, and pandas hands strings over as objects.
        array = array.astype(str)
    return np.unique(array, return_inverse=True)[1]


def _check_vector(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 1:
        raise ValueError(f"{name} have shape {list(shape)}, must be [n]")
    if not shape[0]:
        raise ValueError(f"{name} are empty")


def check_length(length: int, expected: int, name: str) -> None:
    """ValueError unless something has as many rows as the values."""
    if length != expected:
        raise ValueError(f"{name} have {length} rows, must be {expected} as the others")


def check_nested(codes: Codes, task_codes: Codes, clusters: npt.ArrayLike) -> None:
    """ValueError if a cluster has rows in two tasks."""
    # A shared cluster would correlate the tasks, and the sum of variances would be wrong.
    home = np.empty(int(codes.max()) + 1, dtype=np.intp)
    home[codes] = task_codes
    stray = np.flatnonzero(home[codes] != task_codes)
    if len(stray):
        raise ValueError(
            f"cluster {np.asarray(clusters).tolist()[stray[0]]!r} has rows in more than one task; "
            "make cluster ids unique to their task"
        )
