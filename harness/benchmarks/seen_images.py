"""Images as a vision-language model of transformers has encoded them, for several questions each.

An image's encoding does not depend on what is asked about it, unless a Q-Former reads the question
while it looks. transformers' models take encodings in place of pixels (``mm_encoder_outputs``).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: What a processor calls the pixels, and a model the encodings that stand for them.
PIXELS, ENCODINGS = "pixel_values", "mm_encoder_outputs"
_POOLED, _DEEP = "pooler_output", "deepstack_features"


@dataclass(frozen=True)
class SeenImages:
    """Encodings of images of one size.

    Attributes:
        kind: class of the encoder's output.
        is_stacked: whether that output holds one tensor rather than one per row.
        share: rows of an image, as many as it has tiles.
        pooled: rows of all images, image by image.
        deep: such rows of the encoder's inner layers, if the model takes those too.
    """

    kind: type
    is_stacked: bool
    share: int
    pooled: list[Tensor]
    deep: list[list[Tensor]]

    def of(self, images: Sequence[int]) -> dict[str, Any]:
        """A model's argument :data:`ENCODINGS` for images by their numbers, which may repeat."""
        rows = [image * self.share + tile for image in images for tile in range(self.share)]
        pooled = [self.pooled[row] for row in rows]
        fields: dict[str, Any] = {_POOLED: torch.stack(pooled) if self.is_stacked else pooled}
        if self.deep:
            fields[_DEEP] = [[layer[row] for row in rows] for layer in self.deep]
        return {"image": self.kind(**fields)}


def can_reuse(network: Any) -> bool:
    """Whether a model takes an image's encoding in place of its pixels, whatever is asked."""
    encode = getattr(network.base_model, "get_image_features", None)
    return (
        encode is not None
        and not hasattr(network.base_model, "qformer")
        and PIXELS in inspect.signature(encode).parameters
        and ENCODINGS in inspect.signature(network.forward).parameters
    )


def encoded(network: Any, inputs: Mapping[str, Any]) -> Any:
    """The image encoder's output for what a processor made of chats with one image each."""
    encode = network.base_model.get_image_features
    taken = [name for name in inspect.signature(encode).parameters if name in inputs]
    return encode(**{name: inputs[name] for name in taken}, return_dict=True)


def gathered(outputs: Sequence[Any], n: int) -> SeenImages | None:
    """The encodings of ``n`` images from the encoder's outputs for their batches.

    None where an output does not part into images, so that a model has to encode them itself.
    """
    first = outputs[0]
    pooled = [row for output in outputs for row in output[_POOLED]]
    layers = range(len(first.get(_DEEP) or ()))
    deep = [[row for output in outputs for row in output[_DEEP][layer]] for layer in layers]
    share, rest = divmod(len(pooled), n)
    uneven = rest or any(len(layer) != len(pooled) for layer in deep)
    if uneven or not all(isinstance(row, Tensor) for rows in (pooled, *deep) for row in rows):
        return None
    return SeenImages(type(first), isinstance(first[_POOLED], Tensor), share, pooled, deep)
