"""Questions about images and who answers them: what T2I-CompBench, DPG-Bench and GenEval 2 share.

An answerer is declared as a mapping, its ``target`` and that target's arguments::

    {"target": "harness.benchmarks.vlm:Vlm", "weights": "owner/name", "revision": "..."}

It is made once per process. Its constructor checks the arguments and loads nothing, so that a
benchmark can make one before any image exists.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import SpecError
from harness.base.import_strings import resolve
from harness.base.signatures import check_call
from harness.benchmarks.neighbours import runs
from harness.build.devices import default_device

#: float32 [N, 3, H, W] in [0, 1].
Images: TypeAlias = NDArray[np.float32]
#: The same for every image: as many values as it was asked questions, in their order.
Probabilities: TypeAlias = list[list[float]]
_Question = TypeVar("_Question", str, tuple[str, str])


@dataclass(frozen=True)
class QuestionedPrompt:
    """A prompt of a benchmark; ``metadata`` says what its images are asked."""

    prompt_id: str
    text: str
    task: str
    metadata: dict[str, Any]


class Answerer(Protocol):
    """Answers questions whose answer is yes or no."""

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
        """P(yes | yes or no) in [0, 1] of every question.

        Args:
            images: [N, 3, H, W] in [0, 1].
            questions: those of each image, all different.
        """
        ...


class AnswerJudge(Protocol):
    """Says how probable a given short answer is among all answers."""

    def answer_probability(
        self, images: Images, asked: Sequence[Sequence[tuple[str, str]]]
    ) -> Probabilities:
        """P(answer) in [0, 1] of every pair (question, answer); arguments as for an Answerer."""
        ...

    def check_answer(self, question: str, answer: str) -> None:
        """Check that an answer can be judged, before any image is.

        Raises:
            ValueError: it cannot, so that its probability would say nothing.
        """
        ...


def build_answerer(declaration: Mapping[str, Any]) -> Any:
    """The answerer that a mapping declares, the same one for equal mappings.

    Raises:
        SpecError: no target, or one that does not take an argument.
        ValueError, FileNotFoundError: as its constructor.
    """
    return _built(json.dumps(dict(declaration), sort_keys=True), default_device())


@cache
def _built(declaration: str, device: str) -> Any:
    arguments = json.loads(declaration)
    target = arguments.pop("target", "")
    if not target:
        raise SpecError(f"an answerer needs a target, got {declaration}")
    signature = check_call(target, arguments)
    if signature is not None and "device" in signature.parameters:
        arguments.setdefault("device", device)
    return resolve(target)(**arguments)


def check_answerer(answerer: Mapping[str, Any]) -> None:
    """Check a declared answerer before any image is made; nothing is loaded.

    Raises: as :func:`build_answerer`.
    """
    build_answerer(answerer)


def ask(by: Answerer, images: Images, questions: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """Every question of every image; what occurs twice is asked once, neighbours that are the same
    image are asked together.

    Returns:
        for each image, question -> P(yes).

    Raises:
        ValueError: an answerer gives other than one probability in [0, 1] per question.
    """
    return _asked(by, by.yes_probability, images, questions)


def ask_answers(
    by: AnswerJudge, images: Images, asked: Sequence[Sequence[tuple[str, str]]]
) -> list[dict[tuple[str, str], float]]:
    """As :func:`ask`, for pairs (question, answer): for each image, pair -> P(answer)."""
    return _asked(by, by.answer_probability, images, asked)


def detail(**fields: Any) -> str:
    """What a scorer says about a value: JSON with probabilities to six digits."""
    return json.dumps(_rounded(fields), ensure_ascii=False)


def pairs(sizes: Iterable[int]) -> list[tuple[int, int]]:
    """(image, place among its questions) of all questions, image by image."""
    return [(image, place) for image, size in enumerate(sizes) for place in range(size)]


def grouped(values: Sequence[float], sizes: Sequence[int]) -> Probabilities:
    """Values in the order of :func:`pairs`, as one list per image."""
    ends = np.cumsum([0, *sizes])
    return [list(values[start:end]) for start, end in pairwise(ends)]


def share_of_yes(yes: float, no: float, where: str) -> float:
    """P(yes | yes or no).

    Raises:
        ValueError: neither is probable at all; ``where`` is named.
    """
    if not yes + no > 0:
        raise ValueError(f"{where}: neither yes nor no has any probability")
    return yes / (yes + no)


def _asked(
    by: Any,
    answer: Callable[[Images, list[list[_Question]]], Probabilities],
    images: Images,
    asked: Sequence[Sequence[_Question]],
) -> list[dict[_Question, float]]:
    alike = runs(images)
    different = [
        list(dict.fromkeys(question for place in run for question in asked[place])) for run in alike
    ]
    answers = answer(images[[run.start for run in alike]], different)
    _check(by, answers, different)
    said = [dict(zip(*pair, strict=True)) for pair in zip(different, answers, strict=True)]
    return [
        {question: of_run[question] for question in asked[place]}
        for run, of_run in zip(alike, said, strict=True)
        for place in run
    ]


def _check(by: Any, answers: Probabilities, asked: Sequence[Sequence[Any]]) -> None:
    name = type(by).__name__
    if [len(those) for those in answers] != [len(those) for those in asked]:
        raise ValueError(f"{name} does not give one probability per image and question")
    for values, those in zip(answers, asked, strict=True):
        for value, question in zip(values, those, strict=True):
            if not 0 <= value <= 1 or math.isnan(value):
                raise ValueError(f"{name} answers {question!r} with {value}, not in [0, 1]")


def _rounded(item: Any) -> Any:
    if isinstance(item, float):
        return round(item, 6)
    if isinstance(item, Mapping):
        return {key: _rounded(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_rounded(value) for value in item]
    return item
