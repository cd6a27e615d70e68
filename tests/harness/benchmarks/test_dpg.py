"""DPG-Bench: its question table, when a proposition holds, and its two scores. Decided by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.benchmarks import dpg, questions
from harness.benchmarks.dpg import DpgBench, Proposition, Variant, holds, read_prompts
from harness.benchmarks.protocol import Images, Prompt, Score
from harness.benchmarks.questions import Probabilities
from harness.build import data_files
from harness.build.prompts import NOTES

HEADER = (
    "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,"
    "question_natural_language"
)
ROWS = [
    'first,"A key, brown.",,1,0,entity,whole,entity - whole (key),Is there a key?',
    'first,"A key, brown.",,2,1,attribute,color,"attribute - color (key, brown)",Is it brown?',
    "second,A cat on a mat.,,1,0,entity,whole,entity - whole (cat),Is there a cat?",
    "second,A cat on a mat.,,2,0,entity,whole,entity - whole (mat),Is there a mat?",
    'second,A cat on a mat.,,3,"1, 2",relation,spatial,"relation (cat, mat)",Is it on the mat?',
]
TOLD = {
    "Is there a key?": 1.0,
    "Is it brown?": 0.0,
    "Is there a cat?": 0.9,
    "Is there a mat?": 0.5,
    "Is it on the mat?": 0.8,
}


class Told:
    """Answers yes with the probability that it was told for a question."""

    def __init__(self, told: Mapping[str, float]) -> None:
        self.told = told
        self.asked: list[list[str]] = []

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
        self.asked += [list(those) for those in questions]
        return [[self.told[question] for question in those] for those in questions]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A question table in a data folder."""
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    path = tmp_path / dpg.NAME
    path.parent.mkdir()
    path.write_text("\n".join([HEADER, *ROWS]) + "\n")
    return path


def propositions(*parents: Sequence[int]) -> list[Proposition]:
    return [
        Proposition(number, tuple(those), "entity", f"{number}?")
        for number, those in enumerate(parents, start=1)
    ]


@pytest.mark.parametrize("variant", ["published", "corrected"])
@pytest.mark.parametrize(
    ("parents", "no", "failed"),
    [
        (([], [1], [1]), [], []),
        (([], [1], [1]), [2], [2]),
        (([], [1], [1]), [1], [1, 2, 3]),
        (([], [], [1, 2]), [2], [2, 3]),
        (([], [1], [2], [3]), [1], [1, 2, 3, 4]),
        (([], [1], [2], []), [2], [2, 3]),
        (([], [], []), [1, 2, 3], [1, 2, 3]),
    ],
)
def test_a_proposition_fails_with_its_parents(
    variant: Variant, parents: Any, no: list[int], failed: list[int]
) -> None:
    said = propositions(*parents)
    held = holds(said, {p.number: p.number not in no for p in said}, variant)
    assert [number for number, it_holds in held.items() if not it_holds] == failed


def test_only_the_corrected_rule_sees_a_grandparent_that_stands_later() -> None:
    # 1 depends on 2, which depends on 3, which was answered with no.
    said = propositions([2], [3], [])
    yes = {1: True, 2: True, 3: False}
    assert holds(said, yes, "published") == {1: True, 2: False, 3: False}
    assert holds(said, yes, "corrected") == {1: False, 2: False, 3: False}


def test_every_prompt_and_proposition_is_asked_about(table: Path) -> None:
    first, second = dpg.prompts()
    assert (first.prompt_id, first.text) == ("first", "A key, brown.")
    assert [row[0] for row in first.metadata["propositions"]] == [1, 2]
    assert [row[1] for row in second.metadata["propositions"]] == [[], [], [1, 2]]
    assert second.metadata["published"] == [1, 2, 3]


def test_the_prompt_that_the_published_scorer_loses_is_noted(
    table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", NOTES.name)
    dpg.prompts()
    (line,) = caplog.messages
    assert "prompt 'first': the published scorer leaves it out" in line
    assert "depend on [1]" in line


def scores_of(
    prompts: Sequence[Prompt], told: Mapping[str, float], patch: pytest.MonkeyPatch
) -> tuple[list[dict[str, Score]], Told]:
    """The scores of one image per prompt, all different, and who was asked."""
    answerer = Told(told)
    patch.setattr(questions, "build_answerer", lambda _: answerer)
    images = np.arange(len(prompts) * 48, dtype=np.float32).reshape(-1, 3, 4, 4)
    benchmark = DpgBench({"target": "harness.benchmarks.dpg:prompts"}, {"target": "x:Y"})
    return benchmark.score(images, prompts), answerer


def left_out(scores: Mapping[str, Score]) -> dict[str, bool]:
    return {metric: score.left_out for metric, score in scores.items()}


def test_both_scores_of_an_image_come_from_one_round_of_questions(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second), answerer = scores_of(dpg.prompts(), TOLD, monkeypatch)
    assert answerer.asked == [["Is there a key?", "Is it brown?"], list(TOLD)[2:]]
    # One half is no yes, and what stands on the mat falls with it.
    for metric in ("dpg_bench", "dpg_bench_corrected"):
        assert second[metric].value == pytest.approx(100 / 3)
        rows = json.loads(second[metric].detail)["propositions"]
        assert [(row[1], row[2]) for row in rows] == [(0.9, True), (0.5, False), (0.8, False)]
    assert first["dpg_bench_corrected"].value == 50


def test_a_prompt_that_the_published_scorer_loses_has_no_score_of_it_but_the_reason(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second), _ = scores_of(dpg.prompts(), TOLD, monkeypatch)
    assert left_out(first) == {"dpg_bench": True, "dpg_bench_corrected": False}
    assert "depend on [1]" in json.loads(first["dpg_bench"].detail)["left_out"]
    assert left_out(second) == {"dpg_bench": False, "dpg_bench_corrected": False}


def test_without_a_child_of_it_only_the_first_proposition_is_lost(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ROWS[0], ROWS[1].replace(",2,1,", ",2,0,"), *ROWS[2:]]
    table.write_text("\n".join([HEADER, *rows]))
    (first, _), _ = scores_of(dpg.prompts(), TOLD, monkeypatch)
    # There is a key, and it is not brown: the published scorer reads the second only.
    assert {metric: score.value for metric, score in first.items()} == {
        "dpg_bench": 0,
        "dpg_bench_corrected": 50,
    }


def test_a_prompt_of_which_nothing_is_read_is_left_out_too(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write_text("\n".join([HEADER, ROWS[0], *ROWS[2:]]))
    (first, _), _ = scores_of(dpg.prompts(), TOLD, monkeypatch)
    assert left_out(first) == {"dpg_bench": True, "dpg_bench_corrected": False}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",2,1,", ",2,5,", r"'first' depend on \[5\]"),
        (",2,1,", ",2,one,", "faulty row of prompt 'first'"),
        (",2,1,", ",,1,", "faulty row of prompt 'first'"),
        ("proposition_id", "number", "lacks the columns proposition_id"),
    ],
)
def test_a_faulty_table_is_refused(table: Path, old: str, new: str, message: str) -> None:
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_prompts(table)


def test_without_a_hash_the_table_is_not_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"dpg_bench\.csv is missing.*without a SHA-256"):
        dpg.prompts()
