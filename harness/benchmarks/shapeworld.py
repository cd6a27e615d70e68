"""The embedded world's GenEval: its captions and detector under the GenEval protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.benchmarks.geneval import CORRECT, Decision, Evaluator, decide, scores_of
from harness.benchmarks.geneval_metadata import check_prompts
from harness.benchmarks.neighbours import runs
from harness.benchmarks.prompts import in_turn
from harness.benchmarks.protocol import Images, Prompt, Score
from hypernoise.shapeworld.captions import COLORS, SHAPES, captions
from hypernoise.shapeworld.detector import by_class, detect
from hypernoise.shapeworld.scenes import SIZE_PX


class ShapeWorld:
    """GenEval of the embedded world.

    Args:
        split: ``"evaluation"`` for reported numbers, on which nothing is trained or chosen;
            ``"validation"`` for what hyper-parameters and checkpoints are chosen on.
        n: how many captions, taken from the tasks in turn; 0 for all.
    """

    metrics = (CORRECT,)
    takes_px = SIZE_PX

    def __init__(self, split: str = "evaluation", n: int = 0) -> None:
        self._split, self._n = split, n

    def prompts(self) -> list[Prompt]:
        """The captions of the split; ValueError for an unknown one."""
        found = captions(self._split)
        chosen = in_turn(found, self._n) if self._n else found
        return [Prompt(c.prompt_id, c.text, c.task, c.metadata, c.meaning) for c in chosen]

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Check that the split exists, and prompts' metadata; ValueError if not."""
        captions(self._split)
        check_prompts(prompts, SHAPES, COLORS)

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        """GenEval's decision about each image [3, H, W] in [0, 1]."""
        found = [(by_class(detect(images[run.start])), run) for run in runs(images)]
        return scores_of(
            [decide(prompts[place].metadata, *seen) for seen, run in found for place in run]
        )


def judge_image(image: NDArray[np.float32], metadata: Mapping[str, Any]) -> Decision:
    """GenEval's decision about one image [3, H, W] in [0, 1], with the world's own detector."""
    return decide(metadata, *by_class(detect(image)))


def evaluator() -> Evaluator:
    """GenEval's evaluator with the world's own detector, for image files."""

    def judge(image: Image.Image, metadata: Mapping[str, Any]) -> Decision:
        pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
        return judge_image(np.ascontiguousarray(pixels.transpose(2, 0, 1)), metadata)

    return Evaluator(judge, SHAPES, COLORS, SIZE_PX)
