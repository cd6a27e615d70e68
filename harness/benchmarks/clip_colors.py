"""GenEval's colour classifier: CLIP ViT-L/14 on objects that are cut out and laid on grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from harness.benchmarks.geneval import COLORS
from harness.benchmarks.mask2former import Instances
from hypernoise.rewards.openclip import OpenClip
from hypernoise.rewards.preprocessing import Preprocessing
from hypernoise.weights.pinned_files import PinnedFile

#: OpenAI's weights were trained with this activation; the plain one would be wrong, silently.
ARCHITECTURE = "ViT-L-14-quickgelu"
TEMPLATES = (
    "a photo of a {color} {name}",
    "a photo of a {color}-colored {name}",
    "a photo of a {color} object",
)
#: What hides everything that is not the object.
BACKGROUND = "#999"
_BATCH = 16


class ClipColors:
    """Colours of detected objects.

    Args:
        weights: checkpoint with open_clip's names (:mod:`hypernoise.weights.pinned_files`).
        architecture: name of an open_clip configuration, or one as a mapping.
        device: torch device.

    Raises:
        ValueError, FileNotFoundError: as :meth:`hypernoise.weights.pinned_files.PinnedFile.check`.
    """

    def __init__(
        self,
        weights: str,
        architecture: str | Mapping[str, Any] = ARCHITECTURE,
        device: str = "cpu",
    ) -> None:
        PinnedFile.parse(weights).check()
        self._weights = weights
        self._architecture = architecture
        self._device = device
        self._classifiers: dict[str, Tensor] = {}

    def classify(
        self, image: Image.Image, name: str, found: Instances, rows: Sequence[int]
    ) -> list[str]:
        """One of GenEval's colours for each of some detections of one class.

        Args:
            image: RGB, the size of the masks.
            name: the class.
            found: what was detected in the image.
            rows: which of ``found``.
        """
        if name not in self._classifiers:
            self._classifiers[name] = self._classifier(name)
        crops = [cut_out(image, found.masks[row], found.boxes[row]) for row in rows]
        labels: list[str] = []
        for start in range(0, len(crops), _BATCH):
            features = self._encode_images(crops[start : start + _BATCH])
            best = (features @ self._classifiers[name].T).argmax(dim=1)
            labels += [COLORS[index] for index in best.tolist()]
        return labels

    @cached_property
    def _clip(self) -> OpenClip:
        # Most prompts ask for no colour: the model is loaded when one does.
        return OpenClip(self._weights, self._architecture, device=self._device)

    @torch.no_grad()
    def _classifier(self, name: str) -> Tensor:
        texts = [t.format(color=color, name=name) for color in COLORS for t in TEMPLATES]
        features = self._clip.texts(texts)
        return functional.normalize(
            features.view(len(COLORS), len(TEMPLATES), -1).mean(dim=1), dim=-1
        )

    @torch.no_grad()
    def _encode_images(self, crops: Sequence[Image.Image]) -> Tensor:
        pixels = Preprocessing(self._clip.size_px).from_pil(crops)
        return self._clip.images(pixels.to(self._device))


def cut_out(image: Image.Image, mask: Tensor, box: Tensor) -> Image.Image:
    """An object on grey, cropped to its box.

    Args:
        image: RGB.
        mask: [H, W] bool.
        box: [4] of (x_min, y_min, x_max, y_max) in pixels.
    """
    image = image.convert("RGB")
    grey = Image.new("RGB", image.size, BACKGROUND)
    x0, y0, x1, y1 = box.tolist()
    return Image.composite(image, grey, Image.fromarray(mask.numpy())).crop((x0, y0, x1, y1))
