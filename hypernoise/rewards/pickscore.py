"""PickScore: preferences of Pick-a-Pic as the scaled cosine of a fine-tuned CLIP ViT-H/14.

Source: Pick-a-Pic, arXiv 2305.01569; weights yuvalkirstain/PickScore_v1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import open_clip  # type: ignore[import-untyped]
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPConfig, CLIPModel

from hypernoise.prompt_lengths import Lengths
from hypernoise.rewards.openclip import clip_lengths
from hypernoise.rewards.preprocessing import Preprocessing
from hypernoise.rewards.protocol import Features
from hypernoise.weights.pinned_files import PinnedFile, fill, init_empty_weights, read
from hypernoise.weights.stand_ins import Shelf

#: ``config.json`` of PickScore_v1, where it departs from transformers' defaults.
VIT_H_14: Mapping[str, Any] = {
    "projection_dim": 1024,
    "text_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "hidden_act": "gelu",
    },
    "vision_config": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_attention_heads": 16,
        "num_hidden_layers": 32,
        "patch_size": 14,
        "hidden_act": "gelu",
    },
}
#: A stand-in's.
_SMALL: Mapping[str, Any] = {
    "projection_dim": 32,
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
    },
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "image_size": 32,
        "patch_size": 16,
        "hidden_act": "gelu",
    },
}


class PickScore:
    """Cosine of image and prompt times the checkpoint's logit scale.

    Args:
        weights: checkpoint with the names of transformers' CLIPModel.
        architecture: fields of transformers' CLIPConfig.
        dtype: dtype of the network.
        device: torch device.
        name: what tables and messages call it.
    """

    def __init__(
        self,
        weights: str,
        architecture: Mapping[str, Any] = VIT_H_14,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "pickscore",
    ) -> None:
        self.name = name
        config: Any = CLIPConfig(**architecture)
        saved = read(PinnedFile.parse(weights).fetch())
        # Older versions of transformers saved the positions' numbers with the weights.
        tensors = {name: v for name, v in saved.items() if not name.endswith(".position_ids")}
        with init_empty_weights(include_buffers=False):
            network: Any = CLIPModel(config)
        fill(network, tensors, weights)
        self.network = network.to(device=device, dtype=dtype)
        # CLIP's one vocabulary comes with open_clip; transformers would download it.
        length = config.text_config.max_position_embeddings
        self.tokenizer = open_clip.SimpleTokenizer(context_length=length)
        self.scale = float(network.logit_scale.exp())
        size_px = config.vision_config.image_size
        self.preprocessing = Preprocessing(size_px, resizes="rgb", offset="down")

    @classmethod
    def stand_in(cls, shelf: Shelf, *, weights: str, **_: Any) -> dict[str, Any]:
        """As :class:`hypernoise.weights.stand_ins.HasStandIn` says."""
        config: Any = CLIPConfig(**_SMALL)
        network = CLIPModel(config)
        return {"architecture": _SMALL, "weights": shelf.file(weights, network.state_dict())}

    def encode(self, prompts: Sequence[str]) -> Features:
        tokens = self.tokenizer(list(prompts)).to(self.network.device)
        vectors = self.network.get_text_features(input_ids=tokens).pooler_output
        return Features({"text": normalize(vectors.float(), dim=-1)}, tuple(prompts))

    def lengths(self, prompts: Sequence[str]) -> list[Lengths]:
        return clip_lengths(self.tokenizer, prompts)

    def score(self, images: Tensor, features: Features) -> Tensor:
        return self._score(self.preprocessing.from_tensors(images), features)

    def score_pil(self, images: Sequence[Image.Image], features: Features) -> Tensor:
        """As transformers' processor and model give for PIL images: [B]."""
        return self._score(self.preprocessing.from_pil(images).to(self.network.device), features)

    def _score(self, pixels: Tensor, features: Features) -> Tensor:
        vectors = self.network.get_image_features(pixels.to(self.network.dtype)).pooler_output
        cosines = (normalize(vectors.float(), dim=-1) * features.tensors["text"]).sum(dim=-1)
        return self.scale * cosines
