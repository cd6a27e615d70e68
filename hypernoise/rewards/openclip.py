"""A frozen CLIP of open_clip, shared by the scorers that are one: HPSv2, CLIPScore, aesthetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import open_clip  # type: ignore[import-untyped]
import torch
from torch import Tensor
from torch.nn.functional import normalize

from hypernoise.errors import check_choice
from hypernoise.weights.pinned_files import PinnedFile, fill, init_empty_weights, read

#: In place of a checkpoint.
RANDOM = "random"


class OpenClip:
    """Unit vectors of images and texts.

    Args:
        weights: checkpoint with open_clip's names (:mod:`hypernoise.weights.pinned_files`), or
            ``"random"``: enough to measure time and memory on.
        architecture: name of an open_clip configuration, or one as a mapping.
        dtype: dtype of the networks; vectors are float32 always.
        device: torch device.

    Raises:
        ValueError: no such architecture, or weights that do not fit it.
        FileNotFoundError: the checkpoint is missing.
    """

    def __init__(
        self,
        weights: str,
        architecture: str | Mapping[str, Any],
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        config = configuration(architecture)
        network: Any
        if weights == RANDOM:
            # Seeded, and nobody else's random numbers change; on the device, where that is quick.
            target = torch.device(device)
            with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []), target:
                torch.manual_seed(0)
                network = open_clip.CLIP(**config).requires_grad_(False).eval()
        else:
            tensors = read(PinnedFile.parse(weights).fetch())
            with init_empty_weights(include_buffers=False):
                network = open_clip.CLIP(**config)
            fill(network, tensors, weights)
        self.network = network.to(device=device, dtype=dtype)
        self.tokenizer = open_clip.SimpleTokenizer(context_length=network.context_length)
        self.size_px: int = config["vision_cfg"]["image_size"]

    @cached_property
    def scale(self) -> float:
        """What CLIP multiplies cosines with; asked for late, as networks on meta have no values."""
        return float(self.network.logit_scale.exp())

    @property
    def device(self) -> torch.device:
        device: torch.device = self.network.token_embedding.weight.device
        return device

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors [B, D] of prompts; what exceeds the context is cut off."""
        tokens = self.tokenizer(list(prompts)).to(self.device)
        return normalize(self.network.encode_text(tokens).float(), dim=-1)

    def images(self, pixels: Tensor) -> Tensor:
        """Unit vectors [B, D] of normalised pixels [B, 3, size_px, size_px]."""
        dtype = self.network.token_embedding.weight.dtype
        return normalize(self.network.encode_image(pixels.to(dtype)).float(), dim=-1)


def configuration(architecture: str | Mapping[str, Any]) -> dict[str, Any]:
    """The constructor arguments of an architecture that open_clip has by name, or as given."""
    if not isinstance(architecture, str):
        return dict(architecture)
    check_choice("open_clip architecture", architecture, open_clip.list_models())
    return dict(open_clip.get_model_config(architecture))
