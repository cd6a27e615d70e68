"""Rewards of the validation prompts during training."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import double_or_broken, missing, require, select, stop_on
from harness.base.errors import unknown

#: Validation values of the training itself: its reward, and how far its noise moved.
OWN = ("reward", "half_squared_norm_nats", "kl_nats", "delta_rms")


def curve(
    training: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    reward: str | None = None,
) -> pd.DataFrame:
    """Rewards of the validation prompts during training.

    Args:
        training: training rows; those of kind ``validation`` are used.
        models, methods: what to show, in this order; all by name if None.
        reward: the training reward to show; all if None.

    Returns:
        Rows with model, method, reward, training_seed, step, sorted by these, and for each value
        that was measured its column ``validation_<name>``, NaN where a training did not measure it.

    Raises:
        FrameError: there is no such training, or a value is double or not finite.
    """
    key = ["model", "method", "reward", "training_seed", "step"]
    require(training, [*key, "kind", "name", "value"], "training")
    validations = training[training["kind"] == "validation"]
    rows, faults = select(validations, models, methods)
    known = sorted(validations["reward"].unique())
    if reward is not None and reward not in known:
        faults.append(f"no training on reward {reward!r} (there: {', '.join(known) or 'none'})")
    rows = rows if reward is None else rows[rows["reward"] == reward]
    faults += double_or_broken(rows, [*key, "name"])
    if rows.empty and not faults:
        faults.append("training has no validation rows")
    stop_on(faults, "curve")
    wide = rows.pivot(index=key, columns="name", values="value").sort_index(axis=1)
    table = wide.add_prefix("validation_").rename_axis(columns=None).reset_index()
    return in_order(table, key, models, methods)


def judges_in(table: pd.DataFrame) -> list[str]:
    """The judges whose rewards a table of :func:`curve` holds: all values but the training's."""
    names = [c.removeprefix("validation_") for c in table.columns if c.startswith("validation_")]
    return [name for name in names if name not in OWN and not name.endswith("_se")]


def without_validations(
    table: pd.DataFrame, columns: Sequence[str], models: Sequence[str], methods: Sequence[str]
) -> list[str]:
    """What a table of :func:`curve` lacks for a drawing, a line each.

    Args:
        columns: of the table that are drawn.
        models, methods: all of which are drawn.
    """
    there = [name for name in table.columns if name.startswith("validation_")]
    faults = [str(unknown("validation value", n, there)) for n in columns if n not in there]
    faults += missing(table, models, methods)
    if faults:
        return faults
    return [
        f"{row['model']} {row['method']}: no {name} at step {row['step']}"
        for row in table.to_dict("records")
        for name in columns
        if pd.isna(row[name])
    ]
