"""What searches reach, cold and warm: tables of trajectories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.interval_columns import columns_of, in_order, with_interval
from harness.analysis.pairing import (
    CELL,
    NETWORK,
    PICTURE,
    SEED,
    FrameError,
    require,
    select,
    stop_on,
)
from harness.analysis.statistics import proportion_interval
from harness.analysis.training_seeds import FIRST_NOTES, interval_of, numbered, said, seeds_in

WARM_START_COLUMNS = (
    "model",
    "search",
    "warm",
    "n_images",
    "n_prompts",
    "iterations",
    *(column for name in ("cold_start", "warm_start") for column in with_interval(name)),
    *(column for name in ("cold_end", "warm_end") for column in with_interval(name)),
    "warm_iterations_to_cold_end",
    "share_of_iterations",
    "cold_iterations_to_warm_start",
    *with_interval("gain_at_half"),
    *with_interval("images_reached_at_half"),
    "median_iterations_to_cold_end",
    *with_interval("gain_at_end"),
)
#: Scored images after which :func:`search_budgets` looks at a search.
BUDGETS = (1, 2, 5, 10, 20, 50)
_SCORED = (*NETWORK, *PICTURE, "iteration", "nfe", "value", "best_value")


def search_curve(
    trajectories: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The reward of the best image so far, mean over images and networks, at every iteration.

    Args:
        trajectories: trajectory rows of one benchmark.
        models, methods: what to show, in this order; all by name if None.

    Returns:
        Rows with model, method, reward, steps, iteration, nfe, best_value and n_images.

    Raises:
        FrameError: a search is missing, or has not as many images at every iteration.
    """
    require(trajectories, _SCORED, "trajectories")
    rows, faults = select(trajectories, models, methods)
    table = rows.groupby([*CELL, "iteration"], as_index=False).agg(
        nfe=("nfe", "mean"), best_value=("best_value", "mean"), n_images=("best_value", "size")
    )
    uneven = table.groupby(list(CELL))["n_images"].nunique()
    faults += _uneven(uneven.index[uneven > 1])
    stop_on(faults, "a curve")
    return in_order(table, (*CELL, "iteration"), models, methods)


def search_budgets(
    trajectories: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    budgets: Sequence[int] = BUDGETS,
) -> pd.DataFrame:
    """What searches have after so many scored images: of Best-of-N, every Best-of-n.

    Args:
        trajectories: trajectory rows of one benchmark.
        models, methods: what to show, in this order; all by name if None.
        budgets: numbers of scored images; a search that scores fewer has no such row.

    Returns:
        One row per model, method, reward, steps and scored_images: nfe; best_value, the mean over
        images of the best reward so far, and gain_over_first, that minus the reward of the first
        image, each with its 95 % interval, clustered by meaning; n_images and n_prompts.

    Raises:
        FrameError: a budget is below 1, a search is missing, or it has not as many images at every
            iteration.
    """
    if min(budgets, default=0) < 1:
        raise FrameError(f"budgets must be numbers of scored images from 1 on, got {budgets}")
    require(trajectories, _SCORED, "trajectories")
    rows, faults = select(trajectories, models, methods)
    rows = rows[rows["iteration"].isin({1, *budgets})]
    grids: dict[Any, pd.DataFrame] = {
        cell: _by_iteration(own) for cell, own in rows.groupby(list(CELL))
    }
    faults += _uneven(cell for cell, grid in grids.items() if grid.isna().any(axis=None))
    stop_on(faults, "a table of budgets")
    nfe = rows.groupby([*CELL, "iteration"])["nfe"].mean()
    found = []
    for cell, grid in grids.items():
        sampled, first = grid.index.to_frame(index=False), grid.iloc[:, 0].to_numpy()
        for n in (n for n in map(int, grid.columns) if n in budgets):
            row = {**dict(zip(CELL, cell, strict=True)), "scored_images": n, "nfe": nfe[(*cell, n)]}
            best = grid[n].to_numpy()
            row |= columns_of(interval_of(best, sampled), "best_value")
            row |= columns_of(interval_of(best - first, sampled), "gain_over_first")
            n_prompts = sampled["prompt_id"].nunique()
            found.append(row | {"n_images": len(sampled), "n_prompts": n_prompts})
    table = in_order(pd.DataFrame(found), (*CELL, "scored_images"), models, methods)
    table.attrs[FIRST_NOTES] = said(rows)
    return table


def _by_iteration(rows: pd.DataFrame) -> pd.DataFrame:
    """The best reward so far of one search: images of its networks by iterations, both in order."""
    # What trains nothing has rows, too.
    grid = numbered(rows).pivot(index=[SEED, *PICTURE], columns="iteration", values="best_value")
    return grid.sort_index().sort_index(axis=1)


def _uneven(cells: Iterable[Any]) -> list[str]:
    """A fault for each search that has fewer images at some iterations."""
    named = [" ".join(map(str, cell)) for cell in cells]
    return [f"{name}: iterations with fewer images than others" for name in named]


