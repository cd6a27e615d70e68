"""What a benchmark is: prompts, and what images of these prompts are measured by.

A benchmark is declared by its class. Its constructor takes the declaration's arguments and loads
nothing; networks are loaded when the first image is scored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: float32 [N, 3, H, W] in [0, 1], of 8-bit values.
Images: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """A prompt of a benchmark or of a training.

    Attributes:
        prompt_id: its identity within the list; the noise of its images follows from it.
        task: the benchmark's task that it belongs to.
        metadata: what its images are judged by, as JSON values.
        meaning: what it asks for, equal for all prompts that ask for the same in other words; an
            empty one stands for the prompt's id: no other prompt asks for it.
    """

    prompt_id: str
    text: str
    task: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    meaning: str = ""

    @property
    def metadata_text(self) -> str:
        """The metadata as JSON, as frames of images keep them."""
        return json.dumps(self.metadata, ensure_ascii=False)


@dataclass(frozen=True)
class Metric:
    """Something that a benchmark measures; higher is better."""

    name: str
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Score:
    """What a metric says about one image.

    Attributes:
        value: in the metric's unit.
        detail: why, in words or as JSON.
        left_out: the metric's own rules do not count this image; ``value`` is then of no meaning,
            and ``detail`` says why.
    """

    value: float
    detail: str = ""
    left_out: bool = False


class Benchmark(Protocol):
    """Prompts and the metrics of their images."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What :meth:`score` measures; nothing where rewards are all that is measured."""
        ...

    def prompts(self) -> Sequence[Prompt]:
        """All prompts, in the order in which images are made.

        Raises:
            ValueError, FileNotFoundError: a file of prompts is faulty or cannot be had.
        """
        ...

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Check the benchmark's arguments before any image is made; no network is loaded.

        Args:
            prompts: prompts whose images will be scored; a tokenizer may be loaded to check them.

        Raises:
            ValueError, FileNotFoundError: images cannot be scored.
        """
        ...

    def score(self, images: Images, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, Score]]:
        """Score images, each against its prompt.

        Args:
            images: [N, 3, H, W]. An image that is scored against several prompts stands next to
                itself, so that it need be looked at once
                (:func:`harness.benchmarks.neighbours.runs`).
            prompts: N prompts, as they were when the images were made.

        Returns:
            for each image, the name of every metric -> its score.
        """
        ...
