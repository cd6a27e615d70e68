"""The embedded world's GenEval: its captions and detector under the GenEval protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.benchmarks.geneval import Decision, Evaluator, decide
from harness.benchmarks.neighbours import runs
from hypernoise.shapeworld.captions import COLORS, SHAPES, Caption, captions
from hypernoise.shapeworld.detector import by_class, detect


def evaluation_prompts() -> tuple[Caption, ...]:
    """Captions for reported numbers; nothing is trained or chosen on them."""
    return captions("evaluation")


def validation_prompts() -> tuple[Caption, ...]:
    """Captions on which hyper-parameters and checkpoints are chosen."""
    return captions("validation")


def training_prompts() -> tuple[Caption, ...]:
    """Captions on which noise networks and fine-tunings are trained."""
    return captions("train")


def judge_image(image: NDArray[np.float32], metadata: dict[str, Any]) -> Decision:
    """GenEval's decision about one image [3, H, W] in [0, 1], with the world's own detector."""
    return decide(metadata, *by_class(detect(image)))


def evaluator() -> Evaluator:
    """GenEval's evaluator with the world's own detector, for image files."""

    def judge(image: Image.Image, metadata: dict[str, Any]) -> Decision:
        pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
        return judge_image(np.ascontiguousarray(pixels.transpose(2, 0, 1)), metadata)

    return Evaluator(judge, SHAPES, COLORS)


def score(
    images: NDArray[np.float32], metadata: Sequence[dict[str, Any]]
) -> list[tuple[float, str]]:
    """GenEval per image: (1.0 or 0.0, the reason of a failure).

    Args:
        images: [N, 3, H, W] in [0, 1].
        metadata: N prompts in GenEval's fields.
    """
    found = [(by_class(detect(images[run.start])), run) for run in runs(images)]
    decisions = [decide(metadata[place], *seen) for seen, run in found for place in run]
    return [(float(decision.correct), decision.reason) for decision in decisions]
