"""GenEval's colour classifier: CLIP ViT-L/14 on objects that are cut out and laid on grey."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from harness.benchmarks.geneval import COLORS
from harness.benchmarks.mask2former import Instances

#: OpenAI's weights were trained with this activation; the plain variant only warns.
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
        weights: an open_clip tag such as ``"openai"``, or a checkpoint file.
        architecture: open_clip's name of the model.
        device: torch device.

    Raises:
        FileNotFoundError: ``weights`` looks like a file and is none.
    """

    def __init__(
        self, weights: str = "openai", architecture: str = ARCHITECTURE, device: str = "cpu"
    ) -> None:
        if Path(weights).suffix and not Path(weights).is_file():
            raise FileNotFoundError(f"CLIP weights {weights} are missing")
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
    def _clip(self) -> tuple[Any, Any, Any]:
        # Most prompts ask for no colour: the model is loaded when one does.
        import open_clip  # type: ignore[import-untyped]

        model, _, transform = open_clip.create_model_and_transforms(
            self._architecture, pretrained=self._weights, device=self._device, weights_only=True
        )
        model.requires_grad_(False).eval()
        return model, transform, open_clip.get_tokenizer(self._architecture)

    @torch.no_grad()
    def _classifier(self, name: str) -> Tensor:
        model, _, tokenizer = self._clip
        texts = [t.format(color=color, name=name) for color in COLORS for t in TEMPLATES]
        features = functional.normalize(
            model.encode_text(tokenizer(texts).to(self._device)), dim=-1
        )
        return functional.normalize(
            features.view(len(COLORS), len(TEMPLATES), -1).mean(dim=1), dim=-1
        )

    @torch.no_grad()
    def _encode_images(self, crops: Sequence[Image.Image]) -> Tensor:
        model, transform, _ = self._clip
        pixels = torch.stack([transform(crop) for crop in crops]).to(self._device)
        return functional.normalize(model.encode_image(pixels), dim=-1)


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
