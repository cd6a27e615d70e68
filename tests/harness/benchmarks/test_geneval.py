"""GenEval's protocol, against the original's recorded decisions and against cases of our own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from shared_data import SHARED, needs

from harness.benchmarks import geneval_coco
from harness.benchmarks.geneval import (
    COLORS,
    RELATIONS,
    TASKS,
    ColorCall,
    Decision,
    decide,
    judge,
    relations,
)
from harness.benchmarks.geneval_metadata import check_metadata, load_metadata
from harness.build import data_files

DATA, DECISIONS = "benchmarks/geneval", "benchmarks/geneval/decision_cases.json"
RECORDED: list[dict[str, Any]] = (
    json.loads((SHARED / DECISIONS).read_text(encoding="utf-8"))["cases"]
    if (SHARED / DECISIONS).is_file()
    else [{"id": "none"}]
)


def clause(classname: str, count: int = 1, **extra: Any) -> dict[str, Any]:
    return {"class": classname, "count": count, **extra}


def prompt(tag: str, *include: dict[str, Any], exclude: Sequence[Any] = ()) -> dict[str, Any]:
    return {"tag": tag, "include": list(include), "exclude": list(exclude), "prompt": "a photo"}


def square(x: float, y: float, score: float, size: float = 40) -> list[float]:
    return [x, y, x + size, y + size, score]


def counting(count: int) -> dict[str, Any]:
    return prompt("counting", clause("ring", count), exclude=[clause("ring", count + 1)])


def moon_from_ring(relation: str, **extra: Any) -> dict[str, Any]:
    moon = clause("moon", position=[relation, 0], **extra)
    return prompt("position", clause("ring"), moon)


ROW = [square(50 * i, 0, 0.99 - 0.002 * i) for i in range(20)]
RED_RING = clause("ring", color="red")


class Case(NamedTuple):
    """Our own case: what goes in, and the reason (empty: correct) that must come out."""

    behaviour: str
    metadata: Mapping[str, Any]
    detections: Mapping[str, Any]
    reason: str
    colors: Mapping[str, Sequence[str]] = {}
    options: Mapping[str, Any] = {}


CASES = (
    Case(
        "found object", prompt("single_object", clause("ring")), {"ring": [square(9, 9, 0.8)]}, ""
    ),
    Case("absent object", prompt("single_object", clause("ring")), {}, "expected ring>=1, found 0"),
    Case(
        "no detections as an empty array",
        prompt("single_object", clause("ring")),
        {"ring": np.zeros((0, 5), np.float32)},
        "expected ring>=1, found 0",
    ),
    Case(
        "score equal to the threshold is out",
        prompt("single_object", clause("ring")),
        {"ring": [square(9, 9, 0.3)]},
        "expected ring>=1, found 0",
    ),
    Case(
        "score above the threshold by less than float32 sees is out",
        prompt("single_object", clause("ring")),
        {"ring": [square(9, 9, 0.300000005)]},
        "expected ring>=1, found 0",
    ),
    Case(
        "score one float32 step above the threshold is in",
        prompt("single_object", clause("ring")),
        {"ring": [square(9, 9, float(np.nextafter(np.float32(0.3), np.float32(1))))]},
        "",
    ),
    Case(
        "counting has its own threshold",
        counting(1),
        {"ring": [square(9, 9, 0.95), square(99, 9, 0.9)]},
        "",
    ),
    Case("counting refuses more", counting(2), {"ring": ROW[:4]}, "expected ring<3, found 4"),
    Case("other tags accept more", prompt("single_object", clause("ring", 2)), {"ring": ROW}, ""),
    Case("sixteen objects are kept", counting(16), {"ring": ROW}, ""),
    Case("the cap is an option", counting(3), {"ring": ROW}, "", options={"max_objects": 3}),
    Case(
        "identical boxes both count by default",
        counting(2),
        {"ring": [square(0, 0, 0.99), square(0, 0, 0.98)]},
        "",
    ),
    Case(
        "overlap equal to the limit is dropped, with inclusive pixels",
        counting(2),
        # 10x5 inside 20x10 pixels: an IoU of exactly 1/4 only if both corners belong.
        {"ring": [[0, 0, 19, 9, 0.99], [0, 0, 9, 4, 0.98]]},
        "expected ring>=2, found 1",
        options={"max_overlap": 0.25},
    ),
    Case(
        "a dropped box suppresses nothing",
        counting(2),
        {"ring": [[0, 0, 99, 9, 0.99], [60, 0, 159, 9, 0.98], [120, 0, 219, 9, 0.97]]},
        "",
        options={"max_overlap": 0.2},
    ),
    Case(
        "every failing clause has its line",
        prompt("two_object", clause("ring"), clause("moon"), exclude=[clause("heart")]),
        {"heart": [square(0, 0, 0.5)]},
        "expected ring>=1, found 0\nexpected moon>=1, found 0\nexpected heart<1, found 1",
    ),
    Case("right colour", prompt("colors", RED_RING), {"ring": ROW[:1]}, "", {"ring": ["red"]}),
    Case(
        "only the best object's colour counts",
        prompt("colors", RED_RING),
        {"ring": [square(0, 0, 0.5), square(0, 0, 0.6)]},
        "expected red ring>=1, found 0 red; and 1 blue",
        {"ring": ["red", "blue"]},
    ),
    Case(
        "of equal scores the last comes first",
        prompt("colors", RED_RING),
        {"ring": [square(0, 0, 0.6), square(9, 0, 0.6)]},
        "",
        {"ring": ["blue", "red"]},
    ),
    Case(
        "colours are listed in the classifier's order",
        prompt("colors", clause("ring", 3, color="red")),
        {"ring": ROW[:3]},
        "expected red ring>=3, found 1 red; and 1 red, 1 pink, 1 white",
        {"ring": ["white", "pink", "red"]},
    ),
    Case(
        "above is up",
        moon_from_ring("above"),
        {"ring": [square(200, 200, 0.9)], "moon": [square(200, 100, 0.9)]},
        "",
    ),
    Case(
        "a diagonal is two relations",
        moon_from_ring("below"),
        {"ring": [square(200, 200, 0.9)], "moon": [square(100, 100, 0.9)]},
        "expected moon below target, found left of and above target",
    ),
    Case(
        "half the offset swallowed by the sizes is no relation",
        moon_from_ring("right of"),
        {"ring": [square(0, 0, 0.9)], "moon": [square(16, 0, 0.9)]},
        "expected moon right of target, found  target",
    ),
    Case(
        "just less than half the offset swallowed is a relation",
        moon_from_ring("right of"),
        {"ring": [square(0, 0, 0.9)], "moon": [square(16.01, 0, 0.9)]},
        "",
    ),
    Case(
        "the position threshold is an option",
        moon_from_ring("right of"),
        {"ring": [square(0, 0, 0.9)], "moon": [square(16, 0, 0.9)]},
        "",
        options={"position_threshold": 0.09},
    ),
    Case(
        "the best target decides, not any",
        moon_from_ring("left of"),
        {"ring": [square(0, 0, 0.9), square(400, 0, 0.8)], "moon": [square(200, 0, 0.9)]},
        "expected moon left of target, found right of target",
    ),
    Case(
        "a missing target",
        moon_from_ring("above"),
        {"moon": [square(0, 0, 0.9)]},
        "expected ring>=1, found 0\nno target for moon to be above",
    ),
    Case(
        "a target of the wrong colour is no target",
        prompt("position", RED_RING, clause("moon", position=["above", 0])),
        {"ring": [square(0, 90, 0.9)], "moon": [square(0, 0, 0.9)]},
        "expected red ring>=1, found 0 red; and 1 pink\nno target for moon to be above",
        {"ring": ["pink"]},
    ),
    Case(
        "a wrong colour hides a wrong position",
        moon_from_ring("below", color="red"),
        {"ring": [square(0, 90, 0.9)], "moon": [square(0, 0, 0.9)]},
        "expected red moon>=1, found 0 red; and 1 blue",
        {"moon": ["blue"]},
    ),
    Case("no clause at all", {"tag": "single_object", "prompt": "nothing"}, {}, ""),
)


@needs(DECISIONS)
@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["id"])
def test_decision_is_the_originals(case: dict[str, Any]) -> None:
    arguments = case["metadata"], case["detections"], case["colors"]
    if case["raises"]:
        with pytest.raises(Exception, match=r".{10}") as raised:
            decide(*arguments, **case["options"])
        assert raised.type.__name__ == case["raises"]
        return
    decision = decide(*arguments, **case["options"])
    assert decision.correct == case["correct"]
    assert decision.reason in case["reason_alternatives"]
    assert decision.details == case["details"]
    assert [
        {"class": call.classname, "raw_index": list(call.raw_index), "labels": list(call.labels)}
        for call in decision.color_calls
    ] == case["color_calls"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.behaviour)
def test_own_case(case: Case) -> None:
    decision = decide(case.metadata, case.detections, case.colors, **case.options)
    assert (decision.reason, decision.correct) == (case.reason, not case.reason)


def test_details_hold_the_kept_rows_as_float32_by_falling_score() -> None:
    rows = {"ring": [square(0, 0, 0.4), square(9, 0, 0.7), square(1, 0, 0.2)], "moon": [ROW[0]]}
    found = decide(prompt("two_object"), {**rows, "heart": [square(0, 0, 0.1)]}, {}).details
    assert found == {
        name: np.array(kept, np.float32).tolist()
        for name, kept in {"ring": [rows["ring"][1], rows["ring"][0]], "moon": [ROW[0]]}.items()
    }


def test_order_of_the_raw_detections_does_not_matter_when_scores_differ() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = np.column_stack([rng.uniform(0, 400, (6, 4)), rng.permutation(6) / 7 + 0.1])
        order = rng.permutation(6)
        labels = rng.choice(COLORS[:2], 6)
        metadata = prompt("colors", clause("ring", 2, color="red"))
        first = decide(metadata, {"ring": rows}, {"ring": labels.tolist()})
        second = decide(metadata, {"ring": rows[order]}, {"ring": labels[order].tolist()})
        assert (first.reason, first.details) == (second.reason, second.details)


def test_detections_below_the_threshold_change_nothing() -> None:
    metadata = moon_from_ring("left of")
    good = {"ring": [square(300, 0, 0.9)], "moon": [square(0, 0, 0.5)]}
    noisy = {name: [square(99, 99, 0.29), *rows] for name, rows in good.items()}
    assert decide(metadata, noisy, {}) == decide(metadata, good, {})


def test_relations_turn_round_when_the_boxes_are_swapped() -> None:
    opposite = dict(zip(RELATIONS, ("right of", "left of", "below", "above"), strict=True))
    rng = np.random.default_rng(1)
    for _ in range(300):
        low = rng.integers(0, 200, (2, 2))
        box, target = np.column_stack([low, low + rng.integers(1, 90, (2, 2))]).tolist()
        there, back = relations(box, target), relations(target, box)
        assert {opposite[relation] for relation in there} == set(back)


def test_relations_of_a_box_with_itself_are_none() -> None:
    assert relations([1, 2, 30, 40], [1, 2, 30, 40]) == ()


@pytest.mark.parametrize(("shift", "expected"), [(0.0009, ()), (0.0011, ("right of",))])
def test_points_less_than_a_thousandth_of_a_pixel_apart_have_no_relation(
    shift: float, expected: tuple[str, ...]
) -> None:
    assert relations([shift, 0, shift, 0], [0, 0, 0, 0]) == expected


class Recorder:
    """A colour classifier that answers red and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []

    def __call__(self, classname: str, raw_index: Sequence[int]) -> list[str]:
        self.asked.append((classname, list(raw_index)))
        return ["red"] * len(raw_index)


