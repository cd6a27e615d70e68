"""What a search saw: one row for each image that it scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.results import frames


def trajectory_rows(
    row: dict[str, Any], scored: Sequence[tuple[float, str]]
) -> list[dict[str, Any]]:
    """One row of :data:`harness.results.frames.TRAJECTORIES` for each attempt of an image's search.

    Args:
        row: the image's own row.
        scored: reward and prompt in the order of scoring; NaN where an attempt gave no image.
    """
    values = [value for value, _ in scored]
    identity = {column.name: row[column.name] for column in frames.IDENTITY}
    best = np.fmax.accumulate(np.asarray(values, dtype=np.float64))
    # All scored images cost alike; what a method spends besides, like a noise network's one pass,
    # it spends first.
    each = row["nfe"] // max(1, len(values))
    first = row["nfe"] - len(values) * each
    return [
        identity
        | {"iteration": n, "nfe": first + n * each, "prompt": prompt}
        | {"value": value, "best_value": top}
        for n, ((value, prompt), top) in enumerate(zip(scored, best.tolist(), strict=True), start=1)
    ]
