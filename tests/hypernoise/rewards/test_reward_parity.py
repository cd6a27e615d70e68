"""The scorers against their originals, on the same random weights.

The originals' scores were recorded by tests/parity/record.py, in an environment of their own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import small
from parity.pairs import pairs
from parity.seeded import weight
from paths import SUPPORT
from PIL import Image
from safetensors.torch import save_file

from harness.base.import_strings import resolve

FIXTURES = SUPPORT / "parity" / "fixtures"
#: Both sides compute in float32, in another order and partly with other kernels.
TOLERANCE = 1e-4
TARGETS = {
    "hpsv2": "hypernoise.rewards.hpsv2:HPSv2",
    "clip_score": "hypernoise.rewards.clip_score:ClipScore",
    "pickscore": "hypernoise.rewards.pickscore:PickScore",
    "imagereward": "hypernoise.rewards.imagereward:ImageReward",
    "aesthetic": "hypernoise.rewards.aesthetic:Aesthetic",
}
SCORERS = tuple(TARGETS)


def recorded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return content


def checkpoint(shapes: dict[str, list[int]], path: Path) -> str:
    """A checkpoint as published: the original's names, in the original's format."""
    tensors = {name: weight(name, tuple(shape)) for name, shape in shapes.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": tensors} if path.suffix == ".pt" else tensors, path)
    return str(path)


def build(name: str, folder: Path, **changes: Any) -> Any:
    """Our scorer with the original's random weights, through the loading code of published ones."""
    fixture = recorded(name)
    suffix = fixture["format"]
    weights = checkpoint(fixture["weights"], folder / f"weights{suffix}")
    arguments: dict[str, Any] = {"weights": weights}
    if name == "imagereward":
        vocabulary = folder / "vocab.txt"
        vocabulary.write_text("\n".join(small.bert_vocabulary()), encoding="utf-8")
        arguments |= {"vocabulary": str(vocabulary), "vision": small.VISION, "text": small.bert()}
    elif name == "aesthetic":
        head = checkpoint(fixture["head"], folder / "head.pth")
        arguments |= {"head": head, "architecture": small.OPEN_CLIP_QUICK}
    else:
        arguments["architecture"] = small.CLIP if name == "pickscore" else small.OPEN_CLIP
    return resolve(TARGETS[name])(**arguments | changes)


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
