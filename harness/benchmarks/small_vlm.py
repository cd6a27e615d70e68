"""A vision-language model with random weights, in files that transformers' auto classes read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from hypernoise.weights.stand_ins import byte_tokenizer, spread

_IMAGE = "<image>"
_CHAT = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}ASSISTANT:"
)
_IMAGE_PX, _PATCH_PX = 32, 16


def lay_small(folder: Path) -> None:
    """Save a LLaVA of two layers that spells every word in bytes, with its processor."""
    tokenizer = byte_tokenizer(_IMAGE)
    images: Any = CLIPImageProcessor(
        size={"shortest_edge": _IMAGE_PX}, crop_size={"height": _IMAGE_PX, "width": _IMAGE_PX}
    )
    made: Any = LlavaProcessor
    processor = made(
        images,
        tokenizer,
        patch_size=_PATCH_PX,
        vision_feature_select_strategy="default",
        image_token=_IMAGE,
        num_additional_image_tokens=1,
        chat_template=_CHAT,
    )
    narrow: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=_IMAGE_PX, patch_size=_PATCH_PX, **narrow),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **narrow
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
        vision_feature_layer=-1,
    )
    network: Any = spread(LlavaForConditionalGeneration(config))
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
