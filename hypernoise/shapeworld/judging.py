"""Train the embedded world's judge: what no reward and no generator taught it.

The judge reads drawn scenes alone, with what was drawn as the truth: no image of a generator, no
detector. Its captions are of the ``train`` split, which the reward never reads. Scenes have the
faults that generators make: objects that are missing, too many, faded, melted into one another.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from torch import Tensor, nn

from hypernoise.progress import Progress
from hypernoise.shapeworld.captions import COLORS, SHAPES
from hypernoise.shapeworld.detector import Detection
from hypernoise.shapeworld.judge_network import JudgeNetwork
from hypernoise.shapeworld.matcher_files import save_matcher
from hypernoise.shapeworld.matcher_network import word_ids
from hypernoise.shapeworld.matching import TASK_WEIGHTS, Decide, edited, holds, object_loss
from hypernoise.shapeworld.pretraining import Data, optimise, schedule
from hypernoise.shapeworld.scenes import (
    CELL_PX,
    GRID,
    OBJECT_PX,
    SIZE_PX,
    Placed,
    Scene,
    lay_out,
    noise_features,
    render,
)

SPLIT = "train"
#: Opacity of what is there and of what is not: between them nobody could say.
_THERE, _GHOST = (0.75, 1.0), (0.05, 0.35)
_APART_PX = 11.0
_TRIES = 10


@dataclass(frozen=True)
class JudgeRecipe:
    """How the judge is trained."""

    name: str
    seed: int
    steps: int = 3000
    batch_size: int = 64
    captions_per_image: int = 2
    learning_rate: float = 2e-3
    width: int = 64
    blocks: int = 4
    text_width: int = 96
    object_weight: float = 0.5


JUDGES = {recipe.name: recipe for recipe in (JudgeRecipe("matcher_judge", seed=21),)}


def train_judge(recipe: JudgeRecipe, decide: Decide, path: Path) -> None:
    """Train the judge and save it.

    Args:
        recipe: how.
        decide: GenEval's decision, which the harness owns; it is given what was drawn.
        path: safetensors file to write.
    """
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    data = Data.seeded(recipe.seed, (SPLIT,))
    data.task_weights = TASK_WEIGHTS
    network = JudgeNetwork(recipe.width, recipe.blocks, recipe.text_width)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.02)
    losses: list[float] = []
    progress = Progress(f"pretrain {recipe.name}", recipe.steps, "steps")
    for _ in progress.each(schedule(optimizer, recipe.learning_rate, recipe.steps, 100)):
        loss = _loss(network, recipe, data, decide)
        optimise(optimizer, loss, network.parameters(), 1.0)
        losses.append(loss.item())
        progress.note = f"loss {np.mean(losses[-100:]):.4f}"
    facts = {"recipe": json.dumps(asdict(recipe)), "seconds": f"{time.monotonic() - started:.0f}"}
    save_matcher(network, path, facts)


def _loss(network: JudgeNetwork, recipe: JudgeRecipe, data: Data, decide: Decide) -> Tensor:
    chosen = data.captions(recipe.batch_size)
    features = noise_features(data.noise((len(chosen), 4, GRID, GRID))).numpy()
    scenes = [
        flawed(lay_out(caption, feature), data.rng)
        for caption, feature in zip(chosen, features, strict=True)
    ]
    seen = [drawn(scene) for scene in scenes]
    asked, truth = [], []
    for caption, objects in zip(chosen, seen, strict=True):
        edits = (edited(caption, data.rng, SPLIT) for _ in range(recipe.captions_per_image - 1))
        for option in (caption, *edits):
            asked.append(option.text)
            truth.append(holds(option, objects, decide))
    images = torch.from_numpy(np.stack([smeared(render(scene), data.rng) for scene in scenes]))
    tokens = network.image_tokens(images)
    repeated = tokens.repeat_interleave(recipe.captions_per_image, dim=0)
    logits = network.match(repeated, word_ids(asked))
    target = torch.tensor(truth, dtype=torch.float32)
    matching = nn.functional.binary_cross_entropy_with_logits(logits, target)
    return matching + recipe.object_weight * object_loss(network.objects(tokens), seen)


def drawn(scene: Scene) -> list[Detection]:
    """What a scene shows, in the form in which a detector would say it."""
    half = OBJECT_PX / 2
    return [
        Detection(
            item.shape,
            item.color,
            (item.col - half, item.row - half, item.col + half, item.row + half),
            1.0,
        )
        for item in scene.objects
        if item.opacity >= _THERE[0]
    ]


def flawed(scene: Scene, rng: np.random.Generator) -> Scene:
    """A scene with the faults that generators make, off the grid; about half have none."""
    objects = [_jittered(item, rng) for item in scene.objects]
    if rng.random() < 0.55:
        for fault in rng.choice(5, size=int(rng.integers(1, 3)), p=(0.2, 0.2, 0.25, 0.2, 0.15)):
            objects = _with_fault(objects, int(fault), rng)
    return Scene(tuple(objects), scene.background)


def _with_fault(objects: list[Placed], fault: int, rng: np.random.Generator) -> list[Placed]:
    """Fade an object, add a ghost or an object, or give one another shape or colour."""
    where = int(rng.integers(len(objects)))
    changed = list(objects)
    if fault == 0:
        changed[where] = replace(objects[where], opacity=float(rng.uniform(*_GHOST)))
    elif fault in (1, 2):
        added = _added(objects, _GHOST if fault == 1 else _THERE, rng)
        changed += [added] if added else []
    elif fault == 3:
        changed[where] = replace(objects[where], shape=str(rng.choice(SHAPES)))
    else:
        changed[where] = replace(objects[where], color=str(rng.choice(COLORS)))
    return changed


def _jittered(item: Placed, rng: np.random.Generator) -> Placed:
    row, col = (at + float(rng.integers(-1, 2)) for at in (item.row, item.col))
    return replace(item, row=row, col=col, opacity=float(rng.uniform(*_THERE)))


def _added(
    objects: Sequence[Placed], opacity: tuple[float, float], rng: np.random.Generator
) -> Placed | None:
    # Like another object of the scene as often as not: a generator repeats what it was asked for.
    like = objects[int(rng.integers(len(objects)))]
    shape = like.shape if rng.random() < 0.6 else str(rng.choice(SHAPES))
    color = like.color if rng.random() < 0.6 else str(rng.choice(COLORS))
    for _ in range(_TRIES):
        row, col = rng.uniform(CELL_PX + 2, SIZE_PX - CELL_PX - 2, 2)
        if all(max(abs(row - o.row), abs(col - o.col)) >= _APART_PX for o in objects):
            return Placed(shape, color, float(row), float(col), float(rng.uniform(*opacity)))
    return None


def smeared(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """An image [3, 32, 32] in [0, 1] with a generator's softness, grain and shades."""
    soft = gaussian_filter(image, (0, *[float(rng.uniform(0, 0.7))] * 2))
    grain = rng.normal(0, float(rng.uniform(0, 0.03)), image.shape)
    shade = rng.normal(0, 0.02, (3, 1, 1))
    return np.asarray(np.clip(soft + grain + shade, 0, 1), dtype=np.float32)
