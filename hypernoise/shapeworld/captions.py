"""Captions of the embedded world in GenEval's six templates, and their split into sets.

A caption carries the metadata that GenEval attaches to a prompt (``tag``, ``include``,
``exclude``), so the same protocol code decides about shapes and about photographs.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations, product, zip_longest
from typing import Any

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring", "heart", "moon")
COLORS = ("black", "blue", "green", "purple", "pink", "red", "orange", "yellow")
RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = {2: "two", 3: "three", 4: "four"}
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")

#: What a caption may begin with; all say the same.
PREFIXES = ("a photo of ", "a picture of ", "an image of ", "")
#: Meanings of each other task that no training sees: (validation, evaluation).
HELD_OUT = {
    "single_object": (2, 3),
    "two_object": (4, 8),
    "colors": (8, 16),
    "position": (16, 32),
    "color_attr": (16, 32),
}
#: Which split each number of each shape is in. A plural has three numbers in all, so chance
#: would leave splits without some words: here the reward, which both generators and matcher learn
#: from, reads every plural, and every split counts to four.
COUNTING = {
    "circle": {2: "validation", 3: "reward", 4: "evaluation"},
    "square": {2: "evaluation", 3: "reward", 4: "evaluation"},
    "triangle": {2: "reward", 3: "evaluation", 4: "validation"},
    "diamond": {2: "train", 3: "reward", 4: "train"},
    "cross": {2: "reward", 3: "validation", 4: "evaluation"},
    "ring": {2: "reward", 3: "train", 4: "train"},
    "heart": {2: "evaluation", 3: "evaluation", 4: "reward"},
    "moon": {2: "reward", 3: "train", 4: "train"},
}
SPLITS = ("train", "reward", "validation", "evaluation")
#: Captions of each task in the splits that are measured on: tasks weigh alike, so a task with few
#: meanings has each of them in more wordings, and then again.
PER_TASK = {"validation": 16, "evaluation": 32}
_REWARD_SHARE = 0.4
_INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


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
    ``prefix`` is one of :data:`PREFIXES`.
    """

    prompt_id: str
    text: str
    task: str
    subjects: tuple[Subject, ...]
    relation: str | None = None
    prefix: str = PREFIXES[0]

    @property
    def meaning(self) -> str:
        """What the caption asks for, the same for all of its wordings: "a square above a triangle"
        is "a triangle below a square"."""
        named = [" ".join(filter(None, (s.color, s.shape))) for s in self.subjects]
        if len(named) == 1:
            return f"{self.task}: {self.subjects[0].count} {named[0]}"
        if self.relation is None:
            return f"{self.task}: {' and '.join(sorted(named))}"
        told = (named[1], self.relation, named[0])
        other = (named[0], _INVERSE[self.relation], named[1])
        return f"{self.task}: {' '.join(min(told, other))}"

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
    small = ("a", "an", "photo", "picture", "image", "of", "and", "left", "right", "above", "below")
    return (*small, *NUMBERS.values(), *COLORS, *SHAPES, *(plural(shape) for shape in SHAPES))


def plural(shape: str) -> str:
    """The plural of a shape's name."""
    return shape + ("es" if shape.endswith("s") else "s")


@cache
def captions(split: str) -> tuple[Caption, ...]:
    """All captions of one of :data:`SPLITS`; no two splits share a meaning.

    Of each task, every meaning comes in one wording before any comes in a second. In ``validation``
    and ``evaluation`` each task has :data:`PER_TASK` captions; where a task has fewer wordings than
    that, they come again, under ids that end in ``.1``, ``.2``, ….

    Raises:
        ValueError: the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown caption split {split!r}; valid: {', '.join(SPLITS)}")
    found: list[Caption] = []
    for task in TASKS:
        rounds = [c for turn in zip_longest(*_split(task)[split]) for c in turn if c is not None]
        for k in range(PER_TASK.get(split, len(rounds))):
            again, place = divmod(k, len(rounds))
            own = rounds[place]
            # A prompt id stands for one draw of noise, so a repetition has an id of its own.
            found.append(replace(own, prompt_id=f"{own.prompt_id}.{again}") if again else own)
    return tuple(found)


@cache
def _split(task: str) -> dict[str, list[list[Caption]]]:
    """The wordings of every meaning of a task, by split."""
    wordings: dict[str, list[Caption]] = defaultdict(list)
    for caption in sorted(_all_captions(task), key=lambda c: _hash(c.text)):
        wordings[caption.meaning].append(caption)
    ordered = sorted(wordings, key=_hash)
    if task == "counting":
        own: dict[str, list[str]] = {split: [] for split in SPLITS}
        for meaning in ordered:
            subject = wordings[meaning][0].subjects[0]
            own[COUNTING[subject.shape][subject.count]].append(meaning)
    else:
        n_validation, n_evaluation = HELD_OUT[task]
        cut = n_evaluation + n_validation
        n_reward = int((len(ordered) - cut) * _REWARD_SHARE)
        own = {
            "evaluation": ordered[:n_evaluation],
            "validation": ordered[n_evaluation:cut],
            "reward": ordered[cut : cut + n_reward],
            "train": ordered[cut + n_reward :],
        }
    return {split: [wordings[meaning] for meaning in meanings] for split, meanings in own.items()}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
        _worded(f"{task}-{index:04d}-{number}", task, subjects, relation, prefix)
        for index, (subjects, relation) in enumerate(bodies)
        for number, prefix in enumerate(PREFIXES)
    ]


def reworded(caption: Caption, subjects: tuple[Subject, ...], relation: str | None) -> Caption:
    """The caption with other subjects or another relation, of the same task and prefix."""
    return _worded(f"{caption.prompt_id}*", caption.task, subjects, relation, caption.prefix)


def _worded(
    prompt_id: str, task: str, subjects: tuple[Subject, ...], relation: str | None, prefix: str
) -> Caption:
    text = prefix + _body(task, subjects, relation)
    return Caption(prompt_id, text, task, subjects, relation, prefix)


def _body(task: str, subjects: tuple[Subject, ...], relation: str | None) -> str:
    if task == "counting":
        return f"{NUMBERS[subjects[0].count]} {plural(subjects[0].shape)}"
    named = []
    for subject in subjects:
        words = subject.shape if subject.color is None else f"{subject.color} {subject.shape}"
        named.append(f"{'an' if words[0] in 'aeiou' else 'a'} {words}")
    if relation is not None:
        return f"{named[1]} {relation} {named[0]}"
    return " and ".join(named)
