"""Figures: pure functions of frames, and how they are drawn and written.

A figure function takes frames and arguments as a table function does
(:mod:`harness.analysis.tables`) and
returns a matplotlib Figure. Only figure objects are used, never pyplot: no global state, no
display, nothing to close.

Methods differ in marker as well as in colour (Okabe and Ito's palette, made for colour-blind
readers), and verdicts in sign as well as in colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

from harness.analysis.gains import CORRECT
from harness.analysis.pairing import (
    CELL,
    PICTURE,
    FrameError,
    choose,
    missing,
    pair,
    rank,
    require,
    stop_on,
)
from harness.analysis.training_curve import curve, without_validations
from harness.base.atomic_files import in_one_go
from harness.base.import_strings import unknown
from harness.benchmarks.geneval import TASKS
from harness.experiment.jobs import TableJob
from harness.results import provenance

#: Dots per inch; the pdf is drawn in vectors.
PNG_DPI = 200
#: What every figure sets of matplotlib's defaults.
RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "image.interpolation": "auto",
}
_GREEN, _VERMILION, _GREY = "#009E73", "#D55E00", "#555555"
YES, NO = "\N{CHECK MARK}", "\N{BALLOT X}"
_TEXT_INCHES, _CELL_INCHES = 1.3, 1.05
#: Room that four names in a row may need.
_LEGEND_INCHES = 5.0
#: A logarithmic axis that ends this many times higher than it begins has a label each decade.
_MANY_TIMES = 300.0
#: White space around an image, as a share of its size.
_MARGIN = 0.03


class Look(NamedTuple):
    """How a method is drawn."""

    color: str
    marker: str


#: The same method looks the same in all figures; unknown ones take the spare looks in turn.
LOOKS = {
    "base": Look("#000000", "o"),
    "hypernoise": Look("#0072B2", "D"),
    "lora_finetune": Look(_VERMILION, "s"),
    "lora_finetune_final": Look("#E69F00", "X"),
    "best_of_n": Look(_GREEN, "^"),
    "reno": Look("#CC79A7", "v"),
    "hypernoise_best_of_n": Look("#4FBF9B", ">"),
    "hypernoise_reno": Look("#8A3F66", "<"),
}
_SPARE = (Look("#56B4E9", "P"), Look("#8C6D31", "*"), Look(_GREY, "p"), Look("#4B0082", "h"))

Pixels = npt.NDArray[np.uint8]


def write(figure: Figure, out: str | Path, job: TableJob) -> list[Path]:
    """Write ``out`` + .png and .pdf, each in one go; provenance is in their metadata.

    Returns:
        The files.
    """
    out = Path(out)
    record = provenance.collect(f"figure {job.table.name}", job)
    about = {
        "png": {"Title": job.table.name, "Description": record},
        "pdf": {"Title": job.table.name, "Subject": record},
    }
    files = []
    for kind, metadata in about.items():
        path = out.with_name(f"{out.name}.{kind}")
        save(figure, path, kind, metadata)
        files.append(path)
    return files


def figure_style() -> AbstractContextManager[None]:
    """Matplotlib's defaults and :data:`RC`: a user's matplotlibrc changes no figure."""
    return style.context(["default", RC])


def save(figure: Figure, path: Path, kind: str, metadata: dict[str, str]) -> None:
    """Draw a figure into a file, ``"png"`` or ``"pdf"``, in one go."""
    with in_one_go(path) as partial, figure_style():
        figure.savefig(partial, format=kind, dpi=PNG_DPI, metadata=metadata)


def figure4(
    training: pd.DataFrame,
    *,
    reward: str = "redness",
    quality: str = "judge_reward",
    models: Sequence[str] | None = None,
    methods: Sequence[str] = ("hypernoise", "lora_finetune"),
) -> Figure:
    """The paper's figure 4: what rising training reward does to an independent reward.

    Args:
        training: training rows with validations.
        reward: the training reward; its validation values are the x axis.
        quality: name of the validation value on the y axis.
        models: one panel each, in this order; all by name if None.
        methods: one line each, from the untrained model through the validated steps.

    Raises:
        FrameError: a training or a value is missing, double or not finite.
    """
    table = curve(training, models=models, methods=methods, reward=reward)
    x, y = "validation_reward", f"validation_{quality}"
    shown = list(models or sorted(table["model"].unique()))
    stop_on(without_validations(table, [x, y], shown, methods), "figure 4")
    with figure_style():
        figure, axes = panels(shown, width=3.3, height=2.9)
        for model, panel in zip(shown, axes[0], strict=True):
            panel.set(title=model, xlabel=f"{reward} (training reward)")
            for number, method in enumerate(methods):
                line = table[(table["model"] == model) & (table["method"] == method)]
                look = look_of(method, methods)
                _trajectory(panel, line, x, y, look, above=number % 2 == 0)
            panel.margins(0.12)
        axes[0, 0].set_ylabel(f"{quality} (independent)")
        start = Line2D([], [], marker="o", ls="", mfc="white", mec="black", ms=8, label="step 0")
        draw_legend(figure, methods, [start])
        figure.supxlabel("means over validation prompts; numbers are training steps", fontsize=7)
    return figure


def grid(
    images: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    model: str,
    methods: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    prompts_per_task: int = 1,
    image_index: int = 0,
    baseline: str = "base",
    load: Callable[[str], Pixels] | None = None,
) -> Figure:
    """Images from the same noise: a row per prompt, a column per method.

    Args:
        images: image rows; ``path`` leads to the file.
        scores: score rows; a frame and a sign show each image's GenEval verdict.
        model: whose images.
        methods: the columns, in this order; all, by name and the baseline first, if None. A
            method with several rewards or step counts gets a column for each.
        prompts: prompt ids of the rows, in this order; if None the first ids of each task, so
            that nobody's taste chooses.
        prompts_per_task: how many of each task, where ``prompts`` is None.
        image_index: which of a prompt's images.
        baseline: the first column, where ``methods`` is None.
        load: reads a file as [H, W, 3] bytes.

    Raises:
        FrameError: the model, a method, a prompt, an image or a score is missing or double.
        FileNotFoundError: an image file is missing.
    """
    images = _images_of(images, model, methods, image_index)
    rows = choose_prompts(images, prompts, prompts_per_task)
    images = images[images["prompt_id"].isin(rows)]
    keys = images[["prompt_id", "seed", "image_index"]].drop_duplicates()
    scores = choose(scores, [model], methods).merge(keys)
    paired, faults = pair(scores, [CORRECT], images)
    stop_on(faults, "a grid")
    places = rank(paired.cells["method"], methods or [baseline])
    columns = paired.cells.assign(place=places).sort_values(["place", "reward", "steps"])
    correct = pd.DataFrame(paired.scores[CORRECT], columns=paired.pictures["prompt_id"])
    with figure_style():
        figure, axes = grid_axes(len(rows), len(columns))
        for j, (cell, title) in enumerate(zip(columns.index, _titles(columns), strict=True)):
            of_cell = images.merge(columns.loc[[cell], list(CELL)]).set_index("prompt_id")
            axes[0, j + 1].set_title(title, fontsize=8)
            for i, prompt in enumerate(rows):
                pixels = (load or read_pixels)(str(of_cell.loc[prompt, "path"]))
                draw_picture(axes[i, j + 1], pixels, bool(correct.loc[cell, prompt]))
        draw_captions(axes[:, 0], images, rows)
        legend = (
            f"{model}: same noise along each row (image {image_index})",
            f"{YES} solid frame: what the prompt asks for (GenEval)",
            f"{NO} dashed frame: something else",
        )
        figure.supxlabel("\n".join(legend), fontsize=8)
    return figure


def read_pixels(path: str) -> Pixels:
    """An image file as [H, W, 3] bytes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated or no image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise FileNotFoundError(f"image {path} is missing") from None
    except OSError as error:
        raise ValueError(f"image {path} is truncated or no image: {error}") from error


