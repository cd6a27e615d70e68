"""Grids of images from the same noise: a row per prompt, a column per method.

Verdicts differ in sign as well as in colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.analysis.gains import CORRECT
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import (
    CELL,
    NETWORK,
    PICTURE,
    SEED,
    FrameError,
    left_out_of,
    rank,
    require,
    select,
    stop_on,
)
from harness.analysis.training_seeds import first_network
from harness.base.errors import unknown
from harness.benchmarks.geneval import TASKS
from harness.report.figure_style import GREEN, VERMILION, figure_style
from harness.results.frames import NO_SEED
from harness.results.image_files import open_image, rgb

YES, NO = "\N{CHECK MARK}", "\N{BALLOT X}"
_TEXT_INCHES, _CELL_INCHES, _LINE_INCHES = 1.3, 1.05, 0.16
#: Of the legend's font size.
_CHARACTERS_PER_INCH = 14
#: White space around an image, as a share of its size.
_MARGIN = 0.03

Pixels: TypeAlias = npt.NDArray[np.uint8]


class Column(NamedTuple):
    """Images of one column: a model's, by one method, in so many steps; the image's number, and
    the reward of the method where it has several."""

    model: str
    method: str
    steps: int
    image_index: int = 0
    reward: str | None = None

    def __str__(self) -> str:
        reward = f" on {self.reward}" if self.reward else ""
        return f"{self.model} {self.method}{reward}, steps {self.steps}, image {self.image_index}"


#: What is known of the image of a column and a prompt id.
Places: TypeAlias = dict[tuple[Column, str], Any]


def grid(
    images: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    model: str,
    methods: Sequence[str] | None = None,
    captions: Mapping[str, str] | None = None,
    prompts: Sequence[str] | None = None,
    prompts_per_task: int = 1,
    image_index: int = 0,
    baseline: str = "base",
    load: Callable[[str], Pixels] | None = None,
) -> Figure:
    """All methods on one model.

    Args:
        images, scores, captions, prompts, prompts_per_task, load: as for :func:`side_by_side`.
        model: whose images.
        methods: the columns, in this order; all, by name and the baseline first, if None. A
            method with several rewards or step counts gets a column for each.
        image_index: which of a prompt's images.
        baseline: the first column, where ``methods`` is None.

    Raises:
        FrameError: the model, a method, a prompt, an image or a score is missing or double.
        FileNotFoundError: an image file is missing.
    """
    require(images, CELL, "images")
    images, faults = select(images, [model], methods)
    stop_on(faults, "a grid")
    if not (images["image_index"] == image_index).any():
        raise FrameError(f"a grid cannot be made: {model!r} has no image {image_index}")
    cells = images[list(CELL)].drop_duplicates()
    cells = in_order(cells, ("method", "reward", "steps"), None, methods or [baseline])
    columns = cells.assign(image_index=image_index).to_dict("records")
    return side_by_side(
        images,
        scores,
        columns=[{str(name): value for name, value in column.items()} for column in columns],
        captions=captions,
        prompts=prompts,
        prompts_per_task=prompts_per_task,
        load=load,
    )


def side_by_side(
    images: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    columns: Sequence[Mapping[str, Any]],
    captions: Mapping[str, str] | None = None,
    prompts: Sequence[str] | None = None,
    prompts_per_task: int = 1,
    load: Callable[[str], Pixels] | None = None,
) -> Figure:
    """Columns that are chosen one by one: the paper's figures 1, 3 and 5 to 8.

    Args:
        images: image rows; ``path`` leads to the file. Of several seeds of the experiment, and of
            several training seeds of a method, the smallest is shown; other tools' have none.
        scores: score rows; where they have GenEval's verdicts, a frame and a sign show them. An
            image that a metric leaves out has no value, and is said to be left out.
        columns: fields of :class:`Column`, in the order to show.
        captions: metric -> what it is called below each image, with the metric's value.
        prompts: prompt ids of the rows, in this order; if None the first ids of each task, so
            that nobody's taste chooses.
        prompts_per_task: how many of each task, where ``prompts`` is None.
        load: reads a file as [H, W, 3] bytes.

    Raises:
        FrameError: there are no columns, or an image, its verdict or value is missing or double.
        FileNotFoundError: an image file is missing.
    """
    require(images, (*NETWORK, *PICTURE, "prompt", "path"), "images")
    require(scores, (*NETWORK, *PICTURE, "metric", "value"), "scores")
    if not columns:
        raise FrameError("a grid of no columns")
    wanted = [Column(**column) for column in columns]
    seeds = (images.loc[images["seed"] != NO_SEED, "seed"].min(), NO_SEED)
    trained = images.groupby(list(CELL))[SEED].nunique().gt(1).any()
    images, scores = (first_network(one[one["seed"].isin(seeds)]) for one in (images, scores))
    foreign = set(images.loc[images["seed"] == NO_SEED, "method"])
    rows = _choose_prompts(images, prompts, prompts_per_task)
    shown = dict(captions or {})
    judged = [CORRECT] if (scores["metric"] == CORRECT).any() else []
    paths, faults = _lookup(images, "path", wanted, rows, "images")
    numbers: dict[str, Places] = {}
    for metric in [*judged, *shown]:
        of_metric = scores[scores["metric"].isin([metric, left_out_of(metric)])]
        # Where a row says that the image is left out, its 1 is no value of the metric.
        values = of_metric["value"].where(of_metric["metric"] == metric)
        of_metric = of_metric.assign(value=values)
        numbers[metric], more = _lookup(of_metric, "value", wanted, rows, metric)
        faults += more
    stop_on(faults, "a grid")
    with figure_style():
        figure, axes = _axes(len(rows), len(wanted), _LINE_INCHES * len(shown))
        texts = images.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
        for panel, prompt in zip(axes[:, 0], rows, strict=True):
            panel.axis("off")
            wrapped, place = textwrap.fill(texts[prompt], 19), panel.transAxes
            panel.text(0.97, 0.5, wrapped, fontsize=8, ha="right", va="center", transform=place)
        for j, (column, title) in enumerate(zip(wanted, _titles(wanted, foreign), strict=True)):
            axes[0, j + 1].set_title(title, fontsize=7)
            for i, prompt in enumerate(rows):
                pixels = (load or read_pixels)(str(paths[column, prompt]))
                of_image = {metric: found[column, prompt] for metric, found in numbers.items()}
                _draw_image(axes[i, j + 1], pixels, of_image, shown)
        width = int(_CHARACTERS_PER_INCH * figure.get_figwidth())
        figure.supxlabel(_legend(wanted, bool(judged), bool(trained), width), fontsize=7)
    return figure


def read_pixels(path: str) -> Pixels:
    """An image file as [H, W, 3] bytes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated or no image.
    """
    try:
        with open_image(path) as image:
            return np.asarray(rgb(image))
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} is missing") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"image {path} is truncated or no image: {error}") from error


def _choose_prompts(
    images: pd.DataFrame, prompts: Sequence[str] | None, per_task: int
) -> list[str]:
    known = images[["task", "prompt_id"]].drop_duplicates()
    if prompts is not None:
        valid = set(known["prompt_id"])
        stop_on([str(unknown("prompt", p, valid)) for p in prompts if p not in valid], "a grid")
        return list(prompts)
    if per_task < 1:
        raise FrameError(f"prompts_per_task is {per_task}, must be at least 1")
    ordered = known.assign(place=rank(known["task"], TASKS)).sort_values(["place", "prompt_id"])
    return ordered.groupby("place").head(per_task)["prompt_id"].to_list()


def _lookup(
    frame: pd.DataFrame, name: str, columns: Sequence[Column], prompts: Sequence[str], what: str
) -> tuple[Places, list[str]]:
    """The value of each column and prompt, and a line for each that is missing or double."""
    found, faults = {}, []
    for column in columns:
        own = frame
        for key, value in column._asdict().items():
            own = own if value is None else own[own[key] == value]
        for prompt in prompts:
            values = own.loc[own["prompt_id"] == prompt, name].to_list()
            if len(values) == 1:
                found[column, prompt] = values[0]
            else:
                faults.append(f"{what}: {len(values) or 'none'} of {column} for {prompt!r}")
    return found, faults


def _titles(columns: Sequence[Column], foreign: Collection[str]) -> list[str]:
    """What tells each column from the others; its method in any case, and whether its images are
    of another tool, from noise of its own."""
    varies = {name: len({getattr(c, name) for c in columns}) > 1 for name in Column._fields}
    rewards = {(c.method, c.reward) for c in columns}
    several = {c.method for c in columns if sum(m == c.method for m, _ in rewards) > 1}
    titles = []
    for column in columns:
        lines = [column.model] if varies["model"] else []
        lines += textwrap.wrap(column.method.replace("_", " "), 14)
        lines += [f"on {column.reward}"] if column.method in several else []
        lines += [f"{column.steps} step{'s' * (column.steps > 1)}"] if varies["steps"] else []
        lines += [f"noise {column.image_index}"] if varies["image_index"] else []
        lines += ["own noise"] if column.method in foreign else []
        titles.append("\n".join(lines))
    return titles


def _axes(n_rows: int, n_columns: int, below_inches: float) -> tuple[Figure, npt.NDArray[Any]]:
    """A column for captions and one for each of ``n_columns``: axes [rows, 1 + n]."""
    width = max(_TEXT_INCHES + n_columns * _CELL_INCHES, 3.4)
    height = n_rows * (_CELL_INCHES + below_inches) + 0.9
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = [_TEXT_INCHES / _CELL_INCHES, *[1.0] * n_columns]
    axes = figure.subplots(n_rows, n_columns + 1, squeeze=False, width_ratios=ratios)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
    return figure, axes


def _draw_image(
    panel: Axes, pixels: Pixels, numbers: Mapping[str, float], shown: Mapping[str, str]
) -> None:
    """An image with the frame and sign of its verdict, if it has one, and values below it."""
    panel.imshow(pixels)
    # Frame and sign stand in a margin, so that they hide nothing.
    height, width = pixels.shape[:2]
    panel.set_xlim(-0.5 - _MARGIN * width, width - 0.5 + _MARGIN * width)
    panel.set_ylim(height - 0.5 + _MARGIN * height, -0.5 - _MARGIN * height)
    if np.isfinite(numbers.get(CORRECT, np.nan)):
        looks = {True: (GREEN, "-", YES), False: (VERMILION, (0, (3, 1.5)), NO)}
        color, line, sign = looks[bool(numbers[CORRECT])]
        for spine in panel.spines.values():
            spine.set(visible=True, color=color, linewidth=2.0, linestyle=line)
        box = {"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none"}
        style: dict[str, Any] = {"color": "white", "fontsize": 7, "bbox": box}
        panel.text(1.0, 0.0, sign, style, ha="center", va="center", transform=panel.transAxes)
    else:
        panel.axis("off")
    told = {m: f"{n:.3g}" if np.isfinite(n) else "left out" for m, n in numbers.items()}
    lines = [f"{name} {told[metric]}" for metric, name in shown.items()]
    if lines:
        style = {"fontsize": 6, "ha": "center", "va": "top"}
        panel.text(0.5, -0.1, "\n".join(lines), style, transform=panel.transAxes)


def _legend(columns: Sequence[Column], judged: bool, several: bool, width: int) -> str:
    """What the figure shows, in lines of at most ``width`` characters."""
    models, numbers = ({getattr(c, name) for c in columns} for name in ("model", "image_index"))
    sentences = ["the same noise along each row, for each model and number of the noise"]
    if len(models) == len(numbers) == 1:
        column = columns[0]
        sentences = [f"{column.model}: same noise along each row (image {column.image_index})"]
    if several:
        sentences += ["of several trainings the one with the smallest seed"]
    if judged:
        sentences += [f"{YES} solid frame: what the prompt asks for (GenEval)"]
        sentences += [f"{NO} dashed frame: something else"]
    return "\n".join(line for text in sentences for line in textwrap.wrap(text, width))
