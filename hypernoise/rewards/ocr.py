"""The text in an image, read by PP-OCRv4, and how near it is to the text that a prompt asks for.

Source of the reward: Flow-GRPO, arXiv 2505.05470; the reader is rapidocr-onnxruntime, whose package
carries its weights. The original reads with PaddleOCR, so its scores are near but not the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hypernoise.images import to_uint8
from hypernoise.rewards.protocol import Features
from hypernoise.weights.pins import Missing

_PACKAGE = "rapidocr_onnxruntime"
_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”')


class TextReader:
    """Reads the text in images; its networks are loaded with the first one."""

    def read(self, images: Tensor) -> list[str]:
        """All lines of text in each of images [B, 3, H, W] in [0, 1], from the top, one a line.

        Raises:
            FileNotFoundError: the extra ``ocr`` is not installed.
            ValueError: a pixel is not finite.
        """
        found = []
        for pixels in to_uint8(images):
            # The reader expects OpenCV's order of colours.
            lines, _ = self._engine(np.ascontiguousarray(pixels[..., ::-1]))
            found.append("\n".join(text for _, text, _ in lines or ()))
        return found

    @staticmethod
    def check_installed() -> None:
        """Raise FileNotFoundError unless the extra ``ocr`` is installed."""
        if find_spec(_PACKAGE) is None:
            raise Missing(
                f"reading text in images needs the package {_PACKAGE}, which there is for Python "
                "up to 3.12",
                f"package {_PACKAGE}",
                "pip install 'hypernoise[ocr]'",
            )

    @cached_property
    def _engine(self) -> Any:
        self.check_installed()
        # Imported here because it is an extra, and loads OpenCV and ONNX Runtime.
        from rapidocr_onnxruntime import RapidOCR  # type: ignore[import-untyped]

        # One thread: jobs run beside each other, and sums keep their order.
        return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)


class Ocr:
    """1 - edits / length of the text that a prompt has in double quotes, in [0, 1].

    Case and whitespace do not count. A read text that contains the whole of the other scores 1, and
    no more edits count than the text is long, as in the original.

    Args:
        name: what tables and messages call it.

    Raises:
        FileNotFoundError: the extra ``ocr`` is not installed.
    """

    differentiable: ClassVar[bool] = False
    check_installed = staticmethod(TextReader.check_installed)

    def __init__(self, name: str = "ocr") -> None:
        self.name = name
        self.check_installed()
        self._reader = TextReader()

    def encode(self, prompts: Sequence[str]) -> Features:
        """The prompts themselves.

        Raises:
            ValueError: a prompt asks for no text.
        """
        for prompt in prompts:
            quoted(prompt)
        return Features({}, tuple(prompts))

    def score(self, images: Tensor, features: Features) -> Tensor:
        """Similarities [B] of images [B, 3, H, W] in [0, 1], rounded as PNGs are; no gradient."""
        pairs = zip(self._reader.read(images), features.prompts, strict=True)
        scores = [text_similarity(read, quoted(prompt)) for read, prompt in pairs]
        return torch.tensor(scores, device=images.device)


def quoted(prompt: str) -> str:
    """The first text in double quotes, straight or typographic.

    Raises:
        ValueError: there is none, or nothing but whitespace.
    """
    found = _QUOTED.search(prompt)
    text = (found[1] or found[2] or "").strip() if found else ""
    if not text:
        raise ValueError(f'a prompt needs its text in double quotes, as "OPEN" is here: {prompt!r}')
    return text


def text_similarity(read: str, asked: str) -> float:
    """Flow-GRPO's reward of a text that was read for the one that was asked for, in [0, 1]."""
    read, asked = folded(read), folded(asked)
    if asked in read:
        return 1.0
    return 1 - min(edits(read, asked), len(asked)) / len(asked)


def folded(text: str) -> str:
    """A text without case and whitespace."""
    return "".join(text.casefold().split())


def edits(one: str, other: str) -> int:
    """Levenshtein distance: insertions, deletions and replacements of one sign each."""
    row = list(range(len(other) + 1))
    for place, sign in enumerate(one, 1):
        above, row = row, [place]
        for column, beside in enumerate(other, 1):
            replaced = above[column - 1] + (sign != beside)
            row.append(min(replaced, above[column] + 1, row[-1] + 1))
    return row[-1]
