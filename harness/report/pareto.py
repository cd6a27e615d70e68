"""Quality against what it costs: time, or the reward that was trained on.

Pure functions of frames, like those of :mod:`harness.report.figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.interval_columns import with_interval
from harness.analysis.regularisation import Settings, regularisation
from harness.analysis.tables import methods as methods_table
from harness.analysis.tables import table1
from harness.report.figures import Look, draw_legend, figure_style, look_of, panels, plain_log_ticks
from harness.report.search_figures import grid_of_panels


def pareto(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    batch_size: int | None = None,
) -> Figure:
    """GenEval against time per image, a panel per model; arguments and errors of table1."""
    table = table1(
        scores,
        images,
        timings,
        models=models,
        methods=methods,
        baseline=baseline,
        batch_size=batch_size,
    )
    shown = list(dict.fromkeys(table["model"]))
    drawn = list(dict.fromkeys(table["method"]))
    with figure_style():
        figure, axes = panels(shown, width=2.7, height=2.5, share_y="row")
        for model, panel in zip(shown, axes[0], strict=True):
            panel.set_xscale("log")
            panel.set(title=model, xlabel="generation, ms per image (log scale)")
            for method in drawn:
                points = table[(table["model"] == model) & (table["method"] == method)]
                _points(panel, points, look_of(method, drawn))
            panel.margins(x=0.15, y=0.1)
            plain_log_ticks(panel)
        axes[0, 0].set_ylabel("GenEval mean, 95 % interval")
        draw_legend(figure, drawn)
    return figure


def _points(panel: Axes, points: pd.DataFrame, look: Look) -> None:
    ordered = points.sort_values("generation_ms")
    mean = ordered["geneval_mean"]
    below, above = mean - ordered["geneval_mean_ci_low"], ordered["geneval_mean_ci_high"] - mean
    panel.errorbar(
        ordered["generation_ms"],
        mean,
        yerr=np.stack([below, above]),
        color=look.color,
        marker=look.marker,
        ms=6,
        lw=1,
        capsize=2,
    )


def pareto_methods(
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
    table = methods_table(
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
        figure, axes = grid_of_panels(shown)
        for column, model in enumerate(shown):
            for row in table[table["model"] == model].itertuples():
                look = look_of(str(row.method), list(settings))
                _point(axes[:, column], row, look)
            axes[0, column].set_title(model)
            axes[1, column].set_xlabel("generation, ms per image (log scale)")
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
    axes[0].errorbar([row.generation_ms], [mean], yerr=spread, lw=1, capsize=2, **style)
    axes[1].plot([row.generation_ms], [row.judge_reward_mean], **style)


def _named(settings: Mapping[str, str]) -> list[Line2D]:
    looks = {name: look_of(name, list(settings)) for name in settings}
    return [
        Line2D([], [], color=look.color, marker=look.marker, ls="", ms=5, label=label)
        for label, look in (
            (f"{name}: {settings[name]}" if settings[name] else name, look)
            for name, look in looks.items()
        )
    ]


_NOISE, _FINETUNE = "hypernoise", "lora_finetune"


class _Branch(NamedTuple):
    """Points of a figure that are joined: those of one reduction, or fine-tuning's."""

    rows: pd.DataFrame
    look: Look
    line: str
    label: str


def frontier(
    scores: pd.DataFrame, training: pd.DataFrame, *, settings: Settings, baseline: str = "base"
) -> Figure:
    """GenEval and the judge's reward against the training reward; arguments and errors of
    :func:`regularisation`. A column per model; each point says its temperature or its steps.
    """
    table = regularisation(scores, training, settings=settings, baseline=baseline)
    models = list(settings)
    with figure_style():
        # Wide enough for the legend's two columns.
        figure = Figure(figsize=(max(3.6 * len(models), 5.4), 5.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(models), squeeze=False, sharex="col")
        for column, model in enumerate(models):
            of_model = table[table["model"] == model]
            for panel, y in zip(
                axes[:, column], ("geneval_mean", "judge_reward_mean"), strict=True
            ):
                _draw(panel, of_model, y, baseline)
            axes[0, column].set_title(model)
            axes[1, column].set_xlabel("training reward")
        axes[0, 0].set_ylabel("GenEval mean, 95 % interval")
        axes[1, 0].set_ylabel("judge reward, 95 % interval")
        start = Line2D([], [], ls="", ms=4, label=baseline, **look_of(baseline, [])._asdict())
        handles = [start, *(_handle(branch) for branch in _branches(table))]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _branches(table: pd.DataFrame) -> list[_Branch]:
    methods = (_NOISE, _FINETUNE)
    found = [
        _Branch(
            table[table["l2_reduction"] == reduction],
            look_of(_NOISE, methods)._replace(marker=marker),
            line,
            f"noise network, {reduction}; temperatures",
        )
        for reduction, marker, line in (("sum", "D", "-"), ("mean", "o", "--"))
    ]
    tuned = table[(table["l2_reduction"] == "") & (table["training_steps"] > 0)]
    found.append(_Branch(tuned, look_of(_FINETUNE, methods), "-", "fine-tuning; steps"))
    return [branch for branch in found if len(branch.rows)]


def _handle(branch: _Branch) -> Line2D:
    look = branch.look
    return Line2D(
        [], [], color=look.color, marker=look.marker, ls=branch.line, ms=4, label=branch.label
    )


def _draw(panel: Axes, table: pd.DataFrame, y: str, baseline: str) -> None:
    for branch in _branches(table):
        x, look = branch.rows["train_reward_mean"], branch.look
        _errorbars(panel, branch.rows, y, look, branch.line)
        numbers = branch.rows["temperature"].fillna(branch.rows["training_steps"])
        for number, at_x, at_y in zip(numbers, x, branch.rows[y], strict=True):
            style: dict[str, Any] = {"textcoords": "offset points", "color": look.color}
            panel.annotate(f"{number:g}", (at_x, at_y), xytext=(3, 3), fontsize=6, **style)
    _errorbars(panel, table[table["method"] == baseline], y, look_of(baseline, [baseline]), "")
    panel.margins(0.1)


def _errorbars(panel: Axes, rows: pd.DataFrame, y: str, look: Look, line: str) -> None:
    _, *bounds = with_interval(y)
    spread = np.abs(rows[bounds].to_numpy() - rows[[y]].to_numpy()).T
    panel.errorbar(
        rows["train_reward_mean"], rows[y], yerr=spread, color=look.color, marker=look.marker,
        ls=line, ms=4, lw=1.2, elinewidth=0.6, capsize=1.5,
    )  # fmt: skip
