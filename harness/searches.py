"""What searches earn and cost: tables and a figure of every method, cold and warm.

Pure functions of frames, like those of :mod:`harness.tables` and :mod:`harness.figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.columns import columns_of, in_order, with_interval
from harness.figures import Look, draw_legend, figure_style, look_of, plain_log_ticks
from harness.paired import CELL, PICTURE, FrameError, choose, missing, rank, require, stop_on
from harness.statistics import mean_interval
from harness.tables import table1

METHODS_COLUMNS = (
    *CELL,
    "latency_ms",
    "nfe",
    "reward_calls",
    "backward_passes",
    "peak_memory_mib",
    "params_m",
    "n_images",
    *with_interval("geneval_mean"),
    *with_interval("gain_over_base", "gain"),
    "train_reward_mean",
    "judge_reward_mean",
)
_SCORED = (*CELL, *PICTURE, "iteration", "nfe", "value", "best_value")


def methods(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    batch_size: int | None = None,
) -> pd.DataFrame:
    """What every method earns and costs; arguments and errors of :func:`harness.tables.table1`.

    Returns:
        One row per model, method, reward and steps, with :data:`METHODS_COLUMNS`: table 1 without
        its tasks, and with reward_calls and backward_passes per image, and peak_memory_mib, the
        largest of the shown timings, NaN where none was recorded.
    """
    table = table1(
        scores,
        images,
        timings,
        models=models,
        methods=methods,
        baseline=baseline,
        batch_size=batch_size,
    )
    require(images, ("reward_calls", "backward_passes"), "images")
    require(timings, ("peak_memory_mib",), "timings")
    key = list(CELL)
    spent = images.groupby(key, as_index=False)[["reward_calls", "backward_passes"]].mean()
    timed = _at_batch_size(timings, batch_size)
    held = timed.groupby(key, as_index=False)["peak_memory_mib"].max()
    made = table.merge(spent, on=key).merge(held, on=key)[list(METHODS_COLUMNS)]
    made.attrs = table.attrs
    return made


def search_curve(
    trajectories: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The reward of the best image so far, mean over images, at every iteration.

    Args:
        trajectories: trajectory rows of one benchmark.
        models, methods: what to show, in this order; all by name if None.

    Returns:
        Rows with model, method, reward, steps, iteration, nfe, best_value and n_images.

    Raises:
        FrameError: a search is missing, or has not as many images at every iteration.
    """
    require(trajectories, _SCORED, "trajectories")
    faults = missing(trajectories, models, methods)
    rows = choose(trajectories, models, methods)
    table = rows.groupby([*CELL, "iteration"], as_index=False).agg(
        nfe=("nfe", "mean"), best_value=("best_value", "mean"), n_images=("best_value", "size")
    )
    uneven = table.groupby(list(CELL))["n_images"].nunique()
    faults += [
        f"{' '.join(map(str, cell))}: iterations with fewer images than others"
        for cell in uneven.index[uneven > 1]
    ]
    stop_on(faults, "a curve")
    order = [rank(table["model"], models), rank(table["method"], methods), table["reward"]]
    return in_order(table, [*order, table["steps"], table["iteration"]])


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
        One row per model and pair. Rewards are means over images of the best so far:
        cold_start, cold_end, warm_start, warm_end. ``warm_iterations_to_cold_end`` is the first
        iteration at which the warm search is as good as the cold one at its end,
        ``share_of_iterations`` its share of all; ``cold_iterations_to_warm_start`` the first at
        which the cold one is as good as the warm one at its first; NaN where that is never.
        Image by image: ``gain_at_half``, the warm search's reward at half of the cold one's
        iterations (rounded down) minus the cold one's at its end, with its 95 % interval, clustered
        by prompt; ``images_reached_at_half``, the share of images whose gain is >= 0; and
        ``median_iterations_to_cold_end``, that the warm search takes to an image's own cold end,
        NaN where at least half of the images never get there.

    Raises:
        FrameError: there are no starts, a search is missing, or the two have other images.
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
        who = {"model": model, "search": cold, "warm": warm}
        rows.append({**who, **_compared(one, two), **_by_image(trajectories, model, cold, warm)})
    return pd.DataFrame(rows)


