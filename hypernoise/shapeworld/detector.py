"""An analytic object detector and colour classifier for the embedded world.

Objects are connected components of whatever differs from the background; their class is the
shape template with the largest soft intersection over union, their score falls with a poor fit
and with a faint object. Nothing is learned, so it judges every generator and reward alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from hypernoise.shapeworld.captions import SHAPES
from hypernoise.shapeworld.scenes import OBJECT_PX, RGB, templates

Array = NDArray[np.float32]

#: A pixel belongs to an object when its RGB distance to the background exceeds this.
FOREGROUND_DISTANCE = 0.22
#: Components with fewer pixels are specks, not objects.
MIN_PIXELS = 14
#: Soft IoU at which the score is 0 and 1. Rendered objects fit with an IoU above 0.85.
IOU_RANGE = (0.5, 0.8)
#: RGB distance to the nearest named colour at which the score is 1 and 0: the world's objects are
#: drawn in named colours, a faded or muddy patch is none of them.
COLOR_DISTANCE_RANGE = (0.20, 0.35)
_SHIFT_PX = 2
_PAD = 3


@dataclass(frozen=True)
class Detection:
    """One object: ``box`` is (x0, y0, x1, y1) in pixels, ``score`` in [0, 1]."""

    shape: str
    color: str
    box: tuple[float, float, float, float]
    score: float


def detect(image: Array) -> list[Detection]:
    """Find the objects of an image.

    Args:
        image: [3, H, W] in [0, 1], on a light background that covers at least half of it.

    Returns:
        detections from left to right, top to bottom.
    """
    pixels = np.moveaxis(np.asarray(image, dtype=np.float32), 0, -1)
    background = np.median(pixels.reshape(-1, 3), axis=0)
    distance = np.sqrt(np.square(pixels - background).sum(axis=-1))
    labels, _ = ndimage.label(distance > FOREGROUND_DISTANCE)
    found = []
    for index, window in enumerate(ndimage.find_objects(labels), start=1):
        mask = labels == index
        if mask[window].sum() >= MIN_PIXELS:
            found.append(_describe(pixels, distance, mask, window, background))
    return found


def by_class(
    detections: Iterable[Detection],
) -> tuple[dict[str, list[list[float]]], dict[str, list[str]]]:
    """Detections as GenEval's protocol takes them: class to boxes with score, class to colours."""
    boxes: dict[str, list[list[float]]] = {}
    colors: dict[str, list[str]] = {}
    for found in detections:
        boxes.setdefault(found.shape, []).append([*found.box, found.score])
        colors.setdefault(found.shape, []).append(found.color)
    return boxes, colors


def _describe(
    pixels: Array,
    distance: Array,
    mask: NDArray[np.bool_],
    window: tuple[slice, slice],
    background: Array,
) -> Detection:
    core = mask & (distance >= np.quantile(distance[mask], 0.5))
    mean = pixels[core].mean(axis=0)
    contrast = float(np.sqrt(np.square(mean - background).sum()))
    # Neighbouring components must not lend their pixels, but anti-aliased rims just below the
    # foreground threshold belong to the object.
    own = ndimage.binary_dilation(mask)
    coverage = np.where(own, np.clip(distance / max(contrast, 1e-6), 0.0, 1.0), 0.0)
    shape, overlap = _best_shape(coverage.astype(np.float32), window)
    near, far = COLOR_DISTANCE_RANGE
    named = np.asarray(list(RGB.values()), dtype=np.float32)
    distances = np.sqrt(np.square(named - mean).sum(axis=1))
    nearest = int(distances.argmin())
    score = _ramp(overlap, *IOU_RANGE) * _ramp(-float(distances[nearest]), -far, -near)
    rows, cols = window
    box = (float(cols.start), float(rows.start), float(cols.stop), float(rows.stop))
    return Detection(shape, list(RGB)[nearest], box, score)


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, linear between."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


@cache
def _shifted_templates() -> Array:
    # [8 * shifts, size, size]: every shape at every whole-pixel shift inside a padded window.
    padded = np.pad(templates(), ((0, 0), (_PAD, _PAD), (_PAD, _PAD)))
    shifts = range(-_SHIFT_PX, _SHIFT_PX + 1)
    stack = [np.roll(padded, (dy, dx), axis=(1, 2)) for dy in shifts for dx in shifts]
    return np.stack(stack, axis=1).reshape(-1, *padded.shape[1:])


def _best_shape(coverage: Array, window: tuple[slice, slice]) -> tuple[str, float]:
    size = OBJECT_PX + 2 * _PAD
    padded = np.pad(coverage, size)
    rows, cols = window
    # The window is placed so that an object of the standard size is centred on the component.
    top = round((rows.start + rows.stop - size) / 2) + size
    left = round((cols.start + cols.stop - size) / 2) + size
    crop = padded[top : top + size, left : left + size]
    outside = float(coverage.sum() - crop.sum())
    stack = _shifted_templates()
    shared = np.minimum(stack, crop).sum(axis=(1, 2))
    union = np.maximum(stack, crop).sum(axis=(1, 2)) + max(outside, 0.0)
    overlap = shared / union
    best = int(overlap.argmax())
    return SHAPES[best // (len(stack) // len(SHAPES))], float(overlap[best])
