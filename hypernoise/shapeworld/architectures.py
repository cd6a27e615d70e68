"""Untrained pipelines of the embedded world: the published classes, small.

Every function returns a stock diffusers pipeline with random weights, in float32 on the CPU,
its tokenizers and text encoders included. Sizes are chosen so that a trained folder stays
below 6 MB in half precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from string import ascii_lowercase
from typing import Any

from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from hypernoise.shapeworld.captions import vocabulary

MAX_TOKENS = 16
WIDTH = 128


def sd_turbo() -> StableDiffusionPipeline:
    """The SD-Turbo family: a UNet on 4x8x8 latents, CLIP text, Euler scheduler.

    The Euler scheduler reads the network's output as the clean sample: with epsilon prediction a
    one-step image is sigma * (z - epsilon) with sigma about 14.6, and a network this small cannot
    pay for every error being multiplied by that. The prompt also enters as one pooled vector
    (``addition_embed_type="text"``), because cross-attention alone is ignored for very long.
    """
    tokenizer = clip_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(56, 80),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        use_linear_projection=True,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="text_proj",
    )
    vae = AutoencoderKL(
        **_kl_blocks((16, 32, 40)), latent_channels=4, sample_size=32, scaling_factor=1.0
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="sample",
        steps_offset=1,
        timestep_spacing="trailing",
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=clip_text_model(tokenizer, WIDTH, n_layers=2),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sana_sprint() -> SanaSprintPipeline:
    """The SANA-Sprint family: linear attention on 4x8x8 latents, Gemma text, TrigFlow.

    With sine position embeddings, as the published 2K and 4K models of the class have: without
    them this small network never learned which side of an object is its left.
    """
    tokenizer = gemma_tokenizer()
    transformer = SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=5,
        attention_head_dim=32,
        num_layers=6,
        num_cross_attention_heads=5,
        cross_attention_head_dim=32,
        cross_attention_dim=160,
        caption_channels=WIDTH,
        mlp_ratio=2.0,
        sample_size=8,
        patch_size=1,
        interpolation_scale=1.0,
        guidance_embeds=True,
        guidance_embeds_scale=0.1,
        qk_norm="rms_norm_across_heads",
        timestep_scale=1.0,
    )
    blocks: dict[str, Any] = {
        f"{half}_{name}": value
        for half in ("encoder", "decoder")
        for name, value in (("block_out_channels", (16, 32, 32)), ("block_types", "ResBlock"))
    }
    vae = AutoencoderDC(
        **blocks,
        latent_channels=4,
        encoder_layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1),
        encoder_qkv_multiscales=((), (), ()),
        decoder_qkv_multiscales=((), (), ()),
        downsample_block_type="Conv",
        upsample_block_type="interpolate",
        scaling_factor=1.0,
    )
    text_encoder = Gemma2Model(
        Gemma2Config(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            query_pre_attn_scalar=32,
            max_position_embeddings=64,
            sliding_window=64,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            attn_implementation="eager",  # type: ignore[call-arg]
        )
    )
    return SanaSprintPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=SCMScheduler(),
    )


def flux_schnell() -> FluxPipeline:
    """The FLUX family: joint attention on 64 packed tokens of 4x16x16 latents, CLIP and T5 text."""
    tokenizer = clip_tokenizer()
    tokenizer_2 = t5_tokenizer()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=64,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )
    vae = AutoencoderKL(
        **_kl_blocks((24, 32)),
        latent_channels=4,
        sample_size=32,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    text_encoder_2 = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer_2),
            d_model=WIDTH,
            d_kv=32,
            d_ff=256,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            relative_attention_num_buckets=16,
            relative_attention_max_distance=16,
            dropout_rate=0.0,
        )
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False),
        vae=vae,
        text_encoder=clip_text_model(tokenizer, 64, n_layers=1),
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )


#: Every family of the embedded world by the name of its weights folder.
BUILDERS: dict[str, Callable[[], Any]] = {
    "tiny_sd": sd_turbo,
    "tiny_sana": sana_sprint,
    "tiny_flux": flux_schnell,
}


def _kl_blocks(channels: tuple[int, ...]) -> dict[str, Any]:
    return {
        "block_out_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
    }


def clip_text_model(tokenizer: CLIPTokenizer, width: int, n_layers: int) -> CLIPTextModel:
    """A small CLIP text encoder that pools at the end-of-text token."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=n_layers,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=width,
            # 2 would select transformers' legacy pooling at the largest token id.
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer with one token for every word of the captions."""
    words = sorted(vocabulary(), key=lambda word: (-len(word), word))
    merges = _unique(
        (word[:cut], word[cut] + ("</w>" if cut == len(word) - 1 else ""))
        for word in words
        for cut in range(1, len(word))
    )
    tokens = _unique(
        ["<|startoftext|>", "!", ",", "<|endoftext|>", *ascii_lowercase]
        + [letter + "</w>" for letter in ascii_lowercase]
        + [left + right for left, right in merges]
    )
    return CLIPTokenizer(vocab=_numbered(tokens), merges=merges, model_max_length=MAX_TOKENS)


def gemma_tokenizer() -> GemmaTokenizer:
    """Gemma's byte-pair tokenizer with one token for every word of the captions."""
    words = ["▁" + word for word in vocabulary()]
    merges = _unique((word[:cut], word[cut]) for word in words for cut in range(1, len(word)))
    tokens = _unique(
        ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *ascii_lowercase]
        + [left + right for left, right in merges]
    )
    return GemmaTokenizer(vocab=_numbered(tokens), merges=merges, model_max_length=MAX_TOKENS)


def t5_tokenizer() -> T5Tokenizer:
    """T5's unigram tokenizer with one token for every word of the captions."""
    scored = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    scored += [("▁" + word, -1.0) for word in vocabulary()]
    known = {token for token, _ in scored}
    scored += [(letter, -10.0) for letter in ("▁", *ascii_lowercase) if letter not in known]
    return T5Tokenizer(vocab=scored, extra_ids=0, model_max_length=MAX_TOKENS)


def _unique(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}