def panels(
    names: Sequence[str],
    width: float,
    height: float,
    n_rows: int = 1,
    share_y: Literal["none", "row"] = "none",
) -> tuple[Figure, npt.NDArray[Any]]:
    """A column of panels for each name: axes [n_rows, names].

    Args:
        width, height: of one panel, in inches; the legend's line comes on top.
    """
    size = (max(width * len(names), 4.2), height * n_rows + 0.35)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(n_rows, len(names), squeeze=False, sharey=share_y)


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


def plain_log_ticks(panel: Axes) -> None:
    """Label a logarithmic x axis with numbers."""
    low, high = panel.get_xlim()
    # A span below a decade would have one tick only, and over three decades 1, 2, 5 have no room.
    subs = (1.0, 2.0, 5.0) if high < _MANY_TIMES * low else (1.0,)
    panel.xaxis.set_major_locator(LogLocator(subs=subs))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.xaxis.set_minor_locator(NullLocator())


def draw_legend(figure: Figure, methods: Sequence[str], extra: Sequence[Line2D] = ()) -> None:
    """A line per method above the panels, and further ones after them."""
    looks = [(name, look_of(name, methods)) for name in methods]
    lines = [Line2D([], [], color=c, marker=m, ms=5, lw=1.5, label=name) for name, (c, m) in looks]
    ncols = 4 if figure.get_figwidth() > _LEGEND_INCHES else 3
    figure.legend(handles=[*lines, *extra], loc="outside upper center", ncols=ncols)


