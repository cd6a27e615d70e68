"""Train the embedded world's judge on drawn pictures and what was drawn.

No caption, no detector and no image of a generator has a part in it. Pictures have the faults that
generators make: objects that fade, that are smeared over two places, or that are two shapes or two
colours at once. What is half there is half true.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from torch import Tensor, nn

from hypernoise.shapeworld.captions import COLORS, SHAPES
from hypernoise.shapeworld.pretraining import train_network
from hypernoise.shapeworld.recogniser import PLACES, Recogniser
from hypernoise.shapeworld.scenes import RGB, SIZE_PX, paint, templates

#: Opacity below which nothing is there and above which all of it is.
_NOTHING, _ALL = 0.4, 0.8
#: Reach of an object's presence around its centre, in pixels.
_REACH_PX = 1.5
_APART_PX = 10.0
_EDGE_PX = 5.0
_TRIES = 20
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class JudgeRecipe:
    """How the judge is trained."""

    name: str
    seed: int
    steps: int = 2500
    batch_size: int = 64
    learning_rate: float = 3e-3
    width: int = 48
    blocks: int = 3


JUDGES = {recipe.name: recipe for recipe in (JudgeRecipe("matcher_judge", seed=21),)}


@dataclass(frozen=True)
class Thing:
    """Something drawn: ``row`` and ``col`` are its centre in pixels; ``shapes`` and ``colors`` [8]
    are the shares of each, which sum to 1."""

    row: float
    col: float
    opacity: float
    shapes: Floats
    colors: Floats


def train_judge(recipe: JudgeRecipe, path: Path) -> None:
    """Train the judge and save it as safetensors."""
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    network = Recogniser(recipe.width, recipe.blocks)

    def loss() -> Tensor:
        pictures = [things(rng) for _ in range(recipe.batch_size)]
        images = torch.from_numpy(np.stack([smeared(draw(each, rng), rng) for each in pictures]))
        return recognition_loss(network(images), pictures)

    train_network(network, recipe, loss, path, started)


def recognition_loss(logits: Tensor, pictures: Sequence[Sequence[Thing]]) -> Tensor:
    """How badly logits [B, 17, 16, 16] tell presence, shape and colour of what was drawn."""
    present = torch.from_numpy(np.stack([_presence(each) for each in pictures]))
    loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], present) * 40
    seen = [(n, thing) for n, each in enumerate(pictures) for thing in each if _visible(thing) > 0]
    rows, cols = zip(*(_place(thing) for _, thing in seen), strict=True)
    at = logits[[n for n, _ in seen], :, rows, cols]
    cut = 1 + len(SHAPES)
    shapes = torch.from_numpy(np.stack([thing.shapes for _, thing in seen]))
    colors = torch.from_numpy(np.stack([thing.colors for _, thing in seen]))
    loss = loss + nn.functional.cross_entropy(at[:, 1:cut], shapes)
    return loss + nn.functional.cross_entropy(at[:, cut:], colors)


def _visible(thing: Thing) -> float:
    return float(np.clip((thing.opacity - _NOTHING) / (_ALL - _NOTHING), 0, 1))


def _place(thing: Thing) -> tuple[int, int]:
    scale = SIZE_PX / PLACES
    row, col = (int(np.clip(at / scale, 0, PLACES - 1)) for at in (thing.row, thing.col))
    return row, col


def _presence(each: Sequence[Thing]) -> Floats:
    """[16, 16] in [0, 1]: how much an object's centre is at each place."""
    centres = (np.arange(PLACES) + 0.5) * SIZE_PX / PLACES
    found: Floats = np.zeros((PLACES, PLACES), dtype=np.float32)
    for thing in each:
        visible = _visible(thing)
        squared = np.add.outer((centres - thing.row) ** 2, (centres - thing.col) ** 2)
        near = visible * np.exp(-squared / (2 * _REACH_PX**2))
        near[_place(thing)] = visible
        found = np.maximum(found, near).astype(np.float32)
    return found


def things(rng: np.random.Generator) -> list[Thing]:
    """What one picture shows: one to five objects, alike as often as not, some with a fault."""
    found: list[Thing] = []
    first = (int(rng.integers(len(SHAPES))), int(rng.integers(len(COLORS))))
    for _ in range(int(rng.choice(5, p=(0.2, 0.3, 0.2, 0.2, 0.1))) + 1):
        where = _free(found, rng)
        if where is None:
            break
        shape = first[0] if rng.random() < 0.5 else int(rng.integers(len(SHAPES)))
        color = first[1] if rng.random() < 0.3 else int(rng.integers(len(COLORS)))
        fault = rng.random()
        opacity = float(rng.uniform(0.05, 1.0) if fault < 0.25 else rng.uniform(0.85, 1.0))
        found.append(
            Thing(
                *where,
                opacity,
                _shares(shape, len(SHAPES), rng if 0.25 <= fault < 0.4 else None),
                _shares(color, len(COLORS), rng if 0.4 <= fault < 0.5 else None),
            )
        )
    return found


def _shares(main: int, n: int, rng: np.random.Generator | None) -> Floats:
    """[n], all of it the main one's; with a generator, some of it another's."""
    found: Floats = np.eye(n, dtype=np.float32)[main]
    if rng is not None:
        share = np.float32(rng.uniform(0, 0.5))
        found = (1 - share) * found + share * np.eye(n, dtype=np.float32)[rng.integers(n)]
    return found


def _free(found: Sequence[Thing], rng: np.random.Generator) -> tuple[float, float] | None:
    for _ in range(_TRIES):
        row, col = (float(at) for at in rng.uniform(_EDGE_PX, SIZE_PX - _EDGE_PX, 2))
        if all(max(abs(row - o.row), abs(col - o.col)) >= _APART_PX for o in found):
            return row, col
    return None


def draw(each: Sequence[Thing], rng: np.random.Generator) -> Floats:
    """A picture [3, 32, 32] in [0, 1] of things on a light background."""
    image = np.empty((3, SIZE_PX, SIZE_PX), dtype=np.float32)
    image[:] = rng.uniform(0.86, 1.0, (3, 1, 1))
    named = np.asarray(list(RGB.values()), dtype=np.float32)
    for thing in each:
        cover = thing.opacity * np.tensordot(thing.shapes, templates(), 1)
        paint(image, cover, thing.colors @ named, (thing.row, thing.col))
    return image


def smeared(image: Floats, rng: np.random.Generator) -> Floats:
    """An image [3, 32, 32] in [0, 1] with a generator's softness, grain and shades."""
    soft = gaussian_filter(image, (0, *[float(rng.uniform(0, 0.8))] * 2))
    grain = rng.normal(0, float(rng.uniform(0, 0.04)), image.shape)
    rough = rng.normal(0, float(rng.uniform(0, 0.2)), image.shape)
    blotches = gaussian_filter(rough, (0, 1.5, 1.5))
    shade = rng.normal(0, 0.02, (3, 1, 1))
    return np.asarray(np.clip(soft + grain + blotches + shade, 0, 1), dtype=np.float32)
