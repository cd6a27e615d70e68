"""Train the embedded world's rewards: image-text matchers with hard negatives.

Images come from the tiny generators and from the renderer, captions from the ``reward`` split
alone. The detector reads every image once; from then on the truth of *any* caption about it is
known, so an image can be paired with captions that differ from its own by one word. A second,
auxiliary head reads the detected object at every place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hypernoise.images import to_bytes
from hypernoise.progress import tell
from hypernoise.shapeworld.captions import (
    COLORS,
    NUMBERS,
    RELATIONS,
    SHAPES,
    SPLITS,
    Caption,
    captions,
    reworded,
)
from hypernoise.shapeworld.detector import Detection, by_class, detect
from hypernoise.shapeworld.matcher_network import MatcherNetwork, word_ids
from hypernoise.shapeworld.pretraining import Data, train_network
from hypernoise.shapeworld.recipes import TaskWeights
from hypernoise.shapeworld.scenes import CELL_PX, GRID

#: (metadata, detections, colours) -> whether the image shows the caption; GenEval's decision.
Decide = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], bool]
#: Draws of an edit before another caption takes its place.
_TRIES = 20
#: Images of a generator that are drawn together.
_DRAWN_TOGETHER = 100
#: Share of each task in a matcher's images: numbers are learned last.
TASK_WEIGHTS: TaskWeights = {
    "single_object": 0.06,
    "two_object": 0.15,
    "counting": 0.28,
    "colors": 0.08,
    "position": 0.23,
    "color_attr": 0.20,
}


@dataclass(frozen=True)
class MatcherRecipe:
    """How a matcher is trained."""

    name: str
    seed: int
    steps: int = 1500
    batch_size: int = 64
    captions_per_image: int = 3
    n_generated: int = 4000
    n_rendered: int = 5000
    learning_rate: float = 1.5e-3
    width: int = 96
    layers: int = 4
    stem: tuple[int, int] = (24, 48)
    object_weight: float = 0.5


MATCHERS = {
    recipe.name: recipe
    for recipe in (MatcherRecipe("matcher", seed=12, width=80, layers=4, stem=(32, 40)),)
}


@dataclass(frozen=True)
class Pool:
    """Images [N, 3, 32, 32] (uint8), their captions, and what the detector sees in each."""

    images: Tensor
    captions: tuple[Caption, ...]
    detections: tuple[list[Detection], ...]


def train_matcher(
    recipe: MatcherRecipe, generators: Sequence[Any], decide: Decide, path: Path
) -> None:
    """Train one matcher and save it.

    Args:
        recipe: what to train.
        generators: the generators whose images it learns from.
        decide: GenEval's decision, which the harness owns.
        path: safetensors file to write.
    """
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    data = Data.seeded(recipe.seed, ("reward",))
    data.task_weights = TASK_WEIGHTS
    pool = gather(recipe, generators, data)
    network = MatcherNetwork(recipe.width, recipe.layers, recipe.stem)

    def loss() -> Tensor:
        return _loss(network, recipe, pool, decide, data.rng)

    train_network(network, recipe, loss, path, started)


def gather(recipe: MatcherRecipe, generators: Sequence[Any], data: Data) -> Pool:
    """Generate, render and detect the images that a matcher learns from."""
    parts: list[Tensor] = []
    texts: list[Caption] = []
    for generator in generators:
        chosen = data.captions(recipe.n_generated)
        for start in range(0, len(chosen), _DRAWN_TOGETHER):
            prompts = [caption.text for caption in chosen[start : start + _DRAWN_TOGETHER]]
            noise = data.noise((len(prompts), *generator.noise_shape))
            with torch.no_grad():
                parts.append(to_bytes(generator.sample(noise, generator.encode(prompts))))
        texts += chosen
        made_by = generator.backbone._get_name()
        tell(f"pretrain {recipe.name}: {recipe.n_generated} images of {made_by}")
    rendered, chosen = data.loose_images(recipe.n_rendered)
    parts.append(to_bytes(rendered))
    texts += chosen
    images = torch.cat(parts)
    detections = tuple(detect(image) for image in (images.float() / 255).numpy())
    n_found = sum(map(len, detections))
    tell(f"pretrain {recipe.name}: {len(images)} images, {n_found} objects detected")
    return Pool(images, tuple(texts), detections)


def _loss(
    network: MatcherNetwork,
    recipe: MatcherRecipe,
    pool: Pool,
    decide: Decide,
    rng: np.random.Generator,
) -> Tensor:
    index = rng.integers(len(pool.images), size=recipe.batch_size)
    # Generators and chance move colours a little; a matcher that keys on exact values would not
    # follow them.
    shade = torch.from_numpy(rng.normal(0, 0.02, (len(index), 3, 1, 1)).astype(np.float32))
    images = (pool.images[index].float() / 255 + shade).clamp(0, 1)
    tokens = network.image_tokens(images)
    asked, truth = [], []
    for i in index:
        own = pool.captions[i]
        options = [own, *(edited(own, rng) for _ in range(recipe.captions_per_image - 1))]
        asked += [caption.text for caption in options]
        truth += [holds(caption, pool.detections[i], decide) for caption in options]
    repeated = tokens.repeat_interleave(recipe.captions_per_image, dim=0)
    logits = network.match(repeated, word_ids(asked))
    target = torch.tensor(truth, dtype=torch.float32)
    matching = nn.functional.binary_cross_entropy_with_logits(logits, target)
    seen = [pool.detections[i] for i in index]
    return matching + recipe.object_weight * object_loss(network.objects(tokens), seen)


def holds(caption: Caption, detections: Sequence[Detection], decide: Decide) -> bool:
    """Whether detections satisfy a caption, by GenEval's decision."""
    return decide(caption.metadata, *by_class(detections))


