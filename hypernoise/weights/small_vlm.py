"""Vision-language models with random weights, in files that transformers' auto classes read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from hypernoise.weights.stand_ins import byte_tokenizer, spread

_IMAGE = "<image>"
_CHAT = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}ASSISTANT:"
)
_IMAGE_PX, _PATCH_PX = 32, 16
_NARROW: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
}
#: Qwen's own tokens of pictures: our name -> as its vocabulary spells it.
_QWEN = {
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
}
_QWEN_TURN = ("<|im_start|>", "<|im_end|>")
_QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
_QWEN_PATCH_PX = 14
_QWEN_VISION: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 32,
    "patch_size": _QWEN_PATCH_PX,
}


def lay_small(folder: Path, model_type: str = "") -> None:
    """Save a model of two layers that spells every word in bytes, with its processor.

    Args:
        folder: where to.
        model_type: transformers' name of the family; LLaVA's for one that is not known here.
    """
    network, processor = FAMILIES.get(model_type, _llava)()
    spread(network)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)


def _llava() -> tuple[Any, Any]:
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
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=_IMAGE_PX, patch_size=_PATCH_PX, **_NARROW),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **_NARROW
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
        vision_feature_layer=-1,
    )
    return LlavaForConditionalGeneration(config), processor


def _qwen2() -> tuple[Any, Any]:
    tokenizer, shared = _qwen()
    # This one says otherwise what the others call hidden_size and out_hidden_size.
    vision = {name: _QWEN_VISION[name] for name in ("depth", "num_heads", "patch_size")}
    made: Any = Qwen2VLConfig
    network = Qwen2VLForConditionalGeneration(
        made(vision_config={**vision, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}, **shared)
    )
    return network, _qwen_reader(Qwen2VLProcessor, tokenizer, Qwen2VLVideoProcessor())


def _qwen2_5() -> tuple[Any, Any]:
    tokenizer, shared = _qwen()
    vision = {**_QWEN_VISION, "fullatt_block_indexes": [1], "window_size": 4 * _QWEN_PATCH_PX}
    made: Any = Qwen2_5_VLConfig
    network = Qwen2_5_VLForConditionalGeneration(made(vision_config=vision, **shared))
    return network, _qwen_reader(Qwen2_5_VLProcessor, tokenizer, Qwen2VLVideoProcessor())


def _qwen3() -> tuple[Any, Any]:
    tokenizer, shared = _qwen()
    vision = {**_QWEN_VISION, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    made: Any = Qwen3VLConfig
    shared["text_config"] = {**shared["text_config"], "head_dim": 16}
    network = Qwen3VLForConditionalGeneration(made(vision_config=vision, **shared))
    return network, _qwen_reader(Qwen3VLProcessor, tokenizer, Qwen3VLVideoProcessor())


def _qwen() -> tuple[Any, dict[str, Any]]:
    """A tokenizer, and what configs of both of its models say."""
    tokenizer = byte_tokenizer(*_QWEN_TURN, *_QWEN.values())
    ids = {f"{n}_token_id": tokenizer.convert_tokens_to_ids(t) for n, t in _QWEN.items()}
    rotary = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e4}
    text = {
        **_NARROW,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer),
        "rope_parameters": rotary,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return tokenizer, {"text_config": text, **ids}


def _qwen_reader(made: Any, tokenizer: Any, videos: Any) -> Any:
    for name, token in _QWEN.items():
        setattr(tokenizer, f"{name}_token", token)
    # At most four merged patches an image.
    least = (2 * _QWEN_PATCH_PX) ** 2
    images = Qwen2VLImageProcessor(
        min_pixels=least, max_pixels=4 * least, patch_size=_QWEN_PATCH_PX, merge_size=2
    )
    return made(images, tokenizer, videos, chat_template=_QWEN_CHAT)


#: transformers' name of a family -> what makes a small model of it and its processor.
FAMILIES: Mapping[str, Callable[[], tuple[Any, Any]]] = {
    "llava": _llava,
    "qwen2_vl": _qwen2,
    "qwen2_5_vl": _qwen2_5,
    "qwen3_vl": _qwen3,
}
