"""What a gain in the trained reward costs: everything else beside it, and per unit of it.

A reward that is maximised rises whatever happens to images. Here rewards that nobody trained on,
the judge, the benchmark, diversity and the distance from the generator's own images stand beside
it, for a noise network, for every checkpoint of a fine-tuning, and for searches at every budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.analysis.columns import Column, described
from harness.analysis.controls import gain
from harness.analysis.fidelity import interval_of
from harness.analysis.gains import (
    CORRECT,
    TRAIN,
    Cell,
    correct,
    lay_out,
    metrics_of,
    scored,
    stem_of,
    tabulate,
)
from harness.analysis.interval_columns import CI_HIGH, CI_LOW, columns_of, in_order
from harness.analysis.pairing import CELL, require, stop_on
from harness.analysis.recovered_gain import share_interval
from harness.analysis.regularisation import Settings, states_of
from harness.analysis.statistics import NO_INTERVAL, Interval, mean_interval
from harness.analysis.training_seeds import FIRST_NOTES, numbered

#: The distance that says whether images are off the generator's: unbiased, whatever their number.
DISTANCE = "kid"
_DISTANCES_KEY = [*CELL, "features", "reference"]


def hacking(
    scores: pd.DataFrame,
    distances: pd.DataFrame,
    training: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    *,
    settings: Settings,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Gains of every measure over the base, per unit of the trained reward's gain, and distances.

    Args:
        scores: score rows of one benchmark, with every metric for each image.
        distances: distances of the same images from the base's own.
        training: the rows of every training that the settings name.
        pairs: pair rows of the same images, to say how diverse those of a prompt are.
        settings: which training and checkpoint each trained method uses.
        models, methods: what to show, in this order.
        baseline: the method that gains are measured against, image by image.
        metric, judges: as for :func:`harness.analysis.gains.metrics_of`.

    Returns:
        One row per model, method and steps: training_steps, half_squared_norm_nats (NaN where no
        network moves noise: only there is it the penalised part of a KL), sizes, means and gains of
        every measure; ``win_rate_<measure>``, the share of images that score above the base's of
        the same noise, ties counting half; ``<measure>_per_reward``, its gain divided by that of
        the trained reward, with Fieller's interval; distances in every feature network, each with
        its interval, and ``off_<features>``, whether the interval of the kernel distance lies above
        the base's own; with pairs, the means of their metrics. Notes say where each kind of method
        is first off.

    Raises:
        FrameError: a method, the baseline, a score, a distance or a training's step is missing.
    """
    require(distances, (*_DISTANCES_KEY, "metric", "value", "se", "n_groups"), "distances")
    metrics = metrics_of(scores, metric, judges)
    paired, faults = lay_out(scores, metrics, models, methods, None, baseline)
    states, lacking = states_of(training, settings)
    known = distances[list(CELL)].drop_duplicates()
    unknown = paired.cells.merge(known, how="left", indicator=True)
    none = unknown[unknown["_merge"] == "left_only"]
    lacking += [f"{row.model} {row.method}: no distances" for row in none.itertuples()]
    stop_on([*faults, *lacking], "hacking")

    def setting(name: str, meaning: str) -> Column:
        def of(cell: Cell) -> float:
            own = states.get((cell.identity("model"), cell.identity("method")), {})
            return float(own.get(name, math.nan))

        return Column(name, of, meaning)

    columns = [
        setting("training_steps", "optimizer steps of the state that was used"),
        setting("half_squared_norm_nats", "half the mean squared norm of the displacement"),
        *scored(metrics),
        *(gain(name, metric) for name in metrics.names),
        *(win_rate(name) for name in metrics.rewards),
        *(per_reward(name) for name in metrics.names if name != TRAIN),
    ]
    table = correct(tabulate(paired, columns, baseline), baseline)
    attrs = table.attrs
    cells = table[list(CELL)].itertuples(index=False, name=None)
    measured = dict(iter(numbered(distances).groupby(_DISTANCES_KEY)))
    found = pd.DataFrame([distances_of(cell, measured) for cell in cells])
    table = pd.concat([table, found], axis=1)
    names = sorted(map(str, distances["features"].unique()))
    for name in names:
        table[f"off_{name}"] = is_off(table, f"{DISTANCE}_{name}", baseline)
    if pairs is not None:
        require(pairs, (*CELL, "metric", "value"), "pairs")
        means = pairs.pivot_table("value", list(CELL), "metric").add_suffix("_mean")
        table = table.merge(means.rename_axis(columns=None).reset_index(), "left", on=list(CELL))
    table = in_order(table, ("model", "steps", "method"), models, methods or [baseline])
    table.attrs = attrs
    table.attrs["columns"] = described(columns)
    table.attrs[FIRST_NOTES] = [*attrs.get(FIRST_NOTES, []), *first_off(table, names, baseline)]
    return table