def edited(caption: Caption, rng: np.random.Generator) -> Caption:
    """A caption that differs from the given one in one respect: the hard negative.

    It means what one of the ``reward`` split means, or what no split does, so that the matcher
    reads nothing that others train on or are evaluated on. Where no such edit exists, another
    caption of the task takes its place, or the caption itself if it is the only one.
    """
    for _ in range(_TRIES):
        candidate = _edit(caption, rng)
        if candidate.meaning not in _foreign_meanings():
            return candidate
    others = [
        c for c in captions("reward") if c.task == caption.task and c.meaning != caption.meaning
    ]
    return others[int(rng.integers(len(others)))] if others else caption


@cache
def _foreign_meanings() -> frozenset[str]:
    splits = (split for split in SPLITS if split != "reward")
    return frozenset(caption.meaning for split in splits for caption in captions(split))


def _edit(caption: Caption, rng: np.random.Generator) -> Caption:
    subjects = list(caption.subjects)
    where = int(rng.integers(len(subjects)))
    subject = subjects[where]
    edits = ["shape"]
    edits += ["color"] * 2 if subject.color else []
    edits += ["count"] * 3 if subject.count > 1 else []
    edits += ["relation"] * 3 if caption.relation else []
    edits += ["swap"] * 2 if len(subjects) == 2 and subject.color else []
    edit = rng.choice(edits)
    relation = caption.relation
    if edit == "shape":
        taken = {item.shape for item in subjects}
        subjects[where] = replace(subject, shape=_other(SHAPES, taken, rng))
    elif edit == "color":
        subjects[where] = replace(subject, color=_other(COLORS, {subject.color}, rng))
    elif edit == "count":
        subjects[where] = replace(subject, count=_other(tuple(NUMBERS), {subject.count}, rng))
    elif edit == "relation":
        relation = _other(RELATIONS, {relation}, rng)
    else:
        first, second = subjects
        subjects = [replace(first, color=second.color), replace(second, color=first.color)]
    return reworded(caption, tuple(subjects), relation)


def _other(choices: Sequence[Any], taken: set[Any], rng: np.random.Generator) -> Any:
    left = [choice for choice in choices if choice not in taken]
    return left[int(rng.integers(len(left)))]


def object_loss(output: Tensor, seen: Sequence[Sequence[Detection]]) -> Tensor:
    """How badly logits [B, 64, 17] tell the objects of B images: presence, shape and colour."""
    present = torch.zeros(len(seen), GRID * GRID)
    rows, cells, shapes, colors = [], [], [], []
    for row, detections in enumerate(seen):
        for found in detections:
            x0, y0, x1, y1 = found.box
            column, line = int((x0 + x1) / 2 / CELL_PX), int((y0 + y1) / 2 / CELL_PX)
            cell = min(line, GRID - 1) * GRID + min(column, GRID - 1)
            present[row, cell] = found.score
            rows.append(row)
            cells.append(cell)
            shapes.append(SHAPES.index(found.shape))
            colors.append(COLORS.index(found.color))
    loss = nn.functional.binary_cross_entropy_with_logits(output[..., 0], present) * 4
    if rows:
        at = output[rows, cells]
        cut = 1 + len(SHAPES)
        loss = loss + nn.functional.cross_entropy(at[:, 1:cut], torch.tensor(shapes))
        loss = loss + nn.functional.cross_entropy(at[:, cut:], torch.tensor(colors))
    return loss
