"""The prompts that the paper prints (arXiv 2508.09968), from ``paper_prompts.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from harness.base.errors import unknown
from harness.benchmarks.protocol import Prompt


def printed(place: str) -> tuple[Prompt, ...]:
    """The prompts that the paper prints whole in one place, in its order; they are one task.

    Args:
        place: ``"redness"``, ``"figure1"``, ``"figure5"``, ``"figure6"`` or ``"figure7"``.

    Raises:
        ValueError: unknown place.
    """
    places = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    if place not in places:
        raise unknown("place of the paper with prompts", place, places)
    return tuple(Prompt(f"{place}_{n}", text, place) for n, text in enumerate(places[place]))
