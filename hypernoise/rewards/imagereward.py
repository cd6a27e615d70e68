"""ImageReward: BLIP reads the prompt while it looks at the image; a linear head makes a score.

Source: ImageReward, arXiv 2304.05977; package image-reward 1.5. Its BLIP (ViT-L/16 and a BERT
with cross-attention) is transformers' with other names.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import BertTokenizer, BlipTextConfig, BlipTextModel, BlipVisionConfig
from transformers import BlipVisionModel as VisionModel

from hypernoise.prompt_lengths import Lengths, cut_lengths
from hypernoise.rewards.heads import linear_head
from hypernoise.rewards.preprocessing import Preprocessing
from hypernoise.rewards.protocol import Features
from hypernoise.weights.pinned_files import PinnedFile, fill, init_empty_weights, read
from hypernoise.weights.stand_ins import Shelf, spread

#: The original's own constants, by which scores are standardised.
MEAN = 0.16717362830052426
STD = 1.0333394966054072
MAX_TOKENS = 35
#: ViT-L/16 as timm builds it.
VISION: Mapping[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 16,
    "layer_norm_eps": 1e-6,
}
#: ``med_config.json`` of the published checkpoint.
TEXT: Mapping[str, Any] = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "layer_norm_eps": 1e-12,
}

#: Changes to both for a stand-in.
SMALL_VISION: Mapping[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
}
SMALL_TEXT: Mapping[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}

#: Published name -> ours, applied in turn.
_RENAMED = (
    (r"^blip\.text_encoder\.", "text."),
    (r"^blip\.visual_encoder\.cls_token$", "vision.embeddings.class_embedding"),
    (r"^blip\.visual_encoder\.pos_embed$", "vision.embeddings.position_embedding"),
    (r"^blip\.visual_encoder\.patch_embed\.proj\.", "vision.embeddings.patch_embedding."),
    (r"^blip\.visual_encoder\.norm\.", "vision.post_layernorm."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.", r"vision.encoder.layers.\1."),
    (r"^(vision\..*)\.attn\.qkv\.", r"\1.self_attn.qkv."),
    (r"^(vision\..*)\.attn\.proj\.", r"\1.self_attn.projection."),
    (r"^(vision\..*)\.norm([12])\.", r"\1.layer_norm\2."),
    (r"^mlp\.layers\.", "head."),
)
#: The way back, which a stand-in takes.
_PUBLISHED = (
    (r"^text\.", "blip.text_encoder."),
    (r"\.self_attn\.qkv\.", ".attn.qkv."),
    (r"^(vision\..*)\.self_attn\.projection\.", r"\1.attn.proj."),
    (r"^(vision\..*)\.layer_norm([12])\.", r"\1.norm\2."),
    (r"^vision\.encoder\.layers\.", "blip.visual_encoder.blocks."),
    (r"^vision\.embeddings\.class_embedding$", "blip.visual_encoder.cls_token"),
    (r"^vision\.embeddings\.position_embedding$", "blip.visual_encoder.pos_embed"),
    (r"^vision\.embeddings\.patch_embedding\.", "blip.visual_encoder.patch_embed.proj."),
    (r"^vision\.post_layernorm\.", "blip.visual_encoder.norm."),
    (r"^head\.", "mlp.layers."),
)
#: Parts of BLIP's pretraining, and positions' numbers, that no score depends on.
_UNUSED = re.compile(r"^blip\.(vision_proj|text_proj)\.|\.position_ids$")


class ImageReward:
    """Standardised human preference: around 0, mostly within 2 of it.

    The text encoder attends to the image from its first layer on, so ``encode`` can only tokenise;
    every score is a pass of both encoders.

    Args:
        weights: checkpoint with the names of image-reward 1.5
        (:mod:`hypernoise.weights.pinned_files`).
        vocabulary: ``vocab.txt`` of bert-base-uncased, pinned likewise.
        vision: changes to :data:`VISION`, fields of transformers' BlipVisionConfig.
        text: changes to :data:`TEXT`, fields of transformers' BlipTextConfig.
        dtype: dtype of both encoders; the head is float32.
        device: torch device.
        name: what tables and messages call it.
    """

    def __init__(
        self,
        weights: str,
        vocabulary: str,
        vision: Mapping[str, Any] | None = None,
        text: Mapping[str, Any] | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        name: str = "imagereward",
    ) -> None:
        self.name = name
        vocabulary_file = PinnedFile.parse(vocabulary).fetch()
        tensors = read(PinnedFile.parse(weights).fetch())
        vision_config = {**VISION, **(vision or {})}
        with init_empty_weights(include_buffers=False):
            network = _Network(vision_config, {**TEXT, **(text or {})})
        fill(network, renamed(tensors), weights)
        self.network = network.to(device)
        self.network.vision.to(dtype)
        self.network.text.to(dtype)
        self.tokenizer = BertTokenizer(vocab=str(vocabulary_file))
        self.preprocessing = Preprocessing(vision_config["image_size"])

    @classmethod
    def stand_in(cls, shelf: Shelf, *, weights: str, vocabulary: str, **_: Any) -> dict[str, Any]:
        """As :class:`hypernoise.weights.stand_ins.HasStandIn` says, under the published names."""
        words = small_vocabulary()
        text = {**SMALL_TEXT, "vocab_size": len(words) + 2}
        network = spread(_Network({**VISION, **SMALL_VISION}, {**TEXT, **text}))
        return {
            "weights": shelf.file(weights, published_names(network.state_dict())),
            "vocabulary": shelf.file(vocabulary, "\n".join(words).encode()),
            "vision": SMALL_VISION,
            "text": text,
        }

    def encode(self, prompts: Sequence[str]) -> Features:
        """Token ids and mask of prompts, 35 tokens each; what exceeds them is cut off."""
        encoded = self.tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        device = self.network.head[0].weight.device
        tensors = {key: encoded[key].to(device) for key in ("input_ids", "attention_mask")}
        return Features(tensors, tuple(prompts))

    def lengths(self, prompts: Sequence[str]) -> list[Lengths]:
        found = cut_lengths(self.tokenizer, prompts, max_length=MAX_TOKENS)
        return [{"bert": length} for length in found]

    def score(self, images: Tensor, features: Features) -> Tensor:
        return self._score(self.preprocessing.from_tensors(images), features)

    def score_pil(self, images: Sequence[Image.Image], features: Features) -> Tensor:
        """As ``ImageReward.score`` gives for image files: [B]."""
        pixels = self.preprocessing.from_pil(images).to(self.network.head[0].weight.device)
        return self._score(pixels, features)

    def _score(self, pixels: Tensor, features: Features) -> Tensor:
        raw: Tensor = self.network(pixels, **features.tensors)
        return (raw - MEAN) / STD


class _Network(nn.Module):
    def __init__(self, vision: Mapping[str, Any], text: Mapping[str, Any]) -> None:
        super().__init__()
        self.vision: Any = VisionModel(BlipVisionConfig(**vision))
        config = BlipTextConfig(
            **{"encoder_hidden_size": vision["hidden_size"], "is_decoder": True, **text}
        )
        self.text: Any = BlipTextModel(config, add_pooling_layer=False)
        self.head: Any = linear_head(text["hidden_size"])

    def forward(self, pixels: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Raw scores [B] of normalised pixels and tokenised prompts."""
        seen = self.vision(pixels.to(self.vision.dtype)).last_hidden_state
        read_out = self.text(
            input_ids=input_ids, attention_mask=attention_mask, encoder_hidden_states=seen
        ).last_hidden_state
        scores: Tensor = self.head(read_out[:, 0].float()).squeeze(-1)
        return scores


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published names as transformers and this module have them, without what is unused."""
    found = {}
    for name, value in tensors.items():
        if _UNUSED.search(name):
            continue
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def published_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The other way round: our names as the publishers have them."""
    found = {}
    for name, value in tensors.items():
        for pattern, replacement in _PUBLISHED:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def small_vocabulary() -> list[str]:
    """Lines of a ``vocab.txt`` of BERT's that spells every word in letters, but yes and no."""
    signs = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = [f"##{sign}" for sign in string.ascii_lowercase + string.digits]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *pieces, "yes", "no"]
