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
from hypernoise.prompt_lengths import Length, Lengths
from hypernoise.weights.pinned_files import PinnedFile, fill, init_empty_weights, read
from hypernoise.weights.stand_ins import Shelf

#: In place of a checkpoint.
RANDOM = "random"
#: A stand-in's constructor arguments, with the real vocabulary and length of texts.
_SMALL: Mapping[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 64,
        "head_width": 64,
        "patch_size": 16,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}


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

    def lengths(self, prompts: Sequence[str]) -> list[Lengths]:
        """How long prompts are to CLIP's text encoder, and how much of them it reads."""
        return clip_lengths(self.tokenizer, prompts)

    def images(self, pixels: Tensor) -> Tensor:
        """Unit vectors [B, D] of normalised pixels [B, 3, size_px, size_px]."""
        dtype = self.network.token_embedding.weight.dtype
        return normalize(self.network.encode_image(pixels.to(dtype)).float(), dim=-1)


def clip_lengths(tokenizer: Any, prompts: Sequence[str]) -> list[Lengths]:
    """As :class:`hypernoise.rewards.protocol.KnowsLengths` says, of open_clip's tokenizer."""
    # The start and the end of the text are no part of what it encodes.
    tokens = [len(tokenizer.encode(prompt)) + 2 for prompt in prompts]
    return [{"clip": Length(n, tokenizer.context_length)} for n in tokens]


def small_clip(
    kind: Any, /, shelf: Shelf, *, weights: str, architecture: str | Mapping[str, Any], **_: Any
) -> dict[str, Any]:
    """A small CLIP on a shelf, as :class:`hypernoise.weights.stand_ins.HasStandIn` says; of random
    weights the architecture alone."""
    # OpenAI's activation goes with the name, and has to be told of a mapping.
    small = {**_SMALL, "quick_gelu": "quickgelu" in str(architecture)}
    if weights == RANDOM:
        return {"architecture": small}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = open_clip.CLIP(**small)
    return {"architecture": small, "weights": shelf.file(weights, network.state_dict())}


def configuration(architecture: str | Mapping[str, Any]) -> dict[str, Any]:
    """The constructor arguments of an architecture that open_clip has by name, or as given."""
    if not isinstance(architecture, str):
        return dict(architecture)
    check_choice("open_clip architecture", architecture, open_clip.list_models())
    return dict(open_clip.get_model_config(architecture))
