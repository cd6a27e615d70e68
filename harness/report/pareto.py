"""Quality against what it costs: time, or the reward that was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.call_times import GENERATION_MS
from harness.analysis.gains import CORRECT, TRAIN, metrics_of, stem_of
from harness.analysis.regularisation import Settings, regularisation
from harness.analysis.tables import methods as methods_table
from harness.experiment.variants import Variant
from harness.report.figure_style import (
    Look,
    draw_legend,
    draw_points,
    figure_style,
    look_of,
    panels_of_models,
    plain_log_ticks,
)

_NOISE, _FINETUNE = "hypernoise", "lora_finetune"
_TIMES = "times_base"


def pareto(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    batch_size: int | None = None,
    metric: str = CORRECT,
) -> Figure:
    """The benchmark against time per image, a panel per model.

    Arguments and errors as for :func:`harness.analysis.tables.table1`.
    """
    table = _timed(
        scores, images, timings, models=models, methods=methods, baseline=baseline,
        batch_size=batch_size, metric=metric, judges=(),
    )  # fmt: skip
    drawn = list(dict.fromkeys(table["method"]))
    with figure_style():
        size = {"width": 2.7, "height": 2.5, "share_y": "row"}
        figure = _against_time(table, _qualities(scores, metric, ()), drawn, size)
        draw_legend(figure, drawn)
    return figure


def pareto_methods(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    legend: Mapping[str, str],
    models: Sequence[str] | None = None,
    baseline: str = "base",
    batch_size: int | None = None,
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> Figure:
    """The benchmark, and the reward of the first judge, against time per image (logarithmic).

    Args:
        legend: method -> its settings in words; the methods to show, in their order.
        models: a column each, in this order; all by name if None.

    Others, and errors, as for :func:`harness.analysis.tables.table1`.
    """
    table = _timed(
        scores, images, timings, models=models, methods=list(legend), baseline=baseline,
        batch_size=batch_size, metric=metric, judges=judges,
    )  # fmt: skip
    drawn = [name for name in legend if name in set(table["method"])]
    with figure_style():
        size = {"width": 2.9, "height": 2.325, "at_least": 7.5}
        figure = _against_time(table, _qualities(scores, metric, judges), drawn, size)
        handles = [
            _handle(look_of(name, drawn), "", f"{name}: {words}" if words else name)
            for name, words in ((name, legend[name]) for name in drawn)
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=2, fontsize=7)
    return figure


def equal_seconds_curve(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    baseline: str = "base",
    batch_size: int | None = None,
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> Figure:
    """The benchmark, and the reward of the first judge, against time in times the base's.

    A line joins the amounts of work of a method. Arguments and errors as for
    :func:`harness.analysis.equal_seconds.equal_seconds`.
    """
    table = _timed(
        scores, images, timings, models=models, baseline=baseline, batch_size=batch_size,
        metric=metric, judges=judges,
    )  # fmt: skip
    base = table[table["method"] == baseline].set_index("model")[GENERATION_MS]
    table[_TIMES] = table[GENERATION_MS] / table["model"].map(base)
    table["method"] = [Variant.parse(method).name for method in table["method"]]
    drawn = list(dict.fromkeys(table["method"]))
    with figure_style():
        size = {"width": 2.9, "height": 2.4}
        labels = _qualities(scores, metric, judges)
        figure = _against_time(table, labels, drawn, size, _TIMES, "time, in times the base's")
        draw_legend(figure, drawn)
    return figure


def _timed(*frames: pd.DataFrame, **asked: Any) -> pd.DataFrame:
    """The table of methods, without images of other tools: they have no time."""
    return methods_table(*frames, **asked).dropna(subset=GENERATION_MS)


def _against_time(
    table: pd.DataFrame,
    labels: Mapping[str, str],
    methods: Sequence[str],
    size: Mapping[str, Any],
    x: str = GENERATION_MS,
    x_label: str = "generation, ms per image (log scale)",
) -> Figure:
    def draw(panel: Axes, model: str, y: str) -> None:
        panel.set_xscale("log")
        times = table.loc[table["model"] == model, x]
        if times.nunique() == 1:
            # A span of nothing, where all other methods are images of other tools, has no scale.
            panel.set_xlim(times.min() / 2, times.max() * 2)
        for method in methods:
            points = table[(table["model"] == model) & (table["method"] == method)]
            draw_points(panel, points.sort_values(x), x, y, look_of(method, methods))
        panel.margins(x=0.15, y=0.1)
        plain_log_ticks(panel)

    return panels_of_models(list(dict.fromkeys(table["model"])), labels, x_label, draw, **size)


def _qualities(scores: pd.DataFrame, metric: str, judges: Sequence[str] | None) -> dict[str, str]:
    """Column -> label of the benchmark's mean and of the first judge's, if there is one."""
    name = "GenEval" if metric == CORRECT else stem_of(metric)
    judged = metrics_of(scores, metric, judges).rewards[1:2]
    found = {f"{stem_of(metric)}_mean": f"{name} mean, 95 % interval"}
    return found | {f"{j}_mean": f"{j.replace('_', ' ')}, 95 % interval" for j in judged}


def _handle(look: Look, line: str, label: str) -> Line2D:
    style: dict[str, Any] = {"color": look.color, "marker": look.marker, "ms": 5}
    return Line2D([], [], ls=line, label=label, **style)


class _Branch(NamedTuple):
    """Points of a figure that are joined: those of one reduction, or fine-tuning's."""

    rows: pd.DataFrame
    look: Look
    line: str
    label: str


