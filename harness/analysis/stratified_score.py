"""An interval for the plain mean of several tasks' shares of right images that holds near 0 and 1.

A standard error from the data is 0 in a task whose images are all right, though those of the next
sample might not be: near 1 a t interval of six tasks covers 78 to 94 % where it says 95. Wilson
(1927) took the standard error not at the observed share but at the bound that is tried. Here that
is done for the mean of tasks: the score interval of a stratified proportion, with the tasks' shares
at each bound the most likely ones that have it as their mean (for two strata and their difference:
Miettinen and Nurminen 1985). Putting together the tasks' own limits (MOVER, Zou and Donner 2008)
was tried, too, and covers 87 to 94 % near 1: no limit of an all-right task says how far it may
have come up by chance.

Images of a prompt are alike, so n images count as ``n / (1 + (m - 1) rho)``, where m is the number
of images per prompt (Kish's design effect). The intraclass correlation rho is one for all tasks,
since a task of four prompts cannot tell its own; where nearly all images are right it cannot be
told at all, so it is drawn towards :data:`USUAL_RHO` with the weight :data:`USUAL_WEIGHT`. Only the
design effect is estimated from few prompts, so only its share of a variance costs degrees of
freedom.

Simulated coverage of 95 % (means .60, .79, .95 and .98, intraclass correlations of 0 to .5, three
ways to spread a mean over the tasks): 94.0 to 97.8 %, with 4 to 28 prompts of 4 images as with 4 to
32 prompts of 32 to 4 images.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.analysis.cluster_robust import (
    Codes,
    Estimate,
    Floats,
    clustered_mean,
    joined,
    quantile,
)

#: The intraclass correlation that images of a prompt usually have (measured: 0 to .2), and what it
#: weighs, on the scale of the sum over tasks of share * (1 - share) * (images per prompt - 1).
USUAL_RHO, USUAL_WEIGHT = 0.2, 0.1
#: How many images of each task are taken to differ beyond those that do, in the variance of a
#: paired difference. Simulated coverage with none: 94 to 96 % at means of .79 and .60, but down to
#: 89 % where one side is all right in most tasks (.99 and .93); with .4: 93.2 to 98.9 %, and the
#: width at .79 and .60 as it was. Where nearly no image differs it errs to the safe side.
UNSEEN = 0.4
#: The bounds are found to this many halvings of an interval of log multipliers.
_HALVINGS, _LOG_MULTIPLIERS = 40, (-16.0, 16.0)


class _Tasks(NamedTuple):
    """T tasks: [T] their means, the variances of one image about them, effective numbers of images,
    the share of each variance that is the design effect's, and numbers of clusters."""

    means: Floats
    variances: Floats
    n: Floats
    of_design: Floats
    clusters: Floats
    whole: Estimate

    def freedom(self, variances: Floats) -> float:
        """Degrees of freedom of a sum of the tasks' variances [T]."""
        shares = variances / variances.sum() * self.of_design
        return 1 / max(float((shares**2 / (self.clusters - 1)).sum()), 1e-9)


def score_bounds(
    values: Floats, tasks: Codes, clusters: Codes, level: float
) -> tuple[Estimate, float, float, float]:
    """The mean of tasks' shares and its score bounds.

    Args:
        values: [n] zeros and ones.
        tasks, clusters: [n] their tasks and prompts, numbered from 0.
        level: confidence level in (0, 1).

    Returns:
        The estimate with the usual variance, NaN where a task has one cluster; degrees of freedom;
        the lower and the upper bound, NaN likewise.
    """
    found = _by_task(values, tasks, clusters)
    if math.isnan(found.whole.variance):
        return found.whole, math.nan, math.nan, math.nan
    # The tasks' weights in the degrees of freedom are those at shares drawn away from 0 and 1.
    inner = (found.means * found.n + 2) / (found.n + 4)
    freedom = found.freedom(inner * (1 - inner) / found.n)
    reach, mean = quantile(freedom, level), found.whole.mean
    low, high = _bound(found.means, found.n, reach), 1 - _bound(1 - found.means, found.n, reach)
    return found.whole, freedom, min(low, mean), max(high, mean)


def share_difference(differences: Floats, tasks: Codes, clusters: Codes) -> tuple[Estimate, float]:
    """The plain mean over tasks of paired differences of zeros and ones, and degrees of freedom.

    Args:
        differences: [n] of -1, 0 and 1, not all 0.
        tasks, clusters: [n] as for :func:`score_bounds`.

    Returns:
        The estimate, its variance from the design effect of all tasks and :data:`UNSEEN`; NaN where
        a task has one cluster.
    """
    found = _by_task(differences, tasks, clusters)
    if math.isnan(found.whole.variance):
        return found.whole, math.nan
    variances = found.variances / found.n + UNSEEN / found.n**2
    variance = float(variances.sum()) / len(variances) ** 2
    return found.whole._replace(variance=variance), found.freedom(variances)


def _by_task(values: Floats, tasks: Codes, clusters: Codes) -> _Tasks:
    parts, sizes, images_per_cluster, single = [], [], [], []
    for task in range(int(tasks.max()) + 1):
        own = values[tasks == task]
        codes = np.unique(clusters[tasks == task], return_inverse=True)[1]
        parts.append(clustered_mean(own, codes))
        single.append(float(own.var()))
        sizes.append(float(len(own)))
        images_per_cluster.append(float((np.bincount(codes) ** 2).sum()) / len(own))
    whole = joined(parts)
    means, variances, n_clusters = (np.array(column, float) for column in zip(*parts, strict=True))
    n, spread, excess = np.array(sizes), np.array(single), np.array(images_per_cluster) - 1
    seen = float((n * variances - spread).sum()) + USUAL_WEIGHT * USUAL_RHO
    rho = min(max(seen / (float((spread * excess).sum()) + USUAL_WEIGHT), 0.0), 1.0)
    design_effects = 1 + excess * rho
    of_design = 1 - 1 / design_effects
    return _Tasks(means, spread, n / design_effects, of_design, n_clusters, whole)


def _bound(shares: Floats, n: Floats, reach: float) -> float:
    """The smallest mean that the observed one exceeds by at most ``reach`` standard errors."""
    n_tasks = len(shares)
    below, above = _LOG_MULTIPLIERS
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        # The most likely shares with a given mean solve n (share - x) = multiplier * x (1 - x).
        multiplier = math.exp(middle)
        root = np.sqrt(np.maximum((n + multiplier) ** 2 - 4 * multiplier * n * shares, 0))
        likely = np.minimum(2 * n * shares / (n + multiplier + root), 1)
        error = math.sqrt(float((likely * (1 - likely) / n).sum())) / n_tasks
        if float((shares - likely).mean()) > reach * error:
            above = middle
        else:
            below = middle
    return float(likely.mean())
