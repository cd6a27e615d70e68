"""A bootstrap that draws whole clusters of each task, for :mod:`harness.analysis.statistics`."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from harness.analysis.cluster_robust import Codes, Estimate, Floats, clustered_mean

#: Resamples of a bootstrap: at 2000 its bounds move by some hundredths of their width.
RESAMPLES = 2000


def resampled(
    values: Floats, strata: Codes, clusters: Codes, seed: int
) -> tuple[list[Estimate], Floats]:
    """The mean of all rows in resamples of the clusters of each stratum.

    Drawing G clusters loses the share 1 / G of a stratum's variance, so each stratum's deviations
    are stretched by the root of G / (G - 1) (Hesterberg 2015).

    Args:
        values: [n].
        strata, clusters: [n] numbered from 0.
        seed: of the draws; same seed and clusters, same draws.

    Returns:
        Each stratum's part of the mean, its variance that of its share in the mean of all rows
        (NaN for one cluster, which cannot be resampled); and [:data:`RESAMPLES`] deviations from
        the mean.
    """
    parts, deviations = [], np.zeros(RESAMPLES)
    for stratum in range(int(strata.max()) + 1):
        rows = strata == stratum
        own = np.unique(clusters[rows], return_inverse=True)[1]
        part, share = clustered_mean(values[rows], own), rows.sum() / len(values)
        parts.append(part._replace(variance=part.variance * share**2))
        if part.clusters < 2:
            continue
        # From the mean: else the rounding of large values would look like spread.
        sums = np.bincount(own, weights=values[rows] - part.mean)
        weights = draws(part.clusters, seed, stratum)
        drawn = (weights @ sums) / (weights @ np.bincount(own).astype(np.float64))
        deviations += share * math.sqrt(part.clusters / (part.clusters - 1)) * drawn
    return parts, deviations


@lru_cache(maxsize=8)
def draws(n_clusters: int, seed: int, stratum: int = 0) -> Floats:
    """[RESAMPLES, n_clusters], how often each cluster of a stratum is drawn."""
    shares = np.full(n_clusters, 1 / n_clusters)
    drawn = np.random.default_rng((seed, stratum)).multinomial(n_clusters, shares, size=RESAMPLES)
    # As floats, since products of integers take a hundred times as long.
    return drawn.astype(np.float64)
