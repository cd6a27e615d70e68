"""How much the images of a prompt differ: the paper's table 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.analysis import published
from harness.analysis.interval_columns import columns_of, in_order
from harness.analysis.pairing import (
    CELL,
    NETWORK,
    SEED,
    name_cell,
    require,
    select,
    stop_on,
    without_baseline,
)
from harness.analysis.statistics import NO_INTERVAL
from harness.analysis.training_seeds import FIRST_NOTES, interval_of, numbered, said
from harness.results.frames import NO_SEED
from harness.similarity.protocol import ENDINGS

_FOREIGN = (
    "Images of {} are another tool's, from noise of their own: their changes, too, are measured "
    "prompt by prompt."
)
_KEY = [*NETWORK, "metric", "prompt_id", "prompt_meaning"]


def table(
    pairs: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    departures: Sequence[str] = (),
) -> pd.DataFrame:
    """Mean distance and similarity of the images of a prompt, for every model and method.

    Args:
        pairs: pair rows of one benchmark; every method has every pair of every prompt.
        models, methods: what to show, in this order; all by name if None, the baseline first.
        baseline: the method that changes are measured against, prompt by prompt.
        departures: what keeps printed numbers away (:func:`harness.analysis.published.finished`).

    Returns:
        One row per model, method, reward and steps: world, n_prompts, n_images (of each prompt),
        and for each metric its mean over all pairs, with the 95 % interval clustered by meaning;
        its standard deviation over prompts (the paper's ±), of several training seeds the mean of
        theirs; and its change against the baseline with the interval of the paired differences, NaN
        for the baseline itself. Of a ``_distance`` higher is more diverse, of a ``_similarity``
        lower is. Published means stand beside ours where the benchmark is the paper's.

    Raises:
        FrameError: a method, its baseline or a pair is missing, there is more than one benchmark,
            or methods have other prompts.
    """
    require(pairs, [*_KEY, "benchmark", "seed", "image_index", "other_index", "value"], "pairs")
    chosen, faults = select(pairs, models, methods)
    foreign = sorted(set(chosen.loc[chosen["seed"] == NO_SEED, "method"]))
    sentences = [*said(chosen), *([_FOREIGN.format(", ".join(foreign))] if foreign else [])]
    chosen = numbered(chosen)
    cells = chosen[list(CELL)].drop_duplicates().sort_values(list(CELL), ignore_index=True)
    stop_on(faults + _faults(chosen) + without_baseline(cells, baseline), "table7")
    means = chosen.groupby(_KEY)["value"].agg(["mean", "size"]).reset_index()
    n_pairs = int(means["size"].iloc[0])
    # n (n - 1) / 2 pairs of n images.
    n_images = round((1 + (1 + 8 * n_pairs) ** 0.5) / 2)
    rows = []
    for cell in cells.to_dict("records"):
        own = _by_metric(means, cell)
        base = _by_metric(means, {**cell, "method": baseline, "reward": ""})
        sampled = own.index.to_frame(index=False)
        prompts = sampled["prompt_id"]
        row: dict[Any, Any] = {**cell, "n_prompts": prompts.nunique(), "n_images": n_images}
        for metric in own.columns:
            values = own[metric].to_numpy()
            row |= columns_of(interval_of(values, sampled), f"{metric}_mean")
            row[f"{metric}_std"] = float(own[metric].groupby(SEED).std().mean())
            change = NO_INTERVAL
            if cell["method"] != baseline:
                of_base = base[metric].groupby("prompt_id").mean().loc[prompts].to_numpy()
                change = interval_of(values - of_base, sampled)
            row |= columns_of(change, f"{metric}_change_mean")
        rows.append(row)
    by = ("model", "steps", "method", "reward")
    made = in_order(pd.DataFrame(rows), by, models, methods or [baseline])
    benchmark = str(chosen["benchmark"].iloc[0])
    made.insert(len(CELL), "world", published.world(benchmark))
    made.attrs[FIRST_NOTES] = sentences
    return published.finished(made, "table7", benchmark, (), (), departures)


def _faults(pairs: pd.DataFrame) -> list[str]:
    faults = []
    # Images of other tools have no seed; diversity compares those of one method.
    for name, of in (("benchmark", pairs), ("seed", pairs[pairs["seed"] != NO_SEED])):
        found = sorted(map(str, of[name].unique()))
        if len(found) > 1:
            faults.append(f"one {name} per table, these are {', '.join(found)}")
    for metric in pairs["metric"].unique():
        if not metric.endswith(tuple(ENDINGS)):
            faults.append(f"metric {metric!r} must end in {' or '.join(ENDINGS)}")
    indices = pairs.groupby(_KEY)[["image_index", "other_index"]].agg(["nunique", "size"])
    n_pairs = indices[("image_index", "size")]
    n_images = indices[("image_index", "nunique")] + 1
    whole = (n_pairs == n_images * (n_images - 1) // 2) & (n_images == n_images.max())
    for *values, metric, prompt, _ in whole.index[~whole]:
        cell = name_cell(pd.Series(values, NETWORK))
        faults.append(f"{cell}, {metric} of {prompt}: pairs are missing")
    n_prompts = whole.groupby(level=[*NETWORK, "metric"]).size().unstack(fill_value=0)
    everything = pairs["prompt_id"].nunique()
    for values, row in n_prompts.iterrows():
        cell = name_cell(pd.Series(values, NETWORK))
        short = [f"{metric} of {n} prompts" for metric, n in row.items() if n != everything]
        faults += [f"{cell}: {', '.join(short)}, not of {everything}"] if short else []
    return faults


def _by_metric(means: pd.DataFrame, cell: Mapping[Any, Any]) -> pd.DataFrame:
    """Means [prompts of each network, metrics] of one cell."""
    own = means[(means[list(CELL)] == pd.Series(cell)[list(CELL)]).all(axis=1)]
    sampled = [SEED, "prompt_id", "prompt_meaning"]
    return own.pivot(index=sampled, columns="metric", values="mean")
