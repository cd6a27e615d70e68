"""Questions about images and who answers them: what T2I-CompBench, DPG-Bench and GenEval 2 share.

Such a benchmark takes two declarations (:mod:`harness.benchmarks.build`): of its prompts and of
its answerer. An answerer's constructor checks the arguments and loads nothing, so that a benchmark
can make one before any image exists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from torch import Tensor

from harness.benchmarks.build import Declaration, build_declared, declared_prompts
from harness.benchmarks.neighbours import runs
from harness.benchmarks.protocol import Images, Prompt
from hypernoise.identity import SCORES_ONLY
from hypernoise.methods.protocol import Checked

#: The same for every image: as many values as it was asked questions, in their order.
Probabilities: TypeAlias = list[list[float]]
_Question = TypeVar("_Question", str, tuple[str, str])


class Answerer(Protocol):
    """Answers questions whose answer is yes or no."""

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
        """P(yes | yes or no) in [0, 1] of every question.

        Args:
            images: [N, 3, H, W] in [0, 1].
            questions: those of each image, all different.
        """
        ...


@runtime_checkable
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


@runtime_checkable
class TensorAnswerer(Protocol):
    """Answers questions about tensors, so that a gradient reaches the images."""

    def first_token_probability(
        self, images: Tensor, questions: Sequence[str], answer: str
    ) -> Tensor:
        """Probabilities [B], among all tokens, that an answer begins as ``answer`` does.

        Args:
            images: [B, 3, H, W] in [0, 1].
            questions: one for each image.
            answer: as it is written, case and all.

        Raises:
            ValueError: no token begins the answer.
        """
        ...


def build_answerer(declaration: Declaration) -> Any:
    """The answerer that is declared, on this job's device.

    Raises:
        SpecError: no target, or one that does not take an argument.
        ValueError, FileNotFoundError: as its constructor.
    """
    return build_declared(declaration, "an answerer")


class Questions:
    """What benchmarks that ask questions have in common; a benchmark adds metrics and score.

    Args:
        prompts: declares the list of prompts.
        answerer: declares who answers their questions.
    """

    def __init__(self, prompts: Declaration, answerer: Annotated[Declaration, SCORES_ONLY]) -> None:
        self._prompts = prompts
        self._declared = answerer

    @cached_property
    def answerer(self) -> Any:
        """The answerer, built when it is first needed; raises as :func:`build_answerer`."""
        return build_answerer(self._declared)

    def prompts(self) -> list[Prompt]:
        """The prompts of the declared list."""
        return declared_prompts(self._prompts)

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Build the answerer, and let it look whether what it needs can be had.

        Raises: as :func:`build_answerer` and the answerer's own check.
        """
        if isinstance(self.answerer, Checked):
            self.answerer.check()


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
    name = type(by).__name__
    if [len(those) for those in answers] != [len(those) for those in different]:
        raise ValueError(f"{name} does not give one probability per image and question")
    said = [dict(zip(*pair, strict=True)) for pair in zip(different, answers, strict=True)]
    for question, value in (pair for of_run in said for pair in of_run.items()):
        # A NaN is not within any limits, either.
        if not 0 <= value <= 1:
            raise ValueError(f"{name} answers {question!r} with {value}, not in [0, 1]")
    return [
        {question: of_run[question] for question in asked[place]}
        for run, of_run in zip(alike, said, strict=True)
        for place in run
    ]


def _rounded(item: Any) -> Any:
    if isinstance(item, float):
        return round(item, 6)
    if isinstance(item, Mapping):
        return {key: _rounded(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_rounded(value) for value in item]
    return item
