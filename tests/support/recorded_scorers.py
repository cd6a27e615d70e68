"""The scorers with their originals' random weights, as tests/support/parity recorded them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from parity import small
from parity.seeded import weight
from paths import SUPPORT
from safetensors.torch import save_file

from harness.base.import_strings import resolve

FIXTURES = SUPPORT / "parity" / "fixtures"


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
