"""Figures behind the paper's tables: training with its uncertainty, sampling steps, LoRA ranks.

Pure functions of frames, like those of :mod:`harness.report.figures`; numbers are those of the
tables.
"""

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
from harness.analysis.pairing import FrameError, stop_on
from harness.analysis.paper_tables import Ranks, Runs, geneval
from harness.analysis.training_curve import curve, without_validations
from harness.report.figures import (
    Look,
    draw_legend,
    figure_style,
    look_of,
    panels,
)

#: How many standard errors a band of training curves reaches: 95 % of a normal law.
_BAND = 1.96
#: Method of the config's own rank -> the paper's table of its ranks.
FAMILIES = {"hypernoise": "table9", "lora_finetune_final": "table10"}
_MEAN, _LOW, _HIGH = with_interval("geneval_mean")


def training_curves(
    training: pd.DataFrame,
    *,
    reward: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] = ("hypernoise", "lora_finetune"),
    values: Sequence[str] = ("reward", "judge_reward"),
) -> Figure:
    """Values of the validation prompts during training, with bands of 1.96 standard errors.

    Args:
        training: training rows with validations and their standard errors.
        reward: the training reward.
        models: one column each, in this order; all by name if None.
        methods: one line each.
        values: names of validation values, one row each; ``reward`` is the training reward.

    Raises:
        FrameError: a training, a value or its standard error is missing, double or not finite.
    """
    table = curve(training, models=models, methods=methods, reward=reward)
    shown = list(models or sorted(table["model"].unique()))
    columns = [f"validation_{value}{end}" for value in values for end in ("", "_se")]
    faults = without_validations(table, columns, shown, methods)
    if not set(columns) <= set(table):
        faults.append("trainings from before standard errors were kept have to be made again")
    stop_on(faults, "training curves")
    with figure_style():
        figure, axes = panels(shown, 2.7, 1.9, n_rows=len(values), share_y="row")
        for row, value in enumerate(values):
            name = f"{reward} (trained on)" if value == "reward" else f"{value} (independent)"
            axes[row, 0].set_ylabel(name)
            for model, panel in zip(shown, axes[row], strict=True):
                for method in methods:
                    line = table[(table["model"] == model) & (table["method"] == method)]
                    _band(panel, line, f"validation_{value}", look_of(method, methods))
        for model, top, bottom in zip(shown, axes[0], axes[-1], strict=True):
            top.set_title(model)
            bottom.set_xlabel("optimizer steps")
        draw_legend(figure, methods)
        said = "means over validation prompts; bands: 95 %, clustered by prompt"
        figure.supxlabel(said, fontsize=7)
    return figure


def steps(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    *,
    runs: Runs,
    models: Sequence[str],
    ranks: Ranks | None = None,
    baseline: str = "base",
) -> Figure:
    """GenEval against sampling steps, a panel per model: table 8, whose arguments these are.

    Published numbers, where there are any, are hollow.
    """
    table = geneval(
        scores,
        images,
        printed_as="table8",
        runs=runs,
        models=models,
        ranks=ranks,
        baseline=baseline,
    )
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
    tables = {
        method: geneval(scores, images, printed_as=printed_as, **asked)
        for method, printed_as in families.items()
    }
    ranked = pd.concat(_family(table, method) for method, table in tables.items())
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
            _level(panel, of_base[of_base["steps"] == count], look_of(baseline, drawn))
            _families(panel, ranked[ranked["steps"] == count], list(families), drawn)
            _log2(panel, sorted(ranked["lora_rank"].unique()))
        axes[0, 0].set_ylabel("GenEval mean, 95 % interval")
        draw_legend(figure, drawn, _hollow(ranked))
    return figure


def _family(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of a method and of its variants in rank."""
    printed = published.printed_method(method)
    alike = [name for name in table["method"] if published.printed_method(name) == printed]
    rows = table[table["method"].isin(alike) & table["lora_rank"].notna()]
    return rows.assign(family=method)


def _families(
    panel: Axes, rows: pd.DataFrame, families: Sequence[str], drawn: Sequence[str]
) -> None:
    """A line per family of methods, in the look that it has among all that are drawn."""
    for number, family in enumerate(families):
        line = rows[rows["family"] == family].sort_values("lora_rank")
        nudge = _nudge(number, len(families))
        _against(panel, line, "lora_rank", look_of(family, drawn), nudge)


def _band(panel: Axes, line: pd.DataFrame, name: str, look: Look) -> None:
    half = _BAND * line[f"{name}_se"]
    panel.plot(line["step"], line[name], color=look.color, marker=look.marker, ms=3, lw=1.3)
    panel.fill_between(
        line["step"], line[name] - half, line[name] + half, color=look.color, alpha=0.2, lw=0
    )


def _against(panel: Axes, line: pd.DataFrame, x: str, look: Look, nudge: float) -> None:
    """Means with their intervals, moved aside a little so that none hides another."""
    places = line[x].astype(float) * nudge
    errors = np.stack([line[_MEAN] - line[_LOW], line[_HIGH] - line[_MEAN]])
    style: dict[str, Any] = {"color": look.color, "marker": look.marker}
    panel.errorbar(places, line[_MEAN], yerr=errors, ms=5, lw=1.3, elinewidth=1, capsize=2, **style)
    if f"{_MEAN}_published" in line:
        panel.plot(places, line[f"{_MEAN}_published"], ls="", mfc="white", ms=5, zorder=3, **style)


def _level(panel: Axes, row: pd.DataFrame, look: Look) -> None:
    """The one value of a method that has no rank, across the panel."""
    panel.axhline(float(row[_MEAN].iloc[0]), color=look.color, lw=1.3)
    panel.axhspan(
        float(row[_LOW].iloc[0]), float(row[_HIGH].iloc[0]), color=look.color, alpha=0.1, lw=0
    )


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
