"""Small configurations of the originals' own classes, and a small vocabulary for BERT.

The image size is the published one, so that preprocessing is compared as it is.
"""

from __future__ import annotations

import string
from typing import Any

from parity.pairs import LONG

#: ``med_config.json`` of the published ImageReward.
MED_CONFIG: dict[str, Any] = {
    "add_cross_attention": True,
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30524,
}

#: Of open_clip: HPSv2, CLIPScore, and with the quick GELU LAION's aesthetic predictor.
OPEN_CLIP: dict[str, Any] = {
    "embed_dim": 48,
    "vision_cfg": {
        "image_size": 224,
        "layers": 3,
        "width": 64,
        "head_width": 16,
        "patch_size": 32,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}
#: OpenAI's heads are 64 wide, and there is no saying otherwise.
OPEN_CLIP_QUICK: dict[str, Any] = {
    **OPEN_CLIP,
    "quick_gelu": True,
    "vision_cfg": {**OPEN_CLIP["vision_cfg"], "width": 128, "head_width": 64},
}

#: Of transformers' CLIPModel: PickScore.
CLIP: dict[str, Any] = {
    "projection_dim": 48,
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
    },
    "vision_config": {
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "patch_size": 32,
        "hidden_act": "gelu",
    },
}

#: Of BLIP's image encoder and BERT: ImageReward.
VISION: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def bert_vocabulary() -> list[str]:
    """The lines of a ``vocab.txt``: special words, signs, and some of the prompts' words."""
    words = sorted(set(LONG.lower().replace(",", " ").split()))
    signs = [*string.ascii_lowercase, *string.digits, *string.punctuation, "—", "一", "杯", "咖"]
    pieces = [f"##{sign}" for sign in string.ascii_lowercase + string.digits]
    longer = [word for word in words if len(word) > 1]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *pieces, *longer]


def bert() -> dict[str, Any]:
    """Of BERT in ImageReward; two words more than the vocabulary are the original's own."""
    return {
        "vocab_size": len(bert_vocabulary()) + 2,
        "hidden_size": 48,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
