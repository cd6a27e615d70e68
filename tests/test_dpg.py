"""DPG-Bench: its question table, and when a proposition holds. Decided by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import data_files
from harness.benchmarks import dpg
from harness.benchmarks.dpg import Proposition, Variant, holds, read_prompts
from harness.benchmarks.questions import Images, Probabilities

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


class Told:
    """Answers yes with the probability that it was told for a question."""

    def __init__(self, told: Mapping[str, float]) -> None:
        self.told = told

    def yes_probability(self, images: Images, questions: Sequence[Sequence[str]]) -> Probabilities:
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


def test_the_published_scorer_loses_the_first_prompt(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (prompt,) = dpg.prompts("published")
    assert (prompt.prompt_id, prompt.text) == ("second", "A cat on a mat.")
    assert "prompt 'first' depend on [1]" in capsys.readouterr().err


def test_the_corrected_one_keeps_every_prompt_and_proposition(table: Path) -> None:
    first, second = dpg.prompts("corrected")
    assert [row[0] for row in first.metadata["propositions"]] == [1, 2]
    assert [row[1] for row in second.metadata["propositions"]] == [[], [], [1, 2]]


def test_without_a_child_of_it_only_the_first_proposition_is_lost(table: Path) -> None:
    rows = [ROWS[0], ROWS[1].replace(",2,1,", ",2,0,"), *ROWS[2:]]
    table.write_text("\n".join([HEADER, *rows]))
    first, _ = dpg.prompts("published")
    assert [row[0] for row in first.metadata["propositions"]] == [2]


def test_a_score_is_the_share_that_holds_in_percent_with_every_answer(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"Is there a cat?": 0.9, "Is there a mat?": 0.5, "Is it on the mat?": 0.8}
    monkeypatch.setattr(dpg, "build_answerer", lambda _: Told(told))
    (prompt,) = dpg.prompts("published")
    ((value, detail),) = dpg.score(np.zeros((1, 3, 4, 4), np.float32), [prompt.metadata], {})
    # One half is no yes, and what stands on the mat falls with it.
    assert value == pytest.approx(100 / 3)
    rows = json.loads(detail)["propositions"]
    assert [(row[1], row[2]) for row in rows] == [(0.9, True), (0.5, False), (0.8, False)]


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
        read_prompts(table, "corrected")


def test_without_a_hash_the_table_is_not_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"dpg_bench\.csv is missing.*without a SHA-256"):
        dpg.prompts()


def test_an_unknown_rule_names_the_valid_ones(table: Path) -> None:
    with pytest.raises(ValueError, match=r"'publshed'.*'published'"):
        dpg.prompts("publshed")  # type: ignore[arg-type]