def asked_for(metadata: dict[str, Any], detections: dict[str, Any]) -> list[tuple[str, list[int]]]:
    recorder = Recorder()
    judge(metadata, detections, recorder)
    return recorder.asked


def test_classifier_is_asked_for_the_best_count_detections_by_raw_index() -> None:
    metadata = prompt("colors", clause("ring", 2, color="red"))
    rows = [square(0, 0, score) for score in (0.2, 0.5, 0.9, 0.7)]
    assert asked_for(metadata, {"ring": rows}) == [("ring", [2, 3])]


def test_classifier_is_not_asked_without_a_color_clause() -> None:
    assert asked_for(moon_from_ring("above"), {"ring": ROW, "moon": ROW}) == []


def test_classifier_is_not_asked_when_objects_are_missing() -> None:
    metadata = prompt("color_attr", clause("ring", 3, color="red"), clause("moon", color="red"))
    assert asked_for(metadata, {"ring": ROW[:2], "moon": ROW[:1]}) == [("moon", [0])]


def test_decision_records_what_the_classifier_answered() -> None:
    decision = judge(prompt("colors", RED_RING), {"ring": ROW}, Recorder())
    assert decision.color_calls == (ColorCall("ring", (0,), ("red",)),)


def test_decision_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Decision(True, "", {}).correct = False  # type: ignore[misc]


