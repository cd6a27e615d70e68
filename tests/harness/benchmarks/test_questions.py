"""Questions about images: the protocol, and the embedded world's benchmarks made of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from harness.base.errors import SpecError
from harness.benchmarks import shapeworld_questions as world
from harness.benchmarks.build import check_benchmark
from harness.benchmarks.compbench import CompBench
from harness.benchmarks.dpg import DpgBench
from harness.benchmarks.protocol import Images, Prompt
from harness.benchmarks.questions import Probabilities, ask, build_answerer
from harness.experiment.components import BenchmarkSpec
from hypernoise.shapeworld.captions import NUMBERS, captions
from hypernoise.shapeworld.detector import Detection, detect
from hypernoise.shapeworld.scenes import Placed, Scene, render

DETECTOR = {"target": "harness.benchmarks.shapeworld_questions:DetectorAnswerer"}
CHUNKED = {"target": "harness.benchmarks.shapeworld_questions:compbench"}
GRAPHS = {"target": "harness.benchmarks.shapeworld_questions:dpg"}


class Fixed:
    """Answers every question with one number, and keeps what it was asked."""

    def __init__(self, value: float = 0.5) -> None:
        self.value = value
        self.asked: list[list[str]] = []

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
        self.asked += [list(those) for those in questions]
        return [[self.value] * len(those) for those in questions]


def image(*objects: Placed) -> Images:
    """One rendered scene, [1, 3, 32, 32]."""
    return np.asarray(render(Scene(objects, (0.95, 0.94, 0.96))), dtype=np.float32)[None]


RED_CIRCLE = Placed("circle", "red", 8, 8)
BLUE_SQUARE = Placed("square", "blue", 8, 24)
RED_SQUARE = Placed("square", "red", 24, 8)


def test_a_question_that_occurs_twice_is_asked_once_per_image() -> None:
    answerer = Fixed()
    answers = ask(answerer, grey(0, 1), [["a?", "b?", "a?"], ["a?"]])
    assert answerer.asked == [["a?", "b?"], ["a?"]]
    assert [sorted(those) for those in answers] == [["a?", "b?"], ["a?"]]


def test_neighbours_that_are_the_same_image_are_asked_together() -> None:
    answerer = Fixed()
    asked = [["a?", "b?"], ["c?", "a?"], ["d?"], ["a?"]]
    answers = ask(answerer, grey(0, 0, 1, 0), asked)
    assert answerer.asked == [["a?", "b?", "c?"], ["d?"], ["a?"]]
    assert [list(those) for those in answers] == asked


def grey(*values: float) -> Images:
    """Images of one value each."""
    return np.repeat(np.array(values, np.float32), 48).reshape(-1, 3, 4, 4)


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_an_answer_that_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"Fixed answers 'a\?' with .*not in \[0, 1\]"):
        ask(Fixed(value), np.zeros((1, 3, 4, 4), np.float32), [["a?"]])


def test_an_unknown_argument_of_an_answerer_is_found_before_any_image() -> None:
    benchmark = BenchmarkSpec(
        "b",
        "harness.benchmarks.compbench:CompBench",
        1,
        metric="t2i_compbench",
        arguments={"prompts": CHUNKED, "answerer": {**DETECTOR, "batch": 3}},
    )
    with pytest.raises(SpecError, match=r"keyword for .*DetectorAnswerer: 'batch'"):
        check_benchmark(benchmark)
    with pytest.raises(SpecError, match="needs a target"):
        build_answerer({"weights": "x"})


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("a circle?", 1),
        ("a red circle?", 1),
        ("a blue circle?", 0),
        ("Is there a heart?", 0),
        ("Are there any squares?", 1),
        ("Is the square blue?", 1),
        ("two squares?", 1),
        ("Are there two squares?", 1),
        ("Are there three squares?", 0),
        ("Are there two red squares?", 0),
        ("one circle?", 1),
        ("Is the circle above the square?", 1),
        ("Is the circle left of the square?", 1),
        ("Is the square left of the circle?", 0),
    ],
)
def test_the_detector_answers_the_worlds_questions(question: str, expected: int) -> None:
    scene = image(RED_CIRCLE, BLUE_SQUARE, RED_SQUARE)
    (answers,) = world.DetectorAnswerer().yes_probability(scene, [[question]])
    assert answers == [pytest.approx(expected, abs=0.05)]


def test_unsure_detections_give_unsure_answers() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    found = [Detection("ring", "red", box, 0.9), Detection("ring", "blue", box, 0.25)]
    assert world.answer("a ring?", found) == 0.9
    assert world.answer("Is the ring blue?", found) == 0.25
    assert world.answer("two rings?", found) == 0.25
    assert world.answer("one ring?", found) == 0.75


def test_numbers_are_answered_with_their_probability() -> None:
    asked = [("How many squares are in the image?", word) for word in ("one", "two", "three")]
    answerer = world.DetectorAnswerer()
    (answers,) = answerer.answer_probability(image(BLUE_SQUARE, RED_SQUARE), [asked])
    assert answers == pytest.approx([0, 1, 0], abs=0.05)
    with pytest.raises(ValueError, match=r"cannot say whether .* has 'seven'"):
        answerer.answer_probability(image(RED_SQUARE), [[(asked[0][0], "seven")]])


def test_a_question_in_another_form_is_refused_with_the_forms() -> None:
    with pytest.raises(ValueError, match=r"'a red cat\?' has none of .*'a red circle\?'"):
        world.answer("a red cat?", detect(image(RED_CIRCLE)[0]))


BENCHMARKS = [CompBench(CHUNKED, DETECTOR), DpgBench(GRAPHS, DETECTOR)]


@pytest.mark.parametrize(("made", "n"), [(BENCHMARKS[0], 128), (BENCHMARKS[1], 192)])
def test_the_worlds_prompts_are_captions_with_ids_of_their_own(made: Any, n: int) -> None:
    found = made.prompts()
    texts = {caption.text for caption in captions("evaluation")}
    assert {prompt.text for prompt in found} <= texts
    assert len({prompt.prompt_id for prompt in found}) == len(found) == n
    assert not {p.prompt_id for p in found} & {c.prompt_id for c in captions("evaluation")}


@pytest.mark.parametrize(("made", "top"), [(BENCHMARKS[0], 1), (BENCHMARKS[1], 100)])
def test_every_question_of_the_world_can_be_answered(made: Any, top: float) -> None:
    found = made.prompts()
    scored = made.score(np.repeat(image(RED_SQUARE), len(found), axis=0), found)
    names = {metric.name for metric in made.metrics}
    for of_image in scored:
        assert of_image.keys() == names
        # No proposition of the world's stands before its parents, or first in a table.
        (value,) = {score.value for score in of_image.values()}
        assert 0 <= value <= top
    assert len({of_image[min(names)].value for of_image in scored}) > 1


def test_what_a_caption_says_depends_on_the_things_that_it_names() -> None:
    caption = next(c for c in captions("evaluation") if c.task == "position")
    first, second, relation = world.propositions(caption)
    assert (first.parents, second.parents, relation.parents) == ((), (), (1, 2))
    counted = next(c for c in captions("evaluation") if c.task == "counting")
    exists, number = world.propositions(counted)
    assert number.parents == (exists.number,)
    assert NUMBERS[counted.subjects[0].count] in number.question


def test_compbench_multiplies_and_says_every_answer() -> None:
    scene = image(RED_CIRCLE, BLUE_SQUARE)
    records = [
        {"chunks": ["a red circle", "a blue square"]},
        {"chunks": ["a red circle", "a moon"]},
    ]
    prompts = [Prompt("toy", "two things", "color", record) for record in records]
    scored = CompBench(CHUNKED, DETECTOR).score(np.repeat(scene, 2, axis=0), prompts)
    right, wrong = (of_image["t2i_compbench"] for of_image in scored)
    assert right.value == pytest.approx(1, abs=0.05)
    assert wrong.value == 0
    said = json.loads(wrong.detail)["questions"]
    assert [question for question, _ in said] == ["a red circle?", "a moon?"]
    assert said[1][1] == 0


def test_compbench_counts_a_chunk_that_occurs_twice_twice(monkeypatch: Any) -> None:
    monkeypatch.setattr("harness.benchmarks.questions.build_answerer", lambda _: Fixed(0.5))
    chunks = ["a white goat", "a white goat", "a field"]
    prompt = Prompt("toy", "goats", "color", {"chunks": chunks})
    (scored,) = CompBench(CHUNKED, {}).score(np.zeros((1, 3, 4, 4), np.float32), [prompt])
    assert scored["t2i_compbench"].value == 0.125
