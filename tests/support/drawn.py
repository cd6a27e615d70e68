"""What is drawn in a figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from harness.report.figure_style import LOOKS


def shade(path: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A one-coloured image that tells which file was asked for."""
    return np.full((8, 8, 3), sum(path.encode()) % 251, dtype=np.uint8)


def line_of(panel: Axes, method: str) -> np.ndarray[Any, np.dtype[Any]]:
    color = LOOKS[method].color
    (found,) = (line for line in panel.lines if line.get_color() == color)
    return np.column_stack(found.get_data())


def texts(figure: Figure) -> Iterator[Text]:
    """The words that are drawn: matplotlib also keeps labels of ticks beyond the axes."""
    figure.draw_without_rendering()
    beyond = set()
    for panel in figure.axes:
        for coordinate, axis in enumerate((panel.xaxis, panel.yaxis)):
            low, high = axis.get_view_interval()
            places = [(label, label.get_position()[coordinate]) for label in axis.get_ticklabels()]
            beyond |= {label for label, place in places if not low <= place <= high}
    for text in figure.findobj(Text):
        if text not in beyond and text.get_visible() and text.get_window_extent().width:
            yield text


def check_words(figures: Iterable[Figure]) -> None:
    """Check that all words lie within their figure and off one another."""
    for figure in figures:
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
        assert len(boxes) > 5
        for words, box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0, words
            assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, words
        overlapping = [
            (one, other)
            for i, (one, box) in enumerate(boxes)
            for other, second in boxes[i + 1 :]
            if box.overlaps(second)
        ]
        assert not overlapping