def test_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 'ring'.*2 labels"):
        judge(prompt("colors", RED_RING), {"ring": ROW}, lambda _name, _index: ["red", "red"])


def test_missing_color_of_a_detection_is_refused() -> None:
    with pytest.raises(ValueError, match=r"colors\['ring'\] has 1 labels.*detection 1"):
        decide(prompt("colors", RED_RING), {"ring": [ROW[1], ROW[0]]}, {"ring": ["red"]})


@pytest.mark.parametrize(
    "boxes", [[[1, 2, 3, 4]], [1, 2, 3, 4, 0.5], [[1, 2], [3]], 7, [["x"] * 5]]
)
def test_detections_of_another_shape_are_refused(boxes: Any) -> None:
    with pytest.raises(ValueError, match=r"'ring'.*\[n, 5\]"):
        decide(prompt("single_object", clause("ring")), {"ring": boxes}, {})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_detection_that_is_no_number_is_refused_rather_than_absent(value: float) -> None:
    with pytest.raises(ValueError, match="detections of 'ring' are not all finite"):
        decide(prompt("single_object", clause("ring")), {"ring": [[0, 0, 9, 9, value]]}, {})


def test_negative_cap_is_refused() -> None:
    with pytest.raises(ValueError, match="max_objects is -1"):
        decide(prompt("single_object"), {}, {}, max_objects=-1)


