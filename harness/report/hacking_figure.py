"""Reward hacking in one figure: the judge's gain and the distance, against the trained reward's."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.gains import CORRECT, TRAIN, stem_of
from harness.analysis.hacking import DISTANCE, family, hacking
from harness.analysis.interval_columns import CI_HIGH, CI_LOW
from harness.analysis.regularisation import Settings
from harness.report.figure_style import draw_legend, figure_style, look_of, panels


def hacking_panel(
    scores: pd.DataFrame,
    distances: pd.DataFrame,
    training: pd.DataFrame,
    *,
    settings: Settings,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> Figure:
    """A column per model: above the first judge's gain, below the kernel distance in each feature
    network, both against the gain in the trained reward; a colour per kind of method, a point per
    budget or checkpoint, bars at 95 %, and the base's own interval as a band.

    Args, Raises: as :func:`harness.analysis.hacking.hacking`.
    """
    table = hacking(
        scores,
        distances,
        training,
        settings=settings,
        models=models,
        methods=methods,
        metric=metric,
        judges=judges,
    )
    x, shown = f"gain_{stem_of(TRAIN)}", list(dict.fromkeys(table["model"]))
    means = [str(name) for name in table if not str(name).endswith((CI_LOW, CI_HIGH))]
    judge = [name for name in means if name.startswith("gain_") and name != x]
    drawn = [name for name in means if name.startswith(f"{DISTANCE}_")]
    rows = [judge[-1], *drawn]
    kinds = list(dict.fromkeys(table["method"].map(family)))
    with figure_style():
        figure, axes = panels(shown, 2.9, 2.2, n_rows=len(rows), at_least=7.5)
        for column, model in enumerate(shown):
            own = table[table["model"] == model]
            for panel, y in zip(axes[:, column], rows, strict=True):
                base = own[own["method"] == "base"].iloc[0]
                if y in drawn:
                    panel.axhspan(base[f"{y}{CI_LOW}"], base[f"{y}{CI_HIGH}"], color="0.9")
                for kind in kinds[1:]:
                    line = own[own["method"].map(family) == kind].sort_values(x)
                    look = look_of(kind, kinds)
                    errors = [line[y] - line[f"{y}{CI_LOW}"], line[f"{y}{CI_HIGH}"] - line[y]]
                    style = {"color": look.color, "marker": look.marker, "ms": 4, "lw": 1.2}
                    panel.errorbar(line[x], line[y], yerr=errors, elinewidth=0.6, **style)
                panel.set_xlabel("gain in the trained reward")
            axes[0, column].set_title(model)
        for panel, y in zip(axes[:, 0], rows, strict=True):
            panel.set_ylabel(y.replace("gain_", "gain in ").replace("_", " "))
        draw_legend(figure, kinds[1:])
    return figure
