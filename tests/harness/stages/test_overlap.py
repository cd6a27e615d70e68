"""No prompt is both trained and evaluated on."""

from __future__ import annotations

import pytest

from harness.benchmarks.prompts import normalised
from harness.cli import preflight
from harness.experiment.components import PromptsSpec
from harness.experiment.jobs import OverlapJob
from harness.experiment.validation import to_json
from harness.stages import overlap


def texts(*of: str) -> PromptsSpec:
    return PromptsSpec("harness_toys:texts", {"of": list(of)})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A Photo of a Bench.", "a photo of  a bench"),
        ("two-tone, shiny car", "two tone shiny car"),
        ("a cat's dream", "a cat\N{RIGHT SINGLE QUOTATION MARK}s dream!"),
        ("\ta fox\n", "A FOX"),
        ("STRASSE", "straße"),
    ],
)
def test_case_whitespace_and_punctuation_make_no_other_prompt(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"), [("two cats", "two cat"), ("?!", "!?"), ("a 2 b", "a 3 b"), ("猫", "犬")]
)
def test_other_words_make_another_prompt(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


def test_shared_prompts_are_all_listed_with_their_training_and_benchmark() -> None:
    job = OverlapJob(
        {"training a": texts("A red ring.", "a fox", "b"), "training b": texts("c")},
        {"one": texts("a red ring", "x", "a FOX!"), "two": texts("C")},
    )
    with pytest.raises(ValueError, match="both trained and evaluated on") as caught:
        preflight.run([f"overlap\t{to_json(job)}\n"])
    said = str(caught.value)
    assert said.endswith("training a and one: 'a red ring', 'a FOX!'; training b and two: 'C'")


def test_a_network_may_learn_from_prompts_that_others_are_measured_on() -> None:
    trainings = {"training a": texts("a red ring"), "training b": texts("a fox")}
    benchmarks = {"one": texts("a red ring"), "two": texts("a fox")}
    overlap.check(
        OverlapJob(trainings, benchmarks, measured={"training a": ("two",), "training b": ("one",)})
    )
    for measured in ({"training a": ("one", "two")}, {"training b": ("one",)}):
        with pytest.raises(ValueError, match="training a and one: 'a red ring'"):
            overlap.check(OverlapJob(trainings, benchmarks, measured=measured))


def test_prompts_that_mean_the_same_in_other_words_are_shared() -> None:
    job = OverlapJob(
        {"training": PromptsSpec("harness_toys:meanings", {"of": {"a over b": "m", "c": ""}})},
        {"one": PromptsSpec("harness_toys:meanings", {"of": {"b under a": "m", "d": ""}})},
    )
    with pytest.raises(ValueError, match=r"training and one: 'b under a'$"):
        overlap.run(job)


def test_lists_apart_pass() -> None:
    overlap.run(OverlapJob({"a": texts("a red ring")}, {"one": texts("a blue ring")}))
    captions = "hypernoise.shapeworld.captions:captions"
    splits = {s: PromptsSpec(captions, {"split": s}) for s in ("train", "validation", "evaluation")}
    train = splits.pop("train")
    overlap.run(OverlapJob({"train": train}, splits))


def test_validation_prompts_that_are_evaluated_on_are_listed_and_stop_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = OverlapJob(
        {"training a": texts("b")},
        {"one": texts("A red ring.", "x", "a fox"), "two": texts("c")},
        {"validation of a": texts("a red ring", "a FOX!", "c")},
    )
    preflight.run([f"overlap\t{to_json(job)}\n"])
    assert capsys.readouterr().out.splitlines() == [
        "validated and evaluated on: validation of a and one: 2 of 3: 'A red ring.', 'a fox'",
        "validated and evaluated on: validation of a and two: all 1",
    ]
