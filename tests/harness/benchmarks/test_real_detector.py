"""GenEval on photographs, by whatever detector of COCO's things there is on this machine.

No detector is a dependency, so one has to be named, as ``python -m harness geneval --detector``
takes it: a folder with Mask2Former's published weights, or a function that gives another's
Evaluator::

    HYPERNOISE_COCO_DETECTOR=weights/mask2former pytest -k real_detector
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from parity.pairs import photographs

from harness.benchmarks.mask2former import CLASSES
from harness.cli.geneval import evaluator_of, score_all
from harness.cli.geneval_folder import read_folder

VARIABLE = "HYPERNOISE_COCO_DETECTOR"
DETECTOR = os.environ.get(VARIABLE, "")

needs_detector = pytest.mark.skipif(
    not DETECTOR, reason=f"{VARIABLE} names no detector of COCO's things"
)


class Case(NamedTuple):
    """What a person sees in a photograph of scikit-image's."""

    photograph: str
    thing: str
    is_there: bool


CASES = (
    Case("chelsea", "cat", True),
    Case("chelsea", "zebra", False),
    Case("astronaut", "person", True),
    Case("astronaut", "pizza", False),
    Case("coffee", "cup", True),
    Case("coffee", "elephant", False),
)


def folder_of(cases: tuple[Case, ...], folder: Path) -> Path:
    """The photographs in GenEval's layout, a prompt each."""
    for number, case in enumerate(cases):
        samples = folder / f"{number:05}" / "samples"
        samples.mkdir(parents=True)
        record = {
            "tag": "single_object",
            "include": [{"class": case.thing, "count": 1}],
            "prompt": f"a photo of a {case.thing}",
        }
        (samples.parent / "metadata.jsonl").write_text(json.dumps(record))
        photographs()[case.photograph].convert("RGB").save(samples / "0000.png")
    return folder


@needs_detector
def test_a_real_detector_sees_what_people_see(tmp_path: Path) -> None:
    evaluator = evaluator_of(DETECTOR)
    assert set(evaluator.classes) == set(CLASSES)
    results = score_all(read_folder(folder_of(CASES, tmp_path), evaluator), evaluator)
    assert [result.correct for result in results] == [case.is_there for case in CASES]
    for case, result in zip(CASES, results, strict=True):
        width, height = photographs()[case.photograph].size
        for rows in json.loads(result.details).values():
            for x0, y0, x1, y1, certainty in rows:
                assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
                assert 0.3 < certainty <= 1


def test_the_photographs_that_a_detector_is_shown_exist() -> None:
    assert {case.photograph for case in CASES} <= set(photographs())
    assert {case.thing for case in CASES} <= set(CLASSES)