def test_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="max_overlaps"):
        decide(prompt("single_object"), {}, {}, max_overlaps=0.5)  # type: ignore[call-arg]


def test_position_of_a_later_clause_is_an_index_error_only_once_it_is_reached() -> None:
    metadata = prompt("position", clause("moon", position=["above", 0]))
    assert decide(metadata, {}, {}).reason == "expected moon>=1, found 0"
    with pytest.raises(IndexError, match="'moon' refers to include clause 0"):
        decide(metadata, {"moon": ROW}, {})


def test_missing_field_is_named() -> None:
    with pytest.raises(KeyError, match="count"):
        decide(prompt("single_object", {"class": "ring"}), {}, {})
    with pytest.raises(KeyError, match="tag"):
        decide({"prompt": "a photo"}, {}, {})


def test_excluding_zero_of_an_absent_class_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="'ring' has count 0"):
        decide(prompt("counting", exclude=[clause("ring", 0)]), {}, {})


BAD_METADATA = [
    ({"tag": "colour"}, r"unknown tag 'colour'; did you mean 'colors'\?.*valid: .*single_object"),
    ({"tag": None}, "unknown tag None"),
    ({"prompt": " "}, "prompt is ' '"),
    ({"prompt": None}, "prompt is None"),
    ({"include": []}, "neither an include nor an exclude"),
    ({"include": {"class": "ring"}}, "include is .* must be a list"),
    ({"include": ["ring"]}, r"include\[0\] is 'ring'"),
    ({"include": [{"count": 1}]}, r"include\[0\] class is None"),
    ({"include": [clause("rign")]}, "unknown .* class 'rign'; did you mean 'ring'"),
    ({"include": [clause("ring", 0)]}, "count is 0, must be"),
    ({"include": [clause("ring", True)]}, "count is True"),
    ({"include": [clause("ring", 1.5)]}, "count is 1.5"),  # type: ignore[arg-type]
    ({"include": [clause("ring", colour="red")]}, "field 'colour'; did you mean 'color'"),
    ({"include": [clause("ring", color="rde")]}, "color 'rde'; did you mean 'red'"),
    ({"include": [clause("ring", position=["above", 0])]}, "clause 0; valid: none"),
    ({"include": [clause("ring"), clause("moon", position=["above", 1])]}, "1; valid: 0 to 0"),
    ({"include": [clause("ring"), clause("moon", position=["above", -1])]}, "clause -1"),
    ({"include": [clause("ring"), clause("moon", position=["over", 0])]}, "'over'.*left of"),
    ({"include": [clause("ring"), clause("moon", position="above")]}, "relation, clause index"),
    ({"exclude": [clause("ring", color="red")]}, "exclude.* field 'color'"),
    ({"exlude": []}, "field 'exlude'; did you mean 'exclude'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_METADATA, ids=[m for _, m in BAD_METADATA])
def test_bad_metadata_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    good = prompt("single_object", clause("ring"))
    check_metadata(good, classes=("ring", "moon"))
    with pytest.raises(ValueError, match=message):
        check_metadata(good | change, classes=("ring", "moon"))


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_metadata_file_is_read_in_order(tmp_path: Path) -> None:
    prompts = [counting(2), moon_from_ring("above")]
    path = write_lines(tmp_path / "m.jsonl", json.dumps(prompts[0]), "", json.dumps(prompts[1]))
    assert load_metadata(path) == prompts


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"tag": "none"}'])
def test_bad_metadata_line_is_named_with_its_file(tmp_path: Path, line: str) -> None:
    path = write_lines(tmp_path / "m.jsonl", json.dumps(counting(2)), "", line)
    with pytest.raises(ValueError, match=r"m\.jsonl, line 3: "):
        load_metadata(path)


def test_metadata_file_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no prompt"):
        load_metadata(write_lines(tmp_path / "m.jsonl", ""))


@needs(DATA)
def test_published_metadata_is_accepted_whole() -> None:
    classes = (SHARED / DATA / "object_names.txt").read_text(encoding="utf-8").split("\n")
    prompts = load_metadata(SHARED / DATA / "evaluation_metadata.jsonl", classes=classes)
    counts = [sum(prompt["tag"] == task for prompt in prompts) for task in TASKS]
    assert counts == [80, 99, 80, 94, 100, 100]


def test_twenty_thousand_decisions_take_at_most_a_second() -> None:
    detections = {
        "ring": np.array([square(300, 0, 0.9), square(9, 9, 0.2)], np.float32),
        "moon": np.array([square(0, 0, 0.5)], np.float32),
    }
    metadata = moon_from_ring("left of", color="red")
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for _ in range(500):
            decide(metadata, detections, {"moon": ["red"]})
        best = min(best, time.process_time() - start)
    assert 500 / best >= 20_000


@needs(DATA)
def test_published_prompts_come_from_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(SHARED / "benchmarks"))
    prompts = geneval_coco.prompts()
    assert len(prompts) == 553
    assert (prompts[0].prompt_id, prompts[0].text) == ("00000", "a photo of a bench")
    assert (prompts[-1].prompt_id, prompts[-1].task) == ("00552", "color_attr")
