"""How many trainings stand for each trained method, in words and in rows."""

from __future__ import annotations

import numpy.typing as npt
import pandas as pd

from harness.analysis.pairing import CELL, NETWORK, SEED, Integers
from harness.analysis.statistics import Interval, mean_interval

#: What a table says in ``attrs`` that stands before all other notes.
FIRST_NOTES = "first_notes"
_ONE = (
    "One training stands for each trained method: what differs between trainings is in no "
    "interval and no p value."
)


def said(rows: pd.DataFrame) -> list[str]:
    """What a table says first: on how many trainings the numbers of its trained methods rest.

    Args:
        rows: of frames or networks, with the columns of :data:`harness.analysis.pairing.NETWORK`.

    Returns:
        A sentence; none where nothing is trained.
    """
    trained = rows[list(NETWORK)].drop_duplicates().dropna(subset=[SEED])
    counts = trained.groupby(list(CELL), sort=False)[SEED].nunique()
    if counts.empty or counts.max() == 1:
        return [_ONE] if len(counts) else []
    seeds = ", ".join(str(seed) for seed in sorted(trained[SEED].unique()))
    alone = list(dict.fromkeys(cell[1] for cell in counts.index[counts == 1]))
    exception = f" But one training stands for {', '.join(alone)}." if alone else ""
    return [
        f"Numbers of trained methods are means over networks of several training seeds ({seeds}): "
        "intervals and p values contain what differs between trainings; _seed_sd, where it is "
        f"shown, is the standard deviation over them.{exception}"
    ]


def seeds_in(rows: pd.DataFrame) -> Integers | None:
    """The training seed of each row [n], where there are several; None for one and for none."""
    seeds = rows[SEED]
    return seeds.to_numpy(dtype="int64") if seeds.nunique() > 1 else None


def interval_of(values: npt.ArrayLike, rows: pd.DataFrame) -> Interval:
    """The plain mean of values [n] with the variance between the seeds of their rows [n] in its
    interval; the rows' ``prompt_meaning`` are the clusters."""
    return mean_interval(values, rows["prompt_meaning"].to_numpy(), seeds=seeds_in(rows))


def numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose training seed is a number, -1 where it is missing: they can be grouped by it."""
    return rows.assign(**{SEED: pd.to_numeric(rows[SEED]).fillna(-1).astype("int64")})


def first_network(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each cell the rows of the network with the smallest training seed: what is shown where
    one image has to stand for a method."""
    smallest = rows.groupby(list(CELL))[SEED].transform("min")
    return rows[rows[SEED].isna() | rows[SEED].eq(smallest).fillna(False).astype(bool)]
