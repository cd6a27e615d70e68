"""The KL of noise networks, term by term: a pure function of audit frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.interval_columns import columns_of, in_order, with_interval
from harness.analysis.pairing import require, select, stop_on
from harness.analysis.statistics import NO_INTERVAL, mean_interval
from harness.results import frames

_CHECKPOINT = ("model", "method", "reward", "training_seed", "step")
_INTERVALS = ("half_squared_norm_nats", "dropped_nats", "kl_nats")
TABLE_COLUMNS = (
    *_CHECKPOINT,
    "is_kept",
    "temperature",
    "n_images",
    *(column for name in _INTERVALS for column in with_interval(name)),
    "dropped_se_nats",
    "trace_nats",
    "log_abs_det_nats",
    "largest_singular_value",
    "largest_singular_value_median",
    "share_above_1",
    "bound_nats",
    "bound_holds",
    "smallest_singular_value",
    "n_reversed",
    "n_singular",
    "n_sign_unknown",
)


def kl_table(
    audits: pd.DataFrame,
    *,
    temperatures: Mapping[str, Mapping[str, tuple[float, str]]] | None = None,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The KL of noise networks over their training, term by term, and theorem 1's premise.

    Args:
        audits: audit rows.
        temperatures: model -> method -> (temperature, L2 reduction) of its training.
        models, methods: what to show, in this order; all by name if None.

    Returns:
        One row per model, method, reward, training seed and step, with :data:`TABLE_COLUMNS`.
        Terms are means over images, in nats, with 95 % intervals clustered by meaning.
        ``temperature`` is that of the sum over dimensions, whatever the training used (1 / d of it
        for the mean).
        ``largest_singular_value`` is the largest over images: L of theorem 1 from below;
        ``share_above_1`` the share of images where it is 1 or more; ``bound_nats`` the theorem's
        bound for that L, missing for L >= 1; ``bound_holds`` whether there is a bound and the
        mean |dropped| is within it. ``dropped_se_nats`` is the mean's error from random probes
        alone. ``n_reversed`` counts images with det(I + J) < 0, which make the formula a lower
        bound of the KL.

    Raises:
        FrameError: a column is missing, or an asked-for model or method has no rows.
    """
    require(audits, frames.AUDITS.names, "audits")
    rows, faults = select(audits, models, methods)
    stop_on(faults, "audit")
    found = pd.DataFrame(
        [
            dict(zip(_CHECKPOINT, key, strict=True)) | _summary(group, temperatures or {})
            for key, group in rows.groupby(list(_CHECKPOINT), dropna=False)
        ]
    )
    table = in_order(found, _CHECKPOINT, models, methods)[list(TABLE_COLUMNS)]
    return table.astype({"training_seed": "Int64"})


def _summary(
    rows: pd.DataFrame, temperatures: Mapping[str, Mapping[str, tuple[float, str]]]
) -> dict[str, Any]:
    steepest = rows.iloc[int(rows["largest_singular_value"].to_numpy().argmax())]
    bound, first = float(steepest["bound_nats"]), rows.iloc[0]
    temperature, reduction = temperatures.get(first["model"], {}).get(
        first["method"], (float("nan"), "")
    )
    means: dict[str, float] = {}
    for term in _INTERVALS:
        values = rows[term]
        # A singular I + J makes the mean infinite, without an interval.
        found = NO_INTERVAL._replace(mean=float(values.mean()))
        if np.isfinite(values).all():
            found = mean_interval(values.to_numpy(), rows["prompt_meaning"].to_numpy())
        means |= columns_of(found, term)
    return means | {
        "is_kept": bool(first["is_kept"]),
        "temperature": temperature / (first["n_dimensions"] if reduction == "mean" else 1),
        "n_images": len(rows),
        "dropped_se_nats": float(np.sqrt(rows["dropped_se_nats"].pow(2).sum()) / len(rows)),
        "trace_nats": float(rows["trace_nats"].mean()),
        "log_abs_det_nats": float(rows["log_abs_det_nats"].mean()),
        "largest_singular_value": float(steepest["largest_singular_value"]),
        "largest_singular_value_median": float(rows["largest_singular_value"].median()),
        "share_above_1": float((rows["largest_singular_value"] >= 1).mean()),
        "bound_nats": bound,
        # False where there is no bound: nothing is within NaN.
        "bound_holds": float(rows["dropped_nats"].abs().mean()) <= bound,
        "smallest_singular_value": float(rows["smallest_singular_value"].min()),
        "n_reversed": int((rows["sign"] < 0).sum()),
        "n_singular": int((rows["sign"] == 0).sum()),
        "n_sign_unknown": int(rows["sign"].isna().sum()),
    }
