"""The numbers of the paper's tables, drawn against sampling steps and against LoRA ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from harness.analysis import published
from harness.analysis.interval_columns import with_interval
from harness.analysis.pairing import FrameError
from harness.analysis.paper_tables import Ranks, Runs, geneval
from harness.report.figure_style import Look, draw_legend, figure_style, look_of, panels

#: Method of the config's own rank -> the paper's table of its ranks.
FAMILIES = {"hypernoise": "table9", "lora_finetune_final": "table10"}
_MEAN, _LOW, _HIGH = with_interval("geneval_mean")


def steps(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks | None = None,
    baseline: str = "base",
    departures: Sequence[str] = (),
) -> Figure:
    """GenEval against sampling steps, a panel per model: table 8, whose arguments these are.

    Published numbers, where there are any and nothing departs from the paper's, are hollow.
    """
    asked: dict[str, Any] = {"runs": runs, "models": models, "ranks": ranks, "baseline": baseline}
    asked["departures"] = departures
    table = geneval(scores, images, printed_as="table8", **asked)
    with figure_style():
        figure, axes = panels(models, 3.3, 2.5, share_y="row")
        for model, panel in zip(models, axes[0], strict=True):
            panel.set(title=model, xlabel="sampling steps (log scale)")
            for number, method in enumerate(runs):
                line = table[(table["model"] == model) & (table["method"] == method)]
                nudge = _nudge(number, len(runs))
                _against(panel, line, "steps", look_of(method, list(runs)), nudge)
            _log2(panel, sorted(table["steps"].unique()))
        axes[0, 0].set_ylabel("GenEval mean, 95 % interval")
        draw_legend(figure, list(runs), _hollow(table))
    return figure


def ranks(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks,
    families: Mapping[str, str] = FAMILIES,
    baseline: str = "base",
    departures: Sequence[str] = (),
) -> Figure:
    """GenEval against the LoRA rank, a panel per number of sampling steps: tables 9 and 10.

    Args:
        runs, models, ranks: as in :func:`harness.analysis.paper_tables.geneval`; one model.
        families: methods of the config's own rank -> the paper's table of their ranks; variants
            belong to the one that the paper calls alike.
        baseline: drawn as a line with its interval.

    Raises:
        FrameError: there is more than one model, or as in
        :func:`harness.analysis.paper_tables.geneval`.
    """
    if len(models) != 1:
        raise FrameError(f"ranks are drawn for one model, these are {', '.join(models)}")
    asked: dict[str, Any] = {"runs": runs, "models": models, "ranks": ranks, "baseline": baseline}
    asked["departures"] = departures
    tables = {
        method: geneval(scores, images, printed_as=printed_as, **asked)
        for method, printed_as in families.items()
    }
    of_families = []
    for method, table in tables.items():
        printed = published.printed_method(method)
        alike = [name for name in table["method"] if published.printed_method(name) == printed]
        rows = table[table["method"].isin(alike) & table["lora_rank"].notna()]
        of_families.append(rows.assign(family=method))
    ranked = pd.concat(of_families)
    of_base = next(iter(tables.values())).query("method == @baseline")
    several = ranked.groupby("steps")["lora_rank"].nunique()
    counts = [int(count) for count in several.index[several > 1]]
    if not counts:
        raise FrameError("ranks: no number of sampling steps has methods of several ranks")
    drawn = [baseline, *families]
    with figure_style():
        titles = [f"{models[0]}, {count} step{'s' * (count > 1)}" for count in counts]
        figure, axes = panels(titles, 2.7, 2.5, share_y="row")
        for count, title, panel in zip(counts, titles, axes[0], strict=True):
            panel.set(title=title, xlabel="LoRA rank (log scale)")
            color = look_of(baseline, drawn).color
            level, low, high = of_base.loc[of_base["steps"] == count, [_MEAN, _LOW, _HIGH]].iloc[0]
            panel.axhline(level, color=color, lw=1.3)
            panel.axhspan(low, high, color=color, alpha=0.1, lw=0)
            for number, family in enumerate(families):
                of_family = (ranked["family"] == family) & (ranked["steps"] == count)
                line = ranked[of_family].sort_values("lora_rank")
                nudge = _nudge(number, len(families))
                _against(panel, line, "lora_rank", look_of(family, drawn), nudge)
            _log2(panel, sorted(ranked["lora_rank"].unique()))
        axes[0, 0].set_ylabel("GenEval mean, 95 % interval")
        draw_legend(figure, drawn, _hollow(ranked))
    return figure


def _against(panel: Axes, line: pd.DataFrame, x: str, look: Look, nudge: float) -> None:
    """Means with their intervals, moved aside a little so that none hides another."""
    places = line[x].astype(float) * nudge
    errors = np.stack([line[_MEAN] - line[_LOW], line[_HIGH] - line[_MEAN]])
    style: dict[str, Any] = {"color": look.color, "marker": look.marker}
    panel.errorbar(places, line[_MEAN], yerr=errors, ms=5, lw=1.3, elinewidth=1, capsize=2, **style)
    if f"{_MEAN}_published" in line:
        panel.plot(places, line[f"{_MEAN}_published"], ls="", mfc="white", ms=5, zorder=3, **style)


def _nudge(number: int, of: int) -> float:
    return float(2 ** (0.09 * (number - (of - 1) / 2)))


def _log2(panel: Axes, values: Sequence[Any]) -> None:
    """A logarithmic x axis with a tick at each measured value."""
    panel.set_xscale("log", base=2)
    panel.set_xticks([float(value) for value in values], [str(value) for value in values])
    panel.xaxis.set_minor_locator(NullLocator())


def _hollow(table: pd.DataFrame) -> list[Line2D]:
    if f"{_MEAN}_published" not in table:
        return []
    style: dict[str, Any] = {"marker": "o", "ls": "", "mfc": "white", "mec": "black"}
    return [Line2D([], [], label="published", **style)]