def frontier(
    scores: pd.DataFrame,
    training: pd.DataFrame,
    *,
    settings: Settings,
    baseline: str = "base",
    metric: str = CORRECT,
    judges: Sequence[str] | None = None,
) -> Figure:
    """The benchmark and the first judge's reward against the training reward.

    A column per model; each point says its temperature or its steps. Arguments and errors as for
    :func:`harness.analysis.regularisation.regularisation`.
    """
    asked: dict[str, Any] = {"settings": settings, "baseline": baseline, "metric": metric}
    table = regularisation(scores, training, judges=judges, **asked)

    def draw(panel: Axes, model: str, y: str) -> None:
        for branch in _branches(table[table["model"] == model], baseline):
            points, x = branch.rows, f"{TRAIN}_mean"
            style = {"ls": branch.line, "ms": 4, "lw": 1.2, "elinewidth": 0.6, "capsize": 1.5}
            draw_points(panel, points, x, y, branch.look, **style)
            numbers = points["temperature"].fillna(points["training_steps"])
            for number, at_x, at_y in zip(numbers, points[x], points[y], strict=True):
                words: dict[str, Any] = {"textcoords": "offset points", "color": branch.look.color}
                if branch.line:
                    panel.annotate(f"{number:g}", (at_x, at_y), xytext=(3, 3), fontsize=6, **words)
        panel.margins(0.1)

    labels = _qualities(scores, metric, judges)
    with figure_style():
        figure = panels_of_models(
            list(settings), labels, "training reward", draw,
            width=3.6, height=2.725, share_x="col", at_least=5.4,
        )  # fmt: skip
        handles = [_handle(b.look, b.line, b.label) for b in _branches(table, baseline)]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _branches(table: pd.DataFrame, baseline: str) -> list[_Branch]:
    drawn = (baseline, _NOISE, _FINETUNE)
    reduction, looks = table["l2_reduction"], [look_of(name, drawn) for name in drawn]
    tuned = table[reduction.eq("") & table["training_steps"].gt(0)]
    noise = "noise network, {}; temperatures"
    found = [
        _Branch(table[table["method"] == baseline], looks[0], "", baseline),
        _Branch(table[reduction == "sum"], looks[1], "-", noise.format("sum")),
        _Branch(
            table[reduction == "mean"], looks[1]._replace(marker="o"), "--", noise.format("mean")
        ),
        _Branch(tuned, looks[2], "-", "fine-tuning; steps"),
    ]
    return [branch for branch in found if len(branch.rows)]
