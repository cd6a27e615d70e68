"""What searches reach, drawn against iterations and against time."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.call_times import GENERATION_MS, whole_calls
from harness.analysis.costs import at_batch_size
from harness.analysis.pairing import CELL, stop_on
from harness.analysis.search_tables import search_curve
from harness.report.figure_style import (
    draw_legend,
    figure_style,
    look_of,
    panels,
    plain_log_ticks,
)


def curves(
    trajectories: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Figure:
    """Mean reward of the best image so far: above against iterations, below against time.

    The time of an iteration is the share of its backbone passes in the search's median
    generation time.

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
    timed = at_batch_size(whole_calls(timings), batch_size)
    medians = timed.groupby(list(CELL), as_index=False)[GENERATION_MS].median()
    curve = curve.merge(medians, on=list(CELL), how="left")
    untimed = curve[curve[GENERATION_MS].isna()][["model", "method"]].drop_duplicates()
    faults = [f"{row.model} {row.method}: no timing" for row in untimed.itertuples()]
    stop_on(faults, "curves against time")
    curve["ms"] = curve[GENERATION_MS] * curve["nfe"]
    curve["ms"] /= curve.groupby(list(CELL))["nfe"].transform("max")
    shown, drawn = (list(dict.fromkeys(curve[name])) for name in ("model", "method"))
    with figure_style():
        figure, axes = panels(shown, 2.9, 2.325, n_rows=2, at_least=7.5)
        for column, model in enumerate(shown):
            for panel, x in zip(axes[:, column], ("iteration", "ms"), strict=True):
                for method in drawn:
                    line = curve[(curve["model"] == model) & (curve["method"] == method)]
                    look, every = look_of(method, drawn), max(1, len(line) // 5)
                    style = {"color": look.color, "marker": look.marker, "ms": 4, "lw": 1.5}
                    panel.plot(line[x], line["best_value"], markevery=every, **style)
            axes[0, column].set(title=model, xlabel="scored images")
            axes[1, column].set(xlabel="generation, ms per image (log scale)", xscale="log")
            plain_log_ticks(axes[1, column])
        for panel in axes[:, 0]:
            panel.set_ylabel("reward of the best so far")
        draw_legend(figure, drawn)
    return figure
