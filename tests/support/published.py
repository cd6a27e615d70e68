"""The published components, as their .smk files declare them, and small ones of their kind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from paths import REPOSITORY

from harness.base.import_strings import resolve
from harness.experiment.components import ModelSpec, Registry
from hypernoise.models.loading import freeze
from hypernoise.models.protocol import Generator
from hypernoise.models.random_weights import build, parts_of

MODELS = REPOSITORY / "workflows" / "models"

_CLIP = {
    "vocab_size": 400,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
_T5 = {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
_WORDS = {"vocab_size": 400}
_QWEN = {
    "vocab_size": 400,
    "hidden_size": 16,
    "intermediate_size": 32,
    # The last of the hidden states that FLUX.2-klein reads is the 27th.
    "num_hidden_layers": 28,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
_VAE = {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4}
_SANA: dict[str, Any] = {
    "transformer": {
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_cross_attention_heads": 2,
        "cross_attention_head_dim": 8,
        "cross_attention_dim": 16,
        "caption_channels": 16,
    },
    "vae": {
        "attention_head_dim": 4,
        **{f"{half}_block_out_channels": [4, 4, 8, 8, 8, 32] for half in ("encoder", "decoder")},
        **{f"{half}_layers_per_block": [1] * 6 for half in ("encoder", "decoder")},
    },
    "text_encoder": {
        "vocab_size": 400,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    },
    "tokenizer": _WORDS,
}
_SDXL: dict[str, Any] = {
    "unet": {
        "block_out_channels": [8, 16, 16],
        "attention_head_dim": [1, 2, 2],
        "transformer_layers_per_block": [1, 1, 1],
        "cross_attention_dim": 32,
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + 16,
        "norm_num_groups": 4,
        "layers_per_block": 1,
    },
    "vae": _VAE,
    "text_encoder": _CLIP,
    "tokenizer": _WORDS,
    "text_encoder_2": _CLIP,
    "tokenizer_2": _WORDS,
}
_SD3: dict[str, Any] = {
    "transformer": {
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "joint_attention_dim": 32,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 32,
        "pos_embed_max_size": 64,
        "sample_size": 64,
    },
    "vae": _VAE,
    **dict.fromkeys(("text_encoder", "text_encoder_2"), _CLIP),
    "text_encoder_3": {**_T5, "d_model": 32},
    **dict.fromkeys(("tokenizer", "tokenizer_2", "tokenizer_3"), _WORDS),
}
#: What is smaller than published: widths and depths, never the kind of a block.
SMALL: dict[str, dict[str, Any]] = {
    "sd_turbo": {
        "unet": {
            "block_out_channels": [8, 16, 16, 16],
            "attention_head_dim": [1, 2, 2, 2],
            "cross_attention_dim": 16,
            "norm_num_groups": 4,
            "layers_per_block": 1,
        },
        "vae": _VAE,
        "text_encoder": _CLIP,
        "tokenizer": _WORDS,
    },
    "sana_sprint_0.6b": _SANA,
    "sana_sprint_1.6b": _SANA,
    "flux_schnell": {
        "transformer": {
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 16,
            "pooled_projection_dim": 16,
            "axes_dims_rope": [2, 2, 4],
        },
        "vae": _VAE,
        "text_encoder": _CLIP,
        "tokenizer": _WORDS,
        "text_encoder_2": _T5,
        "tokenizer_2": _WORDS,
    },
    "sd3.5_large_turbo": _SD3,
    # The first of the blocks has the second attention of the medium model.
    "sd3.5_medium_turbo": {
        **_SD3,
        "transformer": {**_SD3["transformer"], "dual_attention_layers": [0]},
    },
    "flux2_klein_4b": {
        "transformer": {
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 3 * 16,
            "axes_dims_rope": [2, 2, 2, 2],
        },
        "vae": _VAE,
        "text_encoder": _QWEN,
        "tokenizer": _WORDS,
    },
    "z_image_turbo": {
        "transformer": {
            "dim": 16,
            "n_layers": 1,
            "n_refiner_layers": 1,
            "n_heads": 2,
            "n_kv_heads": 2,
            "cap_feat_dim": 16,
            "axes_dims": [4, 2, 2],
        },
        "vae": _VAE,
        "text_encoder": {**_QWEN, "num_hidden_layers": 2},
        "tokenizer": _WORDS,
    },
    "qwen_image": {
        "transformer": {
            "num_layers": 1,
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "joint_attention_dim": 16,
            "axes_dims_rope": [4, 2, 2],
        },
        "vae": {"base_dim": 4, "num_res_blocks": 1},
        "text_encoder": {
            "text_config": {
                **_QWEN,
                "num_hidden_layers": 2,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1e6,
                    "mrope_section": [2, 1, 1],
                },
            },
            "vision_config": {
                "depth": 1,
                "hidden_size": 8,
                "out_hidden_size": 16,
                "intermediate_size": 8,
                "num_heads": 1,
            },
        },
        "tokenizer": _WORDS,
    },
    **dict.fromkeys(("sdxl_base", "sdxl_turbo"), _SDXL),
    "pixart_alpha_dmd": {
        "transformer": {
            "num_layers": 2,
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "cross_attention_dim": 16,
            "caption_channels": 16,
        },
        "vae": _VAE,
        "text_encoder": _T5,
        "tokenizer": _WORDS,
    },
}
SIZE_PX = 64


def registered(folder: Path = MODELS) -> Registry:
    """Every model that a file in ``workflows/models``, or in another folder, declares."""
    registry = Registry()
    for path in sorted(folder.glob("*.smk")):
        file = str(path.relative_to(REPOSITORY))

        def add_model(name: str, file: str = file, **keywords: Any) -> None:
            registry.add_model(name, file=file, **keywords)

        exec(compile(path.read_text(encoding="utf-8"), file, "exec"), {"add_model": add_model})
    return registry


def published() -> list[ModelSpec]:
    """The registered models whose weights are in the hub."""
    return [spec for spec in registered().models.values() if spec.revision]


def small_parts(architecture: str) -> dict[str, Any]:
    """An architecture's components with few and narrow layers."""
    parts = copy.deepcopy(parts_of(architecture))
    for name, changes in SMALL[architecture].items():
        parts[name] |= changes
    return parts


def small_generator(spec: ModelSpec, dtype: torch.dtype = torch.float32) -> Generator:
    """A published component with random weights and small networks, its own options otherwise."""
    family = resolve(spec.target)
    parts = small_parts(spec.architecture)
    pipeline = freeze(build(family.pipeline_class, parts, dtype, "cpu"))
    arguments = {k: v for k, v in spec.arguments.items() if k not in ("dtype", "vae_savings")}
    generator: Generator = family(pipeline=pipeline, size_px=SIZE_PX, **arguments)
    return generator