def look_of(method: str, methods: Sequence[str]) -> Look:
    """How a method is drawn among others."""
    if method in LOOKS:
        return LOOKS[method]
    strange = [name for name in methods if name not in LOOKS]
    return _SPARE[strange.index(method) % len(_SPARE)]


def choose_prompts(images: pd.DataFrame, prompts: Sequence[str] | None, per_task: int) -> list[str]:
    """The prompts asked for, or the first ids of each task.

    Raises:
        FrameError: a prompt has no image, or ``per_task`` is below 1.
    """
    known = images[["task", "prompt_id"]].drop_duplicates()
    if prompts is not None:
        valid = set(known["prompt_id"])
        stop_on([str(unknown("prompt", p, valid)) for p in prompts if p not in valid], "a grid")
        return list(prompts)
    if per_task < 1:
        raise FrameError(f"prompts_per_task is {per_task}, must be at least 1")
    ordered = known.assign(place=rank(known["task"], TASKS)).sort_values(["place", "prompt_id"])
    return ordered.groupby("place").head(per_task)["prompt_id"].to_list()


def _images_of(
    images: pd.DataFrame, model: str, methods: Sequence[str] | None, image_index: int
) -> pd.DataFrame:
    """The rows of one image per prompt and method of a model, from the smallest seed."""
    require(images, (*CELL, *PICTURE, "prompt", "path"), "images")
    stop_on(missing(images, [model], methods), "a grid")
    images = choose(images, [model], methods)
    chosen = (images["image_index"] == image_index) & (images["seed"] == images["seed"].min())
    if not chosen.any():
        raise FrameError(f"a grid cannot be made: {model!r} has no image {image_index}")
    kept: pd.DataFrame = images[chosen]
    return kept


def _titles(columns: pd.DataFrame) -> list[str]:
    """Method names, with what tells columns of the same method apart."""
    rewards = columns[columns["reward"] != ""].groupby("method")["reward"].nunique()
    several_steps = columns["steps"].nunique() > 1
    titles = []
    for row in columns.itertuples():
        lines = textwrap.wrap(str(row.method).replace("_", " "), 14)
        lines += [f"on {row.reward}"] if rewards.get(row.method, 0) > 1 else []
        lines += [f"{row.steps} steps"] if several_steps else []
        titles.append("\n".join(lines))
    return titles


def grid_axes(
    n_rows: int, n_columns: int, below_inches: float = 0.0
) -> tuple[Figure, npt.NDArray[Any]]:
    """A figure with a column for captions and one for each of ``n_columns``: axes [rows, 1 + n].

    Args:
        below_inches: room for words below each image.
    """
    width = max(_TEXT_INCHES + n_columns * _CELL_INCHES, 3.4)
    figure = Figure(
        figsize=(width, n_rows * (_CELL_INCHES + below_inches) + 0.9), layout="constrained"
    )
    FigureCanvasAgg(figure)
    ratios = [_TEXT_INCHES / _CELL_INCHES, *[1.0] * n_columns]
    axes = figure.subplots(n_rows, n_columns + 1, squeeze=False, width_ratios=ratios)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
    return figure, axes


def draw_picture(panel: Axes, pixels: Pixels, correct: bool | None) -> None:
    """An image [H, W, 3] with the frame and sign of a verdict; None for one without."""
    panel.imshow(pixels)
    # Frame and sign stand in a margin, so that they hide nothing.
    height, width = pixels.shape[:2]
    panel.set_xlim(-0.5 - _MARGIN * width, width - 0.5 + _MARGIN * width)
    panel.set_ylim(height - 0.5 + _MARGIN * height, -0.5 - _MARGIN * height)
    if correct is None:
        panel.axis("off")
        return
    color, line, sign = (_GREEN, "-", YES) if correct else (_VERMILION, (0, (3, 1.5)), NO)
    for spine in panel.spines.values():
        spine.set(visible=True, color=color, linewidth=2.0, linestyle=line)
    box = {"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none"}
    style: dict[str, Any] = {"color": "white", "fontsize": 7, "bbox": box}
    panel.text(1.0, 0.0, sign, style, ha="center", va="center", transform=panel.transAxes)


def draw_captions(panels: npt.NDArray[Any], images: pd.DataFrame, prompts: Sequence[str]) -> None:
    """The texts of prompts, by their ids, beside their rows."""
    texts = images.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
    for panel, prompt in zip(panels, prompts, strict=True):
        panel.axis("off")
        wrapped, place = textwrap.fill(texts[prompt], 19), panel.transAxes
        panel.text(0.97, 0.5, wrapped, fontsize=8, ha="right", va="center", transform=place)
