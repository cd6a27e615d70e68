"""Rewards of the validation prompts while networks are trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.pairing import stop_on
from harness.analysis.training_curve import curve, judges_in, without_validations
from harness.report.figure_style import (
    Look,
    draw_legend,
    figure_style,
    look_of,
    panels_of_models,
)

#: How many standard errors a band of training curves reaches: 95 % of a normal law.
_BAND = 1.96


def figure4(
    training: pd.DataFrame,
    *,
    judges: Sequence[str],
    reward: str = "redness",
    models: Sequence[str] | None = None,
    methods: Sequence[str] = ("hypernoise", "lora_finetune"),
) -> Figure:
    """The paper's figure 4: what rising training reward does to an independent reward.

    Args:
        training: training rows with validations.
        judges: rewards that no method saw, by the names of their validation values; the first is
            the y axis.
        reward: the training reward; its validation values are the x axis.
        models: one panel each, in this order; all by name if None.
        methods: one line for each training seed, from the untrained model through the validated
            steps.

    Raises:
        FrameError: a training or a value is missing, double or not finite.
    """
    table = curve(training, models=models, methods=methods, reward=reward)
    stop_on([] if judges else ["no judge is given"], "figure 4")
    quality = judges[0]
    x, y = "validation_reward", f"validation_{quality}"
    shown = list(models or sorted(table["model"].unique()))
    stop_on(without_validations(table, [x, y], shown, methods), "figure 4")
    with figure_style():

        def draw(panel: Axes, model: str, name: str) -> None:
            for number, method in enumerate(methods):
                look = look_of(method, methods)
                for line in _lines(table, model, method):
                    _trajectory(panel, line, x, name, look, above=number % 2 == 0)
            panel.margins(0.12)

        labels, x_label = {y: f"{quality} (independent)"}, f"{reward} (training reward)"
        figure = panels_of_models(shown, labels, x_label, draw, width=3.3, height=2.9)
        start = Line2D([], [], marker="o", ls="", mfc="white", mec="black", ms=8, label="step 0")
        draw_legend(figure, methods, [start])
        figure.supxlabel("means over validation prompts; numbers are training steps", fontsize=7)
    return figure


def _lines(table: pd.DataFrame, model: str, method: str) -> list[pd.DataFrame]:
    """The rows of each training of a method, by their seed."""
    own = table[(table["model"] == model) & (table["method"] == method)]
    return [line for _, line in own.groupby("training_seed", dropna=False)]


def _trajectory(panel: Axes, line: pd.DataFrame, x: str, y: str, look: Look, above: bool) -> None:
    panel.plot(line[x], line[y], color=look.color, marker=look.marker, ms=4, lw=1.5)
    if line["step"].iloc[0] == 0:
        start = line.iloc[:1]
        panel.plot(start[x], start[y], marker="o", mfc="white", mec="black", ms=8, zorder=3)
    for row in range(len(line) - 1, 0, -max(1, len(line) // 2)):
        # Late points lie close together: their labels go to different sides.
        is_last = row == len(line) - 1
        upwards = above if is_last else not above
        panel.annotate(
            str(line["step"].iloc[row]),
            (line[x].iloc[row], line[y].iloc[row]),
            xytext=(3, 4) if upwards else (-3, -4),
            textcoords="offset points",
            ha="left" if upwards else "right",
            va="bottom" if upwards else "top",
            color=look.color,
            fontsize=7,
        )


def training_curves(
    training: pd.DataFrame,
    *,
    reward: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] = ("hypernoise", "lora_finetune"),
    judges: Sequence[str] | None = None,
) -> Figure:
    """Values of the validation prompts during training, with bands of 1.96 standard errors.

    Args:
        training: training rows with validations and their standard errors.
        reward: the training reward.
        models: one column each, in this order; all by name if None.
        methods: one line for each training seed.
        judges: as for :func:`figure4`, a row each below the training reward's; None finds them in
            the rows.

    Raises:
        FrameError: a training, a value or its standard error is missing, double or not finite.
    """
    table = curve(training, models=models, methods=methods, reward=reward)
    shown = list(models or sorted(table["model"].unique()))
    values = ["reward", *(judges_in(table) if judges is None else judges)]
    columns = [f"validation_{value}{end}" for value in values for end in ("", "_se")]
    faults = without_validations(table, columns, shown, methods)
    if not set(columns) <= set(table):
        faults.append("trainings from before standard errors were kept have to be made again")
    stop_on(faults, "training curves")
    with figure_style():

        def draw(panel: Axes, model: str, name: str) -> None:
            for method in methods:
                look = look_of(method, methods)
                for line in _lines(table, model, method):
                    x, mean, half = line["step"], line[name], _BAND * line[f"{name}_se"]
                    panel.plot(x, mean, color=look.color, marker=look.marker, ms=3, lw=1.3)
                    band: dict[str, Any] = {"color": look.color, "alpha": 0.2, "lw": 0}
                    panel.fill_between(x, mean - half, mean + half, **band)

        said = {"reward": f"{reward} (trained on)"}
        labels = {f"validation_{v}": said.get(v, f"{v} (independent)") for v in values}
        figure = panels_of_models(
            shown, labels, "optimizer steps", draw, width=2.7, height=1.9, share_y="row"
        )
        draw_legend(figure, methods)
        below = "means over validation prompts; bands: 95 %, by prompt; a line for each training"
        figure.supxlabel(below, fontsize=7)
    return figure
