"""What all tables share: the names of an interval's columns, and the order of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.pairing import rank
from harness.analysis.statistics import Difference, Interval

#: Endings of the columns of an interval's bounds, which follow the column of its mean.
CI_LOW, CI_HIGH = "_ci_low", "_ci_high"


def with_interval(column: str, stem: str = "") -> tuple[str, str, str]:
    """A column and those of its interval, ``<stem>_ci_low`` and ``<stem>_ci_high``."""
    return column, f"{stem or column}{CI_LOW}", f"{stem or column}{CI_HIGH}"


def columns_of(interval: Interval | Difference, column: str, stem: str = "") -> dict[str, float]:
    """Mean and bounds under the names of :func:`with_interval`."""
    values = (interval.mean, interval.low, interval.high)
    return dict(zip(with_interval(column, stem), values, strict=True))


def in_order(
    table: pd.DataFrame,
    by: Sequence[str | pd.Series[Any]],
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The rows sorted, and numbered anew.

    Args:
        by: names of columns, or keys [rows] of their own, the first one the most important.
        models, methods: which of them come first, in this order; the others follow by name.
    """
    first = {"model": models, "method": methods}
    columns = [(key, table[key]) if isinstance(key, str) else ("", key) for key in by]
    keys = [rank(key, first[name]) if name in first else key for name, key in columns]
    return table.iloc[np.lexsort([key.to_numpy() for key in reversed(keys)])].reset_index(drop=True)
