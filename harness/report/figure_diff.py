"""Figures drawn anew: whether a stored one looks like what its frames give now.

The PNG is compared pixel by pixel. Another matplotlib draws another picture of the same numbers, so
a picture is compared only with one that the same version drew. PDFs are compared by
:func:`harness.verification.products.figure`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from harness.report.figure_style import save
from harness.results.image_files import open_image

#: Levels of 255: another build of numpy may sum in another order, which moves an edge by less.
TOLERANCE = 1
_DRAWN_BY = re.compile(r"Matplotlib version([^\s,]+)")


def drawn_by(png: Path) -> str:
    """The version of matplotlib that a PNG names as its maker; empty if none."""
    with open_image(png) as image:
        found = _DRAWN_BY.match(str(image.info.get("Software", "")))
    return found[1] if found else ""


def is_comparable(png: Path) -> bool:
    """Whether the matplotlib of this process drew a PNG."""
    return drawn_by(png) == matplotlib.__version__


def differences(png: Path, figure: Figure, folder: Path) -> Iterator[str]:
    """How a stored PNG differs from a figure, in words; nothing where it does not.

    Args:
        folder: gets the figure, drawn anew.
    """
    anew = folder / png.name
    save(figure, anew, "png", {})
    was, now = (_pixels(path) for path in (png, anew))
    if was.shape != now.shape:
        yield f"has {_size(was)} px, redrawn {_size(now)} px"
        return
    rows, columns = np.nonzero((np.abs(was - now) > TOLERANCE).any(axis=2))
    if len(rows):
        box = f"x {columns.min()} to {columns.max()}, y {rows.min()} to {rows.max()}"
        yield f"differs from what its frames give in {len(rows)} pixels, within {box}"


def _pixels(png: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """[H, W, 4], signed, so that levels can be subtracted."""
    with open_image(png) as image:
        return np.asarray(image.convert("RGBA")).astype(np.int16)


def _size(pixels: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> str:
    height, width = pixels.shape[:2]
    return f"{width} x {height}"
