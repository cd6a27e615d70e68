"""A table: a function of frames, which it names by its parameters, that returns a DataFrame."""

from __future__ import annotations

import pandas as pd


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean of every metric, and its number of images, by model and method."""
    groups = scores.groupby(["model", "method", "metric"])["value"]
    return groups.agg(mean="mean", n_images="count").reset_index()
