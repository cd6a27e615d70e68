"""What the judge sees and how it reads: a network that finds objects, and rules for captions.

The network knows no caption. It says for every place of a picture whether an object is there, of
which shape and colour; how likely a caption holds follows from these probabilities alone. The
matcher (:mod:`hypernoise.shapeworld.matcher_network`) learns both at once, from captions.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypernoise.shapeworld.captions import (
    COLORS,
    NUMBERS,
    PREFIXES,
    RELATIONS,
    SHAPES,
    Subject,
    plural,
)
from hypernoise.shapeworld.scenes import SIZE_PX

#: Places along each side of a picture.
PLACES = SIZE_PX // 2
_SURE = 1e-4
#: Objects nearer than this in a direction stand in no relation there, in places.
_AHEAD = 2
_COUNTS = {word: number for number, word in NUMBERS.items()} | {"a": 1, "an": 1}
_NOUNS = {shape: shape for shape in SHAPES} | {plural(shape): shape for shape in SHAPES}
_PHRASE = rf"(?:({'|'.join(_COUNTS)}) )(?:({'|'.join(COLORS)}) )?({'|'.join(_NOUNS)})"
_CAPTION = re.compile(
    rf"(?:{'|'.join(PREFIXES)}){_PHRASE}"
    rf"(?: (and|{'|'.join(RELATIONS)}) {_PHRASE})?"
)


class Wish(NamedTuple):
    """What a caption asks for; the relation is the second subject's, seen from the first."""

    subjects: tuple[Subject, ...]
    relation: str | None


@cache
def read(caption: str) -> Wish:
    """A caption as GenEval's templates have it.

    Raises:
        ValueError: it has another form.
    """
    found = _CAPTION.fullmatch(caption.lower())
    if found is None:
        raise ValueError(
            f"the shape judge cannot read {caption!r}: it reads GenEval's templates of the "
            "embedded world (hypernoise.shapeworld.captions)"
        )
    first, joint, second = found.groups()[:3], found[4], found.groups()[4:]
    phrases = [first] if joint is None else [first, second]
    subjects = [Subject(_NOUNS[noun], color, _COUNTS[n]) for n, color, noun in phrases]
    if joint in RELATIONS:
        # "A left of B" says where A is, seen from B.
        return Wish(tuple(reversed(subjects)), joint)
    return Wish(tuple(subjects), None)


class Recogniser(nn.Module):
    """Objects of a picture.

    Args:
        width: channels.
        blocks: residual blocks; each sees four pixels further on every side.
    """

    def __init__(self, width: int = 48, blocks: int = 3) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"width": width, "blocks": blocks}
        self.entry = nn.Conv2d(3, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(6, width),
                nn.GELU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.GroupNorm(6, width),
                nn.GELU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.exit = nn.Conv2d(width, 1 + len(SHAPES) + len(COLORS), 1)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, 32, 32] in [0, 1] to logits [B, 17, 16, 16]: presence, shapes, colours."""
        hidden = self.entry(images * 2 - 1)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        logits: Tensor = self.exit(hidden)
        return logits


class Objects(NamedTuple):
    """Probabilities of what stands at the places of one picture.

    Attributes:
        present: [P] that an object's centre is there; 0 where a neighbour is likelier.
        shapes: [P, 8] of its shape.
        colors: [P, 8] of its colour.
    """

    present: Tensor
    shapes: Tensor
    colors: Tensor

    def of(self, subject: Subject) -> Tensor:
        """[P], that an object like the subject is there."""
        found = self.present * self.shapes[:, SHAPES.index(subject.shape)]
        return found * self.colors[:, COLORS.index(subject.color)] if subject.color else found


def objects_of(logits: Tensor) -> list[Objects]:
    """The objects of each picture, from logits [B, 17, 16, 16]."""
    present = logits[:, :1].sigmoid()
    peaks = nn.functional.max_pool2d(present, 5, stride=1, padding=2)
    present = (present * (present == peaks)).flatten(1)
    cut = 1 + len(SHAPES)
    shapes = logits[:, 1:cut].flatten(2).softmax(dim=1).transpose(1, 2)
    colors = logits[:, cut:].flatten(2).softmax(dim=1).transpose(1, 2)
    return [Objects(*one) for one in zip(present, shapes, colors, strict=True)]


def log_odds(objects: Objects, wish: Wish) -> Tensor:
    """Log odds, a scalar within about 9.2 of 0, that a picture with these objects shows a wish."""
    likely = [objects.of(subject) for subject in wish.subjects]
    if len(likely) == 1:
        count = wish.subjects[0].count
        holds = _exactly(likely[0], count) if count > 1 else _any(likely[0])
    elif wish.relation is None:
        holds = _any(likely[0]) * _any(likely[1])
    else:
        pairs = likely[0][:, None] * likely[1][None, :] * _stands(wish.relation).to(likely[0])
        holds = _any(pairs.flatten())
    return torch.logit(holds, eps=_SURE)


def _any(likely: Tensor) -> Tensor:
    return 1 - (1 - likely).prod()


def _exactly(likely: Tensor, count: int) -> Tensor:
    """That ``count`` of independent events [P] happen (the Poisson binomial distribution)."""
    chances = [likely.new_ones(())] + [likely.new_zeros(())] * count
    for one in likely[likely.detach() > _SURE]:
        shifted = [chances[0] * (1 - one)]
        shifted += [chances[n] * (1 - one) + chances[n - 1] * one for n in range(1, count + 1)]
        chances = shifted
    return chances[count]


@cache
def _stands(relation: str) -> Tensor:
    """[P, P], whether place j stands in the relation to place i."""
    places = torch.arange(PLACES * PLACES)
    row, col = places // PLACES, places % PLACES
    down, right = row[None, :] - row[:, None], col[None, :] - col[:, None]
    ahead = {"left of": -right, "right of": right, "above": -down, "below": down}[relation]
    across = down if relation in ("left of", "right of") else right
    return (ahead >= _AHEAD) & (ahead > across.abs() / 2)
