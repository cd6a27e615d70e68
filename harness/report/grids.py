"""Grids whose columns are chosen one by one: the paper's figures 1, 3 and 5 to 8.

:func:`harness.report.figures.grid` compares all methods on one model; here a column names its own
model, method, sampling steps and image.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.gains import CORRECT
from harness.analysis.pairing import CELL, PICTURE, FrameError, require, stop_on
from harness.report.figures import (
    NO,
    YES,
    Pixels,
    choose_prompts,
    draw_captions,
    draw_picture,
    figure_style,
    grid_axes,
    read_pixels,
)

_GAP_INCHES = 0.16
#: Of the legend's font size.
_CHARACTERS_PER_INCH = 14


class Column(NamedTuple):
    """Images of one column: a model's, by one method, in so many steps; the image's number."""

    model: str
    method: str
    steps: int
    image_index: int = 0


#: What is known of the image of a column and a prompt id.
Places: TypeAlias = dict[tuple[Column, str], Any]


def side_by_side(
    images: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    columns: Sequence[Mapping[str, Any]],
    values: Mapping[str, str] | None = None,
    prompts: Sequence[str] | None = None,
    prompts_per_task: int = 1,
    load: Callable[[str], Pixels] | None = None,
) -> Figure:
    """Images from the same noise: a row per prompt, a column each for what is asked for.

    Args:
        images: image rows; ``path`` leads to the file.
        scores: score rows; where they have GenEval's verdicts, a frame and a sign show them.
        columns: fields of :class:`Column`, in the order to show.
        values: metric -> what it is called below each image, with the metric's value.
        prompts: prompt ids of the rows, in this order; if None the first ids of each task, so
            that nobody's taste chooses.
        prompts_per_task: how many of each task, where ``prompts`` is None.
        load: reads a file as [H, W, 3] bytes.

    Raises:
        FrameError: there are no columns, or an image, its verdict or value is missing or double.
        FileNotFoundError: an image file is missing.
    """
    require(images, (*CELL, *PICTURE, "prompt", "path"), "images")
    require(scores, (*CELL, *PICTURE, "metric", "value"), "scores")
    if not columns:
        raise FrameError("a grid of no columns")
    wanted = [Column(**column) for column in columns]
    rows = choose_prompts(images, prompts, prompts_per_task)
    shown = dict(values or {})
    judged = [CORRECT] if (scores["metric"] == CORRECT).any() else []
    paths, faults = _lookup(images, "path", wanted, rows, "images")
    numbers: dict[str, Places] = {}
    for metric in [*judged, *shown]:
        of_metric = scores[scores["metric"] == metric]
        numbers[metric], more = _lookup(of_metric, "value", wanted, rows, metric)
        faults += more
    stop_on(faults, "a grid")
    with figure_style():
        figure, axes = grid_axes(len(rows), len(wanted), _GAP_INCHES * len(shown))
        draw_captions(axes[:, 0], images, rows)
        for j, (column, title) in enumerate(zip(wanted, _titles(wanted), strict=True)):
            axes[0, j + 1].set_title(title, fontsize=7)
            for i, prompt in enumerate(rows):
                pixels = (load or read_pixels)(str(paths[column, prompt]))
                of_image = {metric: found[column, prompt] for metric, found in numbers.items()}
                _draw_image(axes[i, j + 1], pixels, of_image, shown)
        width = int(_CHARACTERS_PER_INCH * figure.get_figwidth())
        figure.supxlabel(_legend(bool(judged), width), fontsize=7)
    return figure


def _lookup(
    frame: pd.DataFrame, name: str, columns: Sequence[Column], rows: Sequence[str], what: str
) -> tuple[Places, list[str]]:
    """The value of each column and prompt, and a line for each that is missing or double."""
    frame = frame[frame["prompt_id"].isin(rows)]
    key = [*Column._fields, "prompt_id"]
    found: dict[tuple[Column, str], list[Any]] = {}
    for record in frame[[*key, name]].itertuples(index=False, name=None):
        found.setdefault((Column(*record[:4]), record[4]), []).append(record[5])
    faults = []
    for column in columns:
        for prompt in rows:
            n = len(found.get((column, prompt), ()))
            if n != 1:
                count = "none" if n == 0 else str(n)
                faults.append(f"{what}: {count} of {' '.join(map(str, column))} for {prompt!r}")
    return {place: values[0] for place, values in found.items()}, faults


def _titles(columns: Sequence[Column]) -> list[str]:
    """What tells each column from the others; its method in any case."""
    varies = {name: len({getattr(c, name) for c in columns}) > 1 for name in Column._fields}
    titles = []
    for column in columns:
        lines = [column.model] if varies["model"] else []
        lines += textwrap.wrap(column.method.replace("_", " "), 14)
        lines += [f"{column.steps} step{'s' * (column.steps > 1)}"] if varies["steps"] else []
        lines += [f"noise {column.image_index}"] if varies["image_index"] else []
        titles.append("\n".join(lines))
    return titles


def _draw_image(
    panel: Axes, pixels: Pixels, numbers: Mapping[str, float], shown: Mapping[str, str]
) -> None:
    """An image with the frame of its verdict, if it has one, and the values to be shown below."""
    verdict = bool(numbers[CORRECT]) if CORRECT in numbers else None
    draw_picture(panel, pixels, verdict)
    lines = [f"{name} {numbers[metric]:.3g}" for metric, name in shown.items()]
    if lines:
        style: dict[str, Any] = {"fontsize": 6, "ha": "center", "va": "top"}
        panel.text(0.5, -0.1, "\n".join(lines), style, transform=panel.transAxes)


def _legend(judged: bool, width: int) -> str:
    """What the figure shows, in lines of at most ``width`` characters."""
    sentences = ["the same noise along each row, for each model and number of the noise"]
    if judged:
        sentences += [f"{YES} solid frame: what the prompt asks for"]
        sentences += [f"{NO} dashed frame: something else"]
    return "\n".join(line for text in sentences for line in textwrap.wrap(text, width))
