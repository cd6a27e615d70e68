"""Outputs of a detector, and photographs, that mmdet and we read: padded, odd, tall, empty."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from parity.pairs import pairs
from PIL import Image
from torch import Tensor

N_CLASSES = 80
#: Photographs of ``pairs.py`` by their names there, and every so manieth value of a network input.
PHOTOGRAPHS = (
    "square",
    "wide",
    "tall",
    "odd",
    "very wide",
    "very tall",
    "smaller than the network",
)
GREY_OR_ALPHA = ("grey", "RGBA logo")
STRIDE = 19997


@dataclass(frozen=True)
class Case:
    """Random logits [queries, 81] and [queries, *logits_size], and what they are logits of.

    Attributes:
        shift: of the mask logits; far below zero, all masks are empty.
        top_k: how many objects are read.
    """

    name: str
    queries: int
    logits_size: tuple[int, int]
    padded_size: tuple[int, int]
    resized_size: tuple[int, int]
    image_size: tuple[int, int]
    shift: float = 0.0
    top_k: int = 100

    def logits(self) -> tuple[Tensor, Tensor]:
        """Class and mask logits; NumPy's legacy generator, whose stream is frozen for good."""
        source = np.random.RandomState(zlib.crc32(self.name.encode()))
        classes = 2 * source.standard_normal((self.queries, N_CLASSES + 1))
        masks = 3 * source.standard_normal((self.queries, *self.logits_size)) + self.shift
        return torch.from_numpy(classes).float(), torch.from_numpy(masks).float()


CASES = (
    Case("square", 4, (13, 13), (800, 800), (800, 800), (512, 512), top_k=20),
    Case("large square, few objects", 3, (7, 7), (800, 800), (800, 800), (1024, 1024), top_k=7),
    Case("wide, padded", 3, (9, 13), (800, 1088), (800, 1067), (480, 640), top_k=20),
    Case("tall, padded", 3, (13, 9), (1216, 800), (1201, 800), (500, 333), top_k=20),
    Case(
        "strip, padded below and right", 4, (7, 42), (224, 1344), (220, 1333), (99, 600), top_k=20
    ),
    Case("quarter resolution", 8, (24, 32), (96, 128), (90, 120), (45, 60)),
    Case("enlarged", 8, (16, 16), (64, 64), (64, 64), (97, 97), shift=-3.0),
    Case("almost empty", 3, (4, 4), (96, 96), (90, 96), (30, 32), shift=-5.0),
    Case("every pair of query and class", 1, (8, 8), (32, 32), (32, 32), (32, 32), top_k=80),
)


def photographs() -> dict[str, Image.Image]:
    """Photographs by name, of their own modes."""
    wanted = {*PHOTOGRAPHS, *GREY_OR_ALPHA}
    return {name: image for name, image, _ in pairs() if name in wanted}


def sampled(pixels: Tensor) -> list[float]:
    """Some values of a network input [3, H, W], to five digits."""
    return [round(value, 5) for value in pixels.flatten()[::STRIDE].tolist()]


def packed(mask: NDArray[Any]) -> str:
    """A mask as text."""
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode()


def unpacked(text: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask [H, W] of a text that :func:`packed` gave."""
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.unpackbits(bits, count=size[0] * size[1]).reshape(size).astype(bool)
