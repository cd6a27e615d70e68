"""The scorers against their originals, on the same random weights.

The originals' scores were recorded by ``record.py`` of tests/support/parity, in an environment of
their own.
"""

from __future__ import annotations

from typing import Any

import pytest
from parity.pairs import pairs
from PIL import Image
from recorded_scorers import SCORERS, build, recorded

#: Both sides compute in float32, in another order and partly with other kernels.
TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=SCORERS)
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = build(request.param, tmp_path_factory.mktemp(request.param))
    made.original = recorded(request.param)
    return made


def score_one(scorer: Any, image: Image.Image, prompt: str) -> float:
    return float(scorer.score_pil([image], scorer.encode([prompt]))[0])


def test_scores_of_pil_images_are_the_originals(scorer: Any) -> None:
    expected = scorer.original["scores"]
    cases = [case for case in pairs() if expected[case[0]] is not None]
    assert len(cases) >= 20
    differences = {
        name: abs(score_one(scorer, image, prompt) - expected[name])
        for name, image, prompt in cases
    }
    assert max(differences.values()) < TOLERANCE, differences


def test_recorded_scores_differ_enough_to_compare(scorer: Any) -> None:
    scores = [score for score in scorer.original["scores"].values() if score is not None]
    assert max(scores) - min(scores) > 100 * TOLERANCE
