"""What all figures share: how methods look, panels, axes and legends, and how files are written.

Only figure objects are used, never pyplot: no global state, no display, nothing to close. Methods
differ in marker as well as in colour (Okabe and Ito's palette, made for colour-blind readers).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
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
from PIL.PngImagePlugin import PngInfo

from harness.analysis.interval_columns import with_interval
from harness.base.atomic_files import in_one_go
from harness.experiment.jobs import TableJob
from harness.results import provenance
from harness.results.image_files import open_image

#: Dots per inch; the pdf is drawn in vectors.
PNG_DPI = 200
#: Entry of a PNG's provenance: :func:`pixels_digest`.
PIXELS = "pixels_sha256"
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
GREEN, VERMILION, _GREY = "#009E73", "#D55E00", "#555555"
#: Room that four names in a row may need.
_LEGEND_INCHES = 5.0
#: A logarithmic axis that ends this many times higher than it begins has a label each decade.
_MANY_TIMES = 300.0


class Look(NamedTuple):
    """How a method is drawn."""

    color: str
    marker: str


#: The same method looks the same in all figures; unknown ones take the spare looks in turn.
LOOKS = {
    "base": Look("#000000", "o"),
    "hypernoise": Look("#0072B2", "D"),
    "lora_finetune": Look(VERMILION, "s"),
    "lora_finetune_final": Look("#E69F00", "X"),
    "best_of_n": Look(GREEN, "^"),
    "reno": Look("#CC79A7", "v"),
    "hypernoise_best_of_n": Look("#4FBF9B", ">"),
    "hypernoise_reno": Look("#8A3F66", "<"),
}
_SPARE = (Look("#56B4E9", "P"), Look("#8C6D31", "*"), Look(_GREY, "p"), Look("#4B0082", "h"))


def write(figure: Figure, out: str | Path, job: TableJob) -> list[Path]:
    """Write ``out`` + .png and .pdf, each in one go; provenance is in their metadata.

    That of the PNG holds the hash of its pixels and of the PDF beside it.

    Returns:
        The files.
    """
    name = Path(out).name
    png, pdf = (Path(out).with_name(f"{name}.{kind}") for kind in ("png", "pdf"))
    record = provenance.parse(provenance.collect(f"figure {job.table.name}", job))
    # Drawn once: the layout of a figure that is drawn again may be another.
    save(figure, png, "png", {"Title": job.table.name})
    save_pdf(figure, pdf, job.table.name, record)
    hashes = {"outputs": {pdf.name: provenance.digest(pdf)}, PIXELS: pixels_digest(png)}
    about = PngInfo()
    with open_image(png) as image, in_one_go(png) as partial:
        for key, text in image.info.items():
            if isinstance(text, str):
                about.add_text(str(key), text)
        about.add_text("Description", json.dumps(provenance.sealed(record, **hashes)))
        image.save(partial, format="png", dpi=image.info["dpi"], pnginfo=about)
    return [png, pdf]


def save_pdf(figure: Figure, path: Path, title: str, record: Mapping[str, Any]) -> None:
    """Draw a figure into a PDF that is the same, byte for byte, whenever it is drawn."""
    about = {"Title": title, "Subject": json.dumps(record), "CreationDate": None}
    save(figure, path, "pdf", about)


def pixels_digest(png: Path) -> str:
    """SHA-256 of a PNG's size and pixels, whatever its texts say."""
    with open_image(png) as image:
        drawn = image.convert("RGBA")
        return hashlib.sha256(f"{drawn.size}".encode() + drawn.tobytes()).hexdigest()


def figure_style() -> AbstractContextManager[None]:
    """Matplotlib's defaults and :data:`RC`: a user's matplotlibrc changes no figure."""
    return style.context(["default", RC])


def save(figure: Figure, path: Path, kind: str, metadata: Mapping[str, str | None]) -> None:
    """Draw a figure into a file, ``"png"`` or ``"pdf"``, in one go."""
    with in_one_go(path) as partial, figure_style():
        figure.savefig(partial, format=kind, dpi=PNG_DPI, metadata=dict(metadata))


def panels(
    names: Sequence[str],
    width: float,
    height: float,
    n_rows: int = 1,
    share_y: Literal["none", "row"] = "none",
    share_x: Literal["none", "col"] = "none",
    at_least: float = 4.2,
) -> tuple[Figure, npt.NDArray[Any]]:
    """A column of panels for each name: axes [n_rows, names].

    Args:
        width, height: of one panel, in inches; the legend's line comes on top.
        at_least: the least width of the figure, in inches, that the legend needs.
    """
    size = (max(width * len(names), at_least), height * n_rows + 0.35)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(
        n_rows, len(names), squeeze=False, sharex=share_x, sharey=share_y
    )


def panels_of_models(
    models: Sequence[str],
    labels: Mapping[str, str],
    x_label: str,
    draw: Callable[[Axes, str, str], None],
    **size: Any,
) -> Figure:
    """A column of panels for each model, and a row for each measure.

    Args:
        labels: measure -> label of its y axis, from the top row to the bottom one.
        x_label: below the bottom row.
        draw: what draws into a panel, given its model and its measure.
        size: further arguments of :func:`panels`.
    """
    figure, axes = panels(models, n_rows=len(labels), **size)
    for row, (measure, label) in zip(axes, labels.items(), strict=True):
        row[0].set_ylabel(label)
        for model, panel in zip(models, row, strict=True):
            draw(panel, model, measure)
    for model, top, bottom in zip(models, axes[0], axes[-1], strict=True):
        top.set_title(model)
        bottom.set_xlabel(x_label)
    return figure


def draw_points(panel: Axes, rows: pd.DataFrame, x: str, y: str, look: Look, **style: Any) -> None:
    """Rows as points with the intervals of y; lines join them unless the style says ``ls=""``."""
    _, *bounds = with_interval(y)
    spread = np.abs(rows[bounds].to_numpy() - rows[[y]].to_numpy()).T
    drawn = {"color": look.color, "marker": look.marker, "ms": 6, "lw": 1, "capsize": 2, **style}
    panel.errorbar(rows[x], rows[y], yerr=spread, **drawn)


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