def curves(
    trajectories: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Figure:
    """Mean reward of the best image so far: above against iterations, below against time.

    The time of an iteration is the share of its backbone passes in the search's median latency.

    Args:
        trajectories: trajectory rows of one benchmark.
        timings: timing rows of the same methods.
        models: one column each, in this order; all by name if None.
        methods: one line each, in this order; all by name if None.
        batch_size: the timings to use; None takes the largest that was timed.

    Raises:
        FrameError: a search or its timing is missing, or as in :func:`search_curve`.
    """
    curve = search_curve(trajectories, models=models, methods=methods)
    curve = _with_time(curve, _at_batch_size(timings, batch_size))
    shown, drawn = (list(dict.fromkeys(curve[name])) for name in ("model", "method"))
    with figure_style():
        figure, axes = _grid(shown)
        for column, model in enumerate(shown):
            for panel, x in zip(axes[:, column], ("iteration", "ms"), strict=True):
                lines = curve[curve["model"] == model]
                _lines(panel, lines, x, drawn)
            axes[0, column].set(title=model, xlabel="scored images")
            axes[1, column].set(xlabel="ms per image (log scale)", xscale="log")
            plain_log_ticks(axes[1, column])
        for panel in axes[:, 0]:
            panel.set_ylabel("reward of the best so far")
        draw_legend(figure, drawn)
    return figure


def pareto(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    settings: Mapping[str, str],
    models: Sequence[str] | None = None,
    baseline: str = "base",
    batch_size: int | None = None,
) -> Figure:
    """GenEval, and the reward of a judge, against time per image (logarithmic).

    Args:
        settings: method -> its settings in words, for the legend; the methods to show, in their
            order.
        models: a column each, in this order; all by name if None.

    Others, and errors, as for :func:`methods`.
    """
    table = methods(
        scores,
        images,
        timings,
        models=models,
        methods=list(settings),
        baseline=baseline,
        batch_size=batch_size,
    )
    shown = list(dict.fromkeys(table["model"]))
    with figure_style():
        figure, axes = _grid(shown)
        for column, model in enumerate(shown):
            for row in table[table["model"] == model].itertuples():
                look = look_of(str(row.method), list(settings))
                _point(axes[:, column], row, look)
            axes[0, column].set_title(model)
            axes[1, column].set_xlabel("ms per image (log scale)")
            for panel in axes[:, column]:
                panel.set_xscale("log")
                plain_log_ticks(panel)
        axes[0, 0].set_ylabel("GenEval mean, 95 % interval")
        axes[1, 0].set_ylabel("judge reward")
        figure.legend(handles=_named(settings), loc="outside lower left", ncols=2, fontsize=7)
    return figure


def _point(axes: Sequence[Axes], row: Any, look: Look) -> None:
    mean, low, high = row.geneval_mean, row.geneval_mean_ci_low, row.geneval_mean_ci_high
    style: dict[str, Any] = {"color": look.color, "marker": look.marker, "ms": 6, "ls": ""}
    spread = [[mean - low], [high - mean]]
    axes[0].errorbar([row.latency_ms], [mean], yerr=spread, lw=1, capsize=2, **style)
    axes[1].plot([row.latency_ms], [row.judge_reward_mean], **style)


def _named(settings: Mapping[str, str]) -> list[Line2D]:
    looks = {name: look_of(name, list(settings)) for name in settings}
    return [
        Line2D([], [], color=look.color, marker=look.marker, ls="", ms=5, label=label)
        for label, look in (
            (f"{name}: {settings[name]}" if settings[name] else name, look)
            for name, look in looks.items()
        )
    ]


def _at_batch_size(timings: pd.DataFrame, batch_size: int | None) -> pd.DataFrame:
    require(timings, (*CELL, "batch_size", "latency_ms"), "timings")
    size = timings["batch_size"].max() if batch_size is None else batch_size
    return timings[timings["batch_size"] == size]


def _with_time(curve: pd.DataFrame, timings: pd.DataFrame) -> pd.DataFrame:
    key = list(CELL)
    latency = timings.groupby(key, as_index=False)["latency_ms"].median()
    joined = curve.merge(latency, on=key, how="left")
    lacking = joined[joined["latency_ms"].isna()][["model", "method"]].drop_duplicates()
    untimed = [f"{row.model} {row.method}: no timing" for row in lacking.itertuples()]
    stop_on(untimed, "curves against time")
    total = joined.groupby(key)["nfe"].transform("max")
    return joined.assign(ms=joined["latency_ms"] * joined["nfe"] / total)


def _compared(cold: pd.DataFrame, warm: pd.DataFrame) -> dict[str, Any]:
    cold_end, warm_first = cold["best_value"].iloc[-1], warm["best_value"].iloc[0]
    reached = _first(warm, cold_end)
    return {
        "iterations": len(cold),
        "cold_start": cold["best_value"].iloc[0],
        "warm_start": warm_first,
        "cold_end": cold_end,
        "warm_end": warm["best_value"].iloc[-1],
        "warm_iterations_to_cold_end": reached,
        "share_of_iterations": reached / len(cold),
        "cold_iterations_to_warm_start": _first(cold, warm_first),
    }


def _by_image(trajectories: pd.DataFrame, model: str, cold: str, warm: str) -> dict[str, float]:
    of_model = trajectories[trajectories["model"] == model]
    one, two = (
        of_model[of_model["method"] == name]
        .pivot(index=list(PICTURE), columns="iteration", values="best_value")
        .sort_index()
        for name in (cold, warm)
    )
    ends = one.iloc[:, -1].to_numpy()
    half = min(max(1, one.shape[1] // 2), two.shape[1])
    gains = two.iloc[:, half - 1].to_numpy() - ends
    interval = mean_interval(gains, one.index.get_level_values("prompt_id").to_numpy())
    reached = two.to_numpy() >= ends[:, None]
    first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)
    median = float(np.median(first))
    return {
        **columns_of(interval, "gain_at_half"),
        "images_reached_at_half": float((gains >= 0).mean()),
        "median_iterations_to_cold_end": median if np.isfinite(median) else np.nan,
    }


def _first(curve: pd.DataFrame, level: float) -> float:
    reached = curve[curve["best_value"] >= level]["iteration"]
    return float(reached.iloc[0]) if len(reached) else float("nan")


def _unlike(trajectories: pd.DataFrame, model: str, cold: str, warm: str) -> list[str]:
    rows = trajectories[trajectories["model"] == model]
    pictures = [
        set(rows[rows["method"] == name][list(PICTURE)].itertuples(index=False, name=None))
        for name in (cold, warm)
    ]
    n = len(pictures[0] ^ pictures[1])
    return [f"{model}: {cold} and {warm} differ in {n} images"] if n else []


def _grid(models: Sequence[str]) -> tuple[Figure, Any]:
    # Wide enough for the legend's four columns.
    figure = Figure(figsize=(max(2.9 * len(models), 7.5), 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(2, len(models), squeeze=False)


def _lines(panel: Axes, curve: pd.DataFrame, x: str, methods: Sequence[str]) -> None:
    for method in methods:
        line = curve[curve["method"] == method]
        look = look_of(method, methods)
        every = max(1, len(line) // 5)
        panel.plot(
            line[x], line["best_value"], color=look.color, marker=look.marker, ms=4, lw=1.5,
            markevery=every,
        )  # fmt: skip
