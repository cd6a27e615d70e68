"""Scenes of the embedded world: where objects stand, and how they are drawn.

The world is defined by a procedural map (noise, caption) -> scene. Peaks of the noise on an
8x8 grid decide where objects stand, signs of the noise decide the colours that the caption
leaves open. A generator that regresses this map is one-step by construction; where two peaks
are nearly equal it cannot tell which one wins and draws a ghost at both. That ambiguity is
the room that better noise can win.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hypernoise.shapeworld.captions import COLORS, SHAPES, Caption

SIZE_PX = 32
GRID = 8
CELL_PX = SIZE_PX // GRID
OBJECT_PX = 11
#: Objects on cells closer than this (Chebyshev) would touch.
MIN_CELLS_APART = 3
N_FEATURES = 4

RGB = {
    "black": (0.08, 0.08, 0.10),
    "blue": (0.10, 0.25, 0.85),
    "green": (0.10, 0.60, 0.20),
    "purple": (0.50, 0.15, 0.65),
    "pink": (1.00, 0.45, 0.72),
    "red": (0.86, 0.10, 0.12),
    "orange": (1.00, 0.55, 0.05),
    "yellow": (0.95, 0.86, 0.10),
}
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Placed:
    """One drawn object; ``row`` and ``col`` are its centre in pixels."""

    shape: str
    color: str
    row: float
    col: float
    opacity: float = 1.0


@dataclass(frozen=True)
class Scene:
    """Objects on a plain background (RGB in [0, 1])."""

    objects: tuple[Placed, ...]
    background: tuple[float, float, float]


def noise_features(noise: Tensor) -> Tensor:
    """Unit-variance features of the noise on the world's grid.

    Args:
        noise: [B, C, H, W] with C >= 4 and H = W a multiple of 8, standard normal.

    Returns:
        [B, 4, 8, 8]: the first four channels, block sums scaled back to unit variance.
    """
    factor = noise.shape[-1] // GRID
    features = noise[:, :N_FEATURES]
    if factor == 1:
        return features
    return torch.nn.functional.avg_pool2d(features, factor) * factor


def lay_out(caption: Caption, features: Array) -> Scene:
    """The scene that the world shows for a caption from given noise.

    Args:
        caption: what to show.
        features: [4, 8, 8] of :func:`noise_features`, for one image.
    """
    first = caption.subjects[0]
    tint = 0.93 + 0.05 * np.tanh(3.0 * features[1:].mean(axis=(1, 2)))
    background = (float(tint[0]), float(tint[1]), float(tint[2]))
    if len(caption.subjects) == 1:
        cells = _peaks(features[0], first.count)
        placed = [_place(first.shape, first.color, cell, features, 1) for cell in cells]
        return Scene(tuple(placed), background)
    second = caption.subjects[1]
    anchor, other = _pair(features, caption.relation)
    return Scene(
        (
            _place(first.shape, first.color, anchor, features, 1),
            _place(second.shape, second.color, other, features, 0),
        ),
        background,
    )


def _place(
    shape: str, color: str | None, cell: tuple[int, int], features: Array, spare: int
) -> Placed:
    # The feature that chose the cell is large there by construction: its sign says nothing,
    # so the open colour is read from the other three.
    row, col = cell
    if color is None:
        bits = [features[k, row, col] > 0 for k in (spare, 2, 3)]
        color = COLORS[int(bits[0]) * 4 + int(bits[1]) * 2 + int(bits[2])]
    return Placed(shape, color, CELL_PX * row + CELL_PX / 2, CELL_PX * col + CELL_PX / 2)


def _masked(score: Array, allowed: NDArray[np.bool_]) -> tuple[int, int]:
    flat = int(np.where(allowed, score, -np.inf).argmax())
    return flat // GRID, flat % GRID


@cache
def _inner() -> NDArray[np.bool_]:
    inner = np.zeros((GRID, GRID), dtype=bool)
    inner[1:-1, 1:-1] = True
    return inner


def _peaks(score: Array, count: int) -> list[tuple[int, int]]:
    # Four objects three cells apart fit on the 6x6 inner grid only if none of them blocks a
    # quadrant's last place, so several objects take one peak per quadrant, best quadrants first.
    if count == 1:
        return [_masked(score, _inner())]
    best: list[tuple[float, tuple[int, int]]] = []
    for top in (1, 5):
        for left in (1, 5):
            block = score[top : top + 2, left : left + 2]
            flat = int(block.argmax())
            best.append((float(block.max()), (top + flat // 2, left + flat % 2)))
    best.sort(reverse=True)
    return [cell for _, cell in best[:count]]


_TOWARDS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}


def _pair(features: Array, relation: str | None) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, cols = np.indices((GRID, GRID))
    if relation is None:
        anchor = _masked(features[0], _inner())
        distance = np.maximum(abs(rows - anchor[0]), abs(cols - anchor[1]))
        return anchor, _masked(features[1], _inner() & (distance >= MIN_CELLS_APART))
    d_row, d_col = _TOWARDS[relation]
    along, across = (rows, cols) if d_row else (cols, rows)
    sign = d_row + d_col
    # The second stands on the side that the relation names, so the first keeps to the other half.
    half = along >= GRID // 2 if sign < 0 else along < GRID // 2
    anchor = _masked(features[0], _inner() & half)
    a_along, a_across = anchor if d_row else anchor[::-1]
    ahead = (along - a_along) * sign
    cone = (ahead >= MIN_CELLS_APART) & (abs(across - a_across) <= 2)
    return anchor, _masked(features[1], _inner() & cone)


@cache
def templates(size_px: int = OBJECT_PX, oversampling: int = 8) -> Array:
    """Anti-aliased coverage masks of all shapes: [8, size, size] in [0, 1]."""
    n = size_px * oversampling
    axis = (np.arange(n) + 0.5) / n * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius = np.hypot(x, y)
    arms = (abs(x) < 0.30) | (abs(y) < 0.30)
    lobes = np.hypot(abs(x) - 0.46, y + 0.40) < 0.50
    point = (abs(x) + (y + 0.40) * 0.72 < 0.93) & (y > -0.40)
    inside = {
        "circle": radius < 0.94,
        "square": np.maximum(abs(x), abs(y)) < 0.86,
        "triangle": (y < 0.82) & (y > 2.0 * abs(x) - 0.98),
        "diamond": abs(x) * 1.25 + abs(y) < 0.98,
        "cross": arms & (np.maximum(abs(x), abs(y)) < 0.95),
        "ring": (radius < 0.96) & (radius > 0.52),
        "heart": lobes | point,
        "moon": (radius < 0.96) & (np.hypot(x - 0.55, y) > 0.72),
    }
    masks = np.stack([inside[shape].astype(np.float32) for shape in SHAPES])
    stacked = masks.reshape(len(SHAPES), size_px, oversampling, size_px, oversampling)
    return np.asarray(stacked.mean(axis=(2, 4)), dtype=np.float32)


def render(scene: Scene) -> Array:
    """Draw a scene: [3, 32, 32] in [0, 1]; later objects cover earlier ones."""
    image = np.empty((3, SIZE_PX, SIZE_PX), dtype=np.float32)
    image[:] = np.asarray(scene.background, dtype=np.float32)[:, None, None]
    masks = templates()
    for item in scene.objects:
        color = np.asarray(RGB[item.color], dtype=np.float32)
        cover = item.opacity * masks[SHAPES.index(item.shape)]
        paint(image, cover, color, (item.row, item.col))
    return image


def paint(image: Array, cover: Array, color: Array, centre: tuple[float, float]) -> None:
    """Lay a colour over an image [3, 32, 32] in place.

    Args:
        cover: [11, 11], how much of each pixel the colour covers; what lies outside is cut off.
        color: [3].
        centre: row and column of the cover's middle, in pixels.
    """
    top, left = (round(at - OBJECT_PX / 2) for at in centre)
    rows = slice(max(top, 0), min(top + OBJECT_PX, SIZE_PX))
    cols = slice(max(left, 0), min(left + OBJECT_PX, SIZE_PX))
    seen = cover[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
    image[:, rows, cols] += seen * (color[:, None, None] - image[:, rows, cols])


def render_batch(scenes: list[Scene]) -> Tensor:
    """Draw scenes: [B, 3, 32, 32] in [0, 1]."""
    return torch.from_numpy(np.stack([render(scene) for scene in scenes]))