def family(method: str) -> str:
    """A method without its arguments: ``best_of_n:n=8`` is one of ``best_of_n``."""
    return method.partition(":")[0]


def win_rate(measure: str) -> Column:
    """The column of the share of images that score above the base's of the same noise."""

    def of(cell: Cell) -> Interval:
        if cell.base in (None, cell.index) or not cell.is_paired:
            return NO_INTERVAL
        rows = cell.gains_beside(int(cell.base or 0), measure)
        wins = np.where(rows.values == 0, 0.5, (rows.values > 0).astype(float))
        found = mean_interval(wins, rows.meanings, seeds=rows.seeds)
        return found._replace(low=max(found.low, 0.0), high=min(found.high, 1.0))

    said = f"share of images with a higher {measure} than the base's of the same noise"
    return Column(f"win_rate_{stem_of(measure)}", of, said, form="measured")


def per_reward(measure: str) -> Column:
    """The column of a measure's gain divided by that of the trained reward."""

    def of(cell: Cell) -> Interval:
        if cell.base in (None, cell.index) or not cell.is_paired:
            return NO_INTERVAL
        base = int(cell.base or 0)
        own, reward = (cell.gains_beside(base, name) for name in (measure, TRAIN))
        if len(own.values) != len(reward.values):
            # The measure leaves images out: the ratio would be of two sets.
            return NO_INTERVAL
        one_task = np.zeros_like(own.tasks)
        both = own.values, reward.values
        return share_interval(*both, one_task, own.meanings, seeds=own.seeds)

    said = f"gain in {measure} divided by the gain in the trained reward"
    return Column(f"{stem_of(measure)}_per_reward", of, said, form="measured")


def distances_of(
    cell: tuple[object, ...], measured: Mapping[tuple[object, ...], pd.DataFrame]
) -> dict[str, float]:
    """The distances of one cell from the base's other draw, with their intervals."""
    found: dict[str, float] = {}
    for key, rows in measured.items():
        if key[: len(CELL)] != cell or not str(key[-1]).startswith("base"):
            continue
        for metric, own in rows.groupby("metric"):
            found |= columns_of(interval_of(own), f"{metric}_{key[len(CELL)]}")
    return found


def is_off(table: pd.DataFrame, column: str, baseline: str) -> list[bool]:
    """Whether each row's interval of a distance lies above that of its model's base."""
    base = table[table["method"] == baseline].set_index(["model", "steps"])[f"{column}{CI_HIGH}"]
    most = [base.get(key, math.nan) for key in zip(table["model"], table["steps"], strict=True)]
    return list((table[f"{column}{CI_LOW}"].to_numpy() > np.array(most)).tolist())


def first_off(table: pd.DataFrame, names: Sequence[str], baseline: str) -> list[str]:
    """For each kind of method the first, by trained reward, that is off in a feature network."""
    said = []
    ordered = table[table["method"] != baseline].sort_values(f"gain_{stem_of(TRAIN)}")
    kinds = ordered["method"].map(family)
    for name in names:
        for (model, kind), own in ordered.groupby([ordered["model"], kinds], sort=False):
            off = own[own[f"off_{name}"]]
            if off.empty:
                most = own[f"gain_{stem_of(TRAIN)}"].max()
                where = f"not told from the base's own up to a reward of {most:+.2f}"
            else:
                row = off.iloc[0]
                where = f"off from {row['method']} ({row[f'gain_{stem_of(TRAIN)}']:+.2f}) on"
            said.append(f"{model}, {kind}, {DISTANCE} in {name}: {where}.")
    return said
