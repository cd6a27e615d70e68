"""How far each method's images are from the generator's own: one row per method and network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cluster_robust import quantile
from harness.analysis.interval_columns import columns_of, in_order
from harness.analysis.pairing import CELL, require, select, stop_on, without_baseline
from harness.analysis.statistics import Interval
from harness.analysis.training_seeds import FIRST_NOTES, numbered, said

_KEY = [*CELL, "features", "reference"]
_SIZES = ["n_images", "n_reference", "n_dimensions", "n_groups"]
#: Metric -> what a table says of it.
METRICS: Mapping[str, str] = {
    "frechet": "Frechet distance; too large for few images, so of equal n only",
    "kid": "kernel distance, unbiased: 0 on average for images of one kind",
    "cmmd": "1000 times the squared MMD of unit vectors",
    "precision": "share of images that are among the reference's",
    "recall": "share of the reference that is among the images",
}
#: Metric -> where its values lie; an unbiased distance may be below 0.
_RANGES = {"precision": (0.0, 1.0), "recall": (0.0, 1.0)} | dict.fromkeys(
    ("frechet", "cmmd"), (0.0, np.inf)
)
_NOTES = (
    "The base's own row is what two draws of the same images are apart: no method can be closer "
    "but by chance.",
    "Frechet distances of few images are too large, by more the more dimensions the features have: "
    "compare them at equal n_images and n_dimensions only, and with the base's own row.",
    "Intervals are by groups of prompts that are left out in turn (jackknife).",
)


def fidelity(
    distances: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
) -> pd.DataFrame:
    """Distances of each method's images from a reference, with intervals.

    Args:
        distances: rows of the frame of that name, of one benchmark.
        models, methods: what to show, in this order; all by name if None, the baseline first.
        baseline: the method whose own row says how far two draws of one kind are apart.

    Returns:
        One row per model, method, reward, steps, feature network and reference: n_images,
        n_reference, n_dimensions, n_groups, and each of :data:`METRICS` with its 95 % interval; of
        several training seeds the mean, with what differs between them in the interval.

    Raises:
        FrameError: a method or the baseline is missing.
    """
    require(distances, (*_KEY, "metric", "value", "se", "training_seed", *_SIZES), "distances")
    chosen, faults = select(distances, models, methods)
    cells = chosen[list(CELL)].drop_duplicates().sort_values(list(CELL), ignore_index=True)
    stop_on(faults + without_baseline(cells, baseline), "fidelity")
    sentences = said(chosen)
    rows = []
    for key, own in numbered(chosen).groupby(_KEY, sort=True):
        row: dict[Any, Any] = dict(zip(_KEY, key, strict=True))
        row |= {name: int(own[name].iloc[0]) for name in _SIZES}
        for metric in METRICS:
            row |= columns_of(interval_of(own[own["metric"] == metric]), metric)
        rows.append(row)
    by = ("model", "steps", "features", "reference", "method", "reward")
    made = in_order(pd.DataFrame(rows), by, models, methods or [baseline])
    made.attrs[FIRST_NOTES] = [*sentences, *_NOTES]
    made.attrs["columns"] = {
        name: {"unit": "", "meaning": meaning, "best": "", "form": "three_digits"}
        for name, meaning in METRICS.items()
    }
    return made


def interval_of(rows: pd.DataFrame) -> Interval:
    """One distance with its 95 % interval, of the rows of one metric, one per training seed.

    Networks share the reference and the prompts, so the errors of several do not average out.
    """
    values, errors = rows["value"].to_numpy(), rows["se"].to_numpy(dtype=float)
    n, groups = len(values), int(rows["n_groups"].iloc[0])
    between = float(np.var(values, ddof=1)) / n if n > 1 else 0.0
    reach = float(np.sqrt(np.mean(np.square(errors)) + between)) * quantile(groups - 1, 0.95)
    mean = float(values.mean())
    least, most = _RANGES.get(str(rows["metric"].iloc[0]), (-np.inf, np.inf))
    return Interval(mean, max(mean - reach, least), min(mean + reach, most), n, groups)
