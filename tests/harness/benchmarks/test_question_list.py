"""Files of prompts and questions as benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from examples import with_examples
from harness.base.errors import SpecError
from harness.benchmarks.build import build_benchmark, check_benchmark
from harness.benchmarks.protocol import Prompt
from harness.benchmarks.question_list import QuestionList, prompts
from harness.benchmarks.questions import Probabilities
from harness.experiment.pins import beside
from hypernoise.shapeworld.scenes import Placed, Scene, render_batch

LISTED = with_examples().benchmarks["my_questions"]


class YesNo:
    """Answers yes with the probability that the question ends with."""

    def yes_probability(self, images: Any, questions: Any) -> Probabilities:
        return [[float(question.split()[-1]) for question in those] for those in questions]


def benchmark() -> QuestionList:
    made = QuestionList({"target": "unused"}, {"target": "unused"})
    vars(made)["answerer"] = YesNo()
    return made


def test_the_declared_example_judges_images_by_its_file_alone() -> None:
    made = check_benchmark(LISTED)
    listed = made.prompts()
    made.check(listed)
    colour = [listed[0], listed[1], listed[2]]
    red, two = Placed("circle", "red", 8, 8), Placed("circle", "blue", 24, 24)
    light = (0.95, 0.94, 0.96)
    images = render_batch([Scene((red,), light)] * 2 + [Scene((red, two), light)]).numpy()
    scores = made.score(images, colour)
    means = [score["question_list"].value for score in scores]
    # There is no blue square, and rightly no red one.
    assert means == pytest.approx([1, 0.5, 1], abs=0.05)
    assert [score["question_list_all"].value for score in scores] == [1, 0, 1]
    asked = json.loads(scores[1]["question_list"].detail)["questions"]
    assert [row[:2] for row in asked] == [["a blue square?", "yes"], ["a red square?", "no"]]


def test_no_counts_as_the_right_answer_and_all_need_more_than_a_half() -> None:
    asked = [["0.9", "yes"], ["0.2", "No"]], [["0.9", "yes"], ["0.5", "yes"]]
    given = [Prompt(str(n), "x", "all", {"questions": pairs}) for n, pairs in enumerate(asked)]
    images = render_batch([Scene((), (n / 2, 0, 0)) for n in range(2)]).numpy()
    scores = benchmark().score(images, given)
    assert [s["question_list"].value for s in scores] == pytest.approx([0.85, 0.7])
    assert [s["question_list_all"].value for s in scores] == [1, 0]


def test_an_answerer_of_yes_and_no_is_asked_for_nothing_else() -> None:
    open_one = Prompt("0", "x", "all", {"questions": [["how many?", "two"]]})
    with pytest.raises(SpecError, match=r"YesNo answers yes or no.*'0' expects 'two'"):
        benchmark().check([open_one])


@pytest.mark.parametrize("ending", ["tsv", "csv"])
def test_a_table_of_prompts_needs_no_questions_and_keeps_its_categories(
    tmp_path: Path, ending: str
) -> None:
    rows = [("Prompt", "Category"), ('a "cat", asleep', "Animals"), ("a car\non two lines", "Cars")]
    separator = {"tsv": "\t", "csv": ","}[ending]
    quoted = [[f'"{cell}"'.replace('"cat"', '""cat""') for cell in row] for row in rows]
    file = tmp_path / f"parti.{ending}"
    file.write_text("".join(separator.join(row) + "\n" for row in quoted))
    found = prompts(str(file), prompt="Prompt", task="Category", question="Is it {}?")
    assert [(p.text, p.task) for p in found] == rows[1:]
    assert found[0].metadata == {"questions": [['Is it a "cat", asleep?', "yes"]]}


def test_lines_with_the_same_prompt_are_one_with_the_questions_of_both(tmp_path: Path) -> None:
    file = tmp_path / "asked.csv"
    file.write_text("text,ask\na cat,is there a cat?\na cat,is it asleep?\na dog,\n")
    cat, dog = prompts(str(file), prompt="text", asks="ask")
    assert cat.metadata["questions"] == [["is there a cat?", "yes"], ["is it asleep?", "yes"]]
    assert dog.metadata["questions"] == [['Does this image show "a dog"?', "yes"]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "a cat", r"ending of the question list .*'\.txt'.*\.jsonl"),
        ("a.csv", "text\na cat\n", r"a\.csv, line 2: no text 'prompt' \(has text\)"),
        ("a.jsonl", "\n{", r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", "[1]", r"a\.jsonl, line 1: must be an object, got \[1\]"),
        ("a.jsonl", '{"prompt": "x", "questions": [["a?", 2]]}', r"line 1: must ask a text"),
        ("a.jsonl", '{"prompt": "x", "questions": 3}', r"line 1: must ask a text.*got 3"),
        ("a.jsonl", "\n", r"a\.jsonl has no prompt"),
    ],
)
def test_a_faulty_file_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        prompts(str(tmp_path / name))


def test_the_file_lies_beside_the_declaration(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a cat"}')
    given = beside({"prompts": {"target": "x", "questions": "mine.jsonl"}}, tmp_path)
    assert given["prompts"]["questions"] == str(tmp_path / "mine.jsonl")
    assert build_benchmark(LISTED).metrics[0].name == LISTED.metric