def warm_start(
    trajectories: pd.DataFrame,
    *,
    starts: Mapping[str, str],
    models: Sequence[str] | None = None,
) -> pd.DataFrame:
    """How many iterations a trained noise network saves a search.

    Args:
        trajectories: trajectory rows of both methods of each pair, on the same images.
        starts: warm method -> the search that it starts.
        models: the models to show, in this order; all by name if None.

    The question is whether the warm search is, at half of the cold one's iterations, as good as
    that is at its end: ``gain_at_half`` >= 0, which is the same as ``share_of_iterations`` <= 0.5.
    The gain's interval tells how sure that is.

    Returns:
        One row per model and pair, with n_images and n_prompts. Rewards are means over images of
        the best so far: cold_start, cold_end, warm_start, warm_end, each with its 95 % interval,
        clustered by meaning, as all intervals here. ``warm_iterations_to_cold_end`` is the first
        iteration at which the warm search is as good as the cold one at its end,
        ``share_of_iterations`` its share of all; ``cold_iterations_to_warm_start`` the first at
        which the cold one is as good as the warm one at its first; NaN where that is never.
        Image by image: ``gain_at_half``, the warm search's reward at half of the cold one's
        iterations (rounded down) minus the cold one's at its end, with its interval;
        ``images_reached_at_half``, the share of images whose gain is >= 0, with its interval;
        ``median_iterations_to_cold_end``, that the warm search takes to an image's own cold end,
        NaN where at least half of the images never get there; and ``gain_at_end``, the difference
        of the two ends, with its interval.

    Raises:
        FrameError: there are no starts, a search is missing or there with several rewards or
            steps, or the two have other images.
    """
    if not starts:
        raise FrameError("no warm search is compared with its cold one")
    named = list(dict.fromkeys(name for pair in starts.items() for name in pair))
    curve = search_curve(trajectories, models=models, methods=named)
    shown = list(dict.fromkeys(curve["model"]))
    compared = [(model, warm, cold) for model in shown for warm, cold in starts.items()]
    faults = [f for model, warm, cold in compared for f in _unlike(trajectories, model, cold, warm)]
    stop_on(faults, "a comparison of cold and warm")
    rows = []
    for model, warm, cold in compared:
        of_model = curve[curve["model"] == model]
        one, two = (of_model[of_model["method"] == name] for name in (cold, warm))
        reached = _first(two, one["best_value"].iloc[-1])
        row = {"model": model, "search": cold, "warm": warm, "iterations": len(one)}
        row |= _by_image(trajectories, model, cold, warm)
        row["warm_iterations_to_cold_end"] = reached
        row["share_of_iterations"] = reached / len(one)
        row["cold_iterations_to_warm_start"] = _first(one, two["best_value"].iloc[0])
        rows.append(row)
    table = pd.DataFrame(rows)[list(WARM_START_COLUMNS)]
    table.attrs[FIRST_NOTES] = said(select(trajectories, models, named)[0])
    return table


def _by_image(trajectories: pd.DataFrame, model: str, cold: str, warm: str) -> dict[str, float]:
    of_model = trajectories[trajectories["model"] == model]
    one, two = (_by_iteration(of_model[of_model["method"] == name]) for name in (cold, warm))
    cold_ones, warm_ones = (grid.index.to_frame(index=False) for grid in (one, two))
    # Each network's images from the cold search's of the same prompts and noise.
    partners = one.droplevel(SEED).loc[list(warm_ones[list(PICTURE)].itertuples(index=False))]
    before, after = partners.to_numpy(), two.to_numpy()
    ends = before[:, -1]
    half = min(max(1, before.shape[1] // 2), after.shape[1])
    gains = after[:, half - 1] - ends
    measured = {
        "warm_start": after[:, 0],
        "warm_end": after[:, -1],
        "gain_at_half": gains,
        "gain_at_end": after[:, -1] - ends,
    }
    n_prompts = warm_ones["prompt_id"].nunique()
    found: dict[str, float] = {"n_images": len(warm_ones), "n_prompts": n_prompts}
    for name, place in (("cold_start", 0), ("cold_end", -1)):
        found |= columns_of(interval_of(one.iloc[:, place].to_numpy(), cold_ones), name)
    for name, values in measured.items():
        found |= columns_of(interval_of(values, warm_ones), name)
    meanings = warm_ones["prompt_meaning"]
    share = proportion_interval(gains >= 0, meanings, seeds=seeds_in(warm_ones))
    found |= columns_of(share, "images_reached_at_half")
    # The first iteration, by image, at which the warm search has got to the cold one's end.
    reached = after >= ends[:, None]
    median = np.median(np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf))
    found["median_iterations_to_cold_end"] = float(median) if np.isfinite(median) else np.nan
    return found


def _first(curve: pd.DataFrame, level: float) -> float:
    reached = curve[curve["best_value"] >= level]["iteration"]
    return float(reached.iloc[0]) if len(reached) else float("nan")


def _unlike(trajectories: pd.DataFrame, model: str, cold: str, warm: str) -> list[str]:
    of_model = trajectories[trajectories["model"] == model]
    rows = {name: of_model[of_model["method"] == name] for name in (cold, warm)}
    several = [name for name, own in rows.items() if len(own[list(CELL)].drop_duplicates()) > 1]
    if several:
        return [f"{model}: {name} is there with several rewards or steps" for name in several]
    networks = [n for own in rows.values() for _, n in own.groupby(SEED, dropna=False)]
    sets = [set(own[list(PICTURE)].itertuples(index=False, name=None)) for own in networks]
    n = max(len(found ^ sets[0]) for found in sets)
    return [f"{model}: {cold} and {warm} differ in {n} images"] if n else []
