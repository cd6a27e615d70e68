"""Captions of the embedded world in GenEval's six templates, and their split into sets.

A caption carries the metadata that GenEval attaches to a prompt (``tag``, ``include``,
``exclude``), so the same protocol code decides about shapes and about photographs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product
from typing import Any

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring", "heart", "moon")
COLORS = ("black", "blue", "green", "purple", "pink", "red", "orange", "yellow")
RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = {2: "two", 3: "three", 4: "four"}
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")

#: Captions of each task that no training sees: (validation, evaluation).
HELD_OUT = {
    "single_object": (1, 4),
    "two_object": (8, 16),
    "counting": (3, 8),
    "colors": (8, 16),
    "position": (16, 28),
    "color_attr": (16, 28),
}
SPLITS = ("train", "reward", "validation", "evaluation")
_REWARD_SHARE = 0.4


@dataclass(frozen=True)
class Subject:
    """One kind of object that a caption names."""

    shape: str
    color: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Caption:
    """A caption, what it asks for, and the identity that results are keyed by.

    ``relation`` says where the second subject is seen from the first: with
    ``"left of"`` the second stands left of the first, as in GenEval's metadata.
    """

    prompt_id: str
    text: str
    task: str
    subjects: tuple[Subject, ...]
    relation: str | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The caption in GenEval's ``evaluation_metadata.jsonl`` fields."""
        include: list[dict[str, Any]] = []
        for subject in self.subjects:
            entry: dict[str, Any] = {"class": subject.shape, "count": subject.count}
            if subject.color is not None:
                entry["color"] = subject.color
            include.append(entry)
        if self.relation is not None:
            include[1]["position"] = [self.relation, 0]
        record: dict[str, Any] = {"tag": self.task, "include": include, "prompt": self.text}
        if self.task == "counting":
            subject = self.subjects[0]
            record["exclude"] = [{"class": subject.shape, "count": subject.count + 1}]
        return record


def vocabulary() -> tuple[str, ...]:
    """Every word that a caption can hold, in a fixed order."""
    small = ("a", "an", "photo", "of", "and", "left", "right", "above", "below")
    return (*small, *NUMBERS.values(), *COLORS, *SHAPES, *(plural(shape) for shape in SHAPES))


def plural(shape: str) -> str:
    """The plural of a shape's name."""
    return shape + ("es" if shape.endswith("s") else "s")


@cache
def captions(split: str) -> tuple[Caption, ...]:
    """All captions of one of :data:`SPLITS`; the four are pairwise disjoint.

    Raises:
        ValueError: the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown caption split {split!r}; valid: {', '.join(SPLITS)}")
    chosen: list[Caption] = []
    for task in TASKS:
        ordered = sorted(_all_captions(task), key=_rank)
        n_validation, n_evaluation = HELD_OUT[task]
        cut = n_evaluation + n_validation
        n_reward = int((len(ordered) - cut) * _REWARD_SHARE)
        chosen += {
            "evaluation": ordered[:n_evaluation],
            "validation": ordered[n_evaluation:cut],
            "reward": ordered[cut : cut + n_reward],
            "train": ordered[cut + n_reward :],
        }[split]
    return tuple(chosen)


def _rank(caption: Caption) -> tuple[str, str]:
    # Captions that say the same in another order must fall on the same side of the split:
    # "a circle and a ring" in training would give "a ring and a circle" away.
    named = [f"{subject.color} {subject.shape} {subject.count}" for subject in caption.subjects]
    if caption.task in ("two_object", "color_attr"):
        named.sort()
    key = f"{caption.task}|{'|'.join(named)}|{caption.relation or ''}"
    return hashlib.sha256(key.encode()).hexdigest(), key


def _all_captions(task: str) -> list[Caption]:
    pairs = list(permutations(SHAPES, 2))
    bodies: list[tuple[tuple[Subject, ...], str | None]]
    if task == "single_object":
        bodies = [((Subject(shape),), None) for shape in SHAPES]
    elif task == "two_object":
        bodies = [((Subject(a), Subject(b)), None) for a, b in pairs]
    elif task == "counting":
        bodies = [((Subject(shape, count=n),), None) for n in NUMBERS for shape in SHAPES]
    elif task == "colors":
        bodies = [((Subject(shape, color),), None) for color, shape in product(COLORS, SHAPES)]
    elif task == "position":
        bodies = [((Subject(a), Subject(b)), r) for (a, b), r in product(pairs, RELATIONS)]
    else:
        colors = list(permutations(COLORS, 2))
        bodies = [
            ((Subject(a, c), Subject(b, d)), None) for (a, b), (c, d) in product(pairs, colors)
        ]
    return [
        Caption(f"{task}-{index:04d}", _text(task, subjects, relation), task, subjects, relation)
        for index, (subjects, relation) in enumerate(bodies)
    ]


def reworded(caption: Caption, subjects: tuple[Subject, ...], relation: str | None) -> Caption:
    """The caption with other subjects or another relation, of the same task."""
    text = _text(caption.task, subjects, relation)
    return Caption(f"{caption.prompt_id}*", text, caption.task, subjects, relation)


def _text(task: str, subjects: tuple[Subject, ...], relation: str | None) -> str:
    if task == "counting":
        return f"a photo of {NUMBERS[subjects[0].count]} {plural(subjects[0].shape)}"
    named = []
    for subject in subjects:
        words = subject.shape if subject.color is None else f"{subject.color} {subject.shape}"
        named.append(f"{'an' if words[0] in 'aeiou' else 'a'} {words}")
    if relation is not None:
        return f"a photo of {named[1]} {relation} {named[0]}"
    return f"a photo of {' and '.join(named)}"
