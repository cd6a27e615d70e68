"""A benchmark's verdict as a reward: what images are judged by, to be searched or trained on.

It has no gradient. Trained on, it shows what the benchmark does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.base.errors import SpecError, unknown
from harness.benchmarks.build import Declaration, build_declared, declared_prompts
from harness.benchmarks.protocol import Benchmark, Prompt
from hypernoise.images import to_bytes
from hypernoise.rewards.protocol import Features


class Verdict:
    """A metric of a benchmark as a reward.

    Args:
        benchmark: declaration of the benchmark, a ``target`` and its arguments.
        prompts: declarations of lists whose prompts carry the metadata that the benchmark judges
            by. Only their texts can be scored.
        metric: of the benchmark; its first without it.
        name: what tables call it.

    Raises:
        SpecError: a declaration is faulty, or the benchmark lacks the metric.
    """

    differentiable: ClassVar[bool] = False

    def __init__(
        self,
        benchmark: Declaration,
        prompts: Sequence[Declaration],
        metric: str = "",
        name: str = "verdict",
    ) -> None:
        self.name = name
        self._benchmark: Benchmark = build_declared(benchmark, f"reward {name!r}: the benchmark")
        names = [each.name for each in self._benchmark.metrics]
        if not names or (metric and metric not in names):
            raise unknown(f"metric of the benchmark of reward {name!r}:", metric, names)
        self._metric = metric or names[0]
        listed = (each for declaration in prompts for each in declared_prompts(declaration))
        self._prompts: dict[str, Prompt] = {}
        for prompt in listed:
            there = self._prompts.setdefault(prompt.text, prompt)
            if there.metadata != prompt.metadata:
                raise SpecError(
                    f"reward {name!r}: its lists have {prompt.text!r} with two metadata: its text "
                    "cannot say which of them an image is judged by"
                )

    def encode(self, prompts: Sequence[str]) -> Features:
        """The prompts; SpecError for one that stands in none of the declared lists."""
        self._found(prompts)
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        """The metric [B] of images [B, 3, H, W] in [0, 1], rounded as PNGs are; no gradient.

        Raises:
            ValueError: the metric's own rules leave an image out.
        """
        pixels = to_bytes(images).cpu().numpy().astype(np.float32) / np.float32(255)
        asked = self._found(features.prompts)
        scores = [each[self._metric] for each in self._benchmark.score(pixels, asked)]
        for prompt, score in zip(asked, scores, strict=True):
            if score.left_out:
                raise ValueError(
                    f"reward {self.name!r}: {self._metric} leaves out an image of "
                    f"{prompt.text!r}: {score.detail}"
                )
        return torch.tensor([score.value for score in scores], device=images.device)

    def _found(self, texts: Sequence[str]) -> list[Prompt]:
        for text in texts:
            if text not in self._prompts:
                raise SpecError(
                    f"reward {self.name!r} judges {len(self._prompts)} prompts of its declared "
                    f"lists, and {text!r} is none of them; add the list that it is from"
                )
        return [self._prompts[text] for text in texts]
