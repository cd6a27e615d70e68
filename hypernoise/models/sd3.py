"""SD3.5-Turbo: joint attention over a latent grid in a stock ``StableDiffusion3Pipeline``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from diffusers import StableDiffusion3Pipeline
from torch import Tensor

from hypernoise.models.loading import Loading, load_pipeline
from hypernoise.models.protocol import (
    Conditioning,
    Seeds,
    Walk,
    check_steps,
    latent_side,
    stock_call,
)
from hypernoise.models.stand_ins import small_pipeline


class Sd3Turbo:
    """A few-step Stable Diffusion 3 or 3.5, without guidance.

    Args:
        size_px: image size.
        max_tokens: length of the T5 prompt in tokens (published: 256); CLIP's 77 come on top.
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`.
    """

    pipeline_class: ClassVar[Any] = StableDiffusion3Pipeline
    stand_in = classmethod(small_pipeline)
    last_layer = "proj_out"
    packing: ClassVar[None] = None

    def __init__(
        self,
        weights: str = "",
        size_px: int = 1024,
        max_tokens: int = 256,
        pipeline: StableDiffusion3Pipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        self.pipeline: Any = load_pipeline(self.pipeline_class, weights, pipeline, **loading)
        self.backbone: Any = self.pipeline.transformer
        self.size_px = size_px
        self.max_tokens = max_tokens
        # The transformer sees latents in patches, and takes whole ones only.
        patch = self.pipeline.patch_size
        side = latent_side(size_px, self.pipeline.vae_scale_factor * patch) * patch
        self.noise_shape: tuple[int, ...] = (self.backbone.config.in_channels, side, side)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=list(prompts),
            prompt_2=None,
            prompt_3=None,
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_tokens,
        )
        tensors = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
        return Conditioning(tensors, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        tensors = conditioning.to(noise.device).tensors
        # The stock schedule, shifted or not, starts at sigma 1: its largest timestep.
        largest = float(self.pipeline.scheduler.config.num_train_timesteps)
        out: Tensor = self.backbone(
            hidden_states=noise.to(self.backbone.dtype),
            timestep=torch.full((len(noise),), largest, device=noise.device),
            encoder_hidden_states=tensors["prompt_embeds"],
            pooled_projections=tensors["pooled_prompt_embeds"],
            return_dict=False,
        )[0]
        return out

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Seeds = None,
        walk: Walk | None = None,
    ) -> Tensor:
        check_steps(steps)
        tensors = conditioning.to(noise.device).tensors
        return stock_call(
            self.pipeline,
            walk,
            prompt_embeds=tensors["prompt_embeds"],
            pooled_prompt_embeds=tensors["pooled_prompt_embeds"],
            latents=noise.to(self.backbone.dtype),
            num_inference_steps=steps,
            guidance_scale=0.0,
            height=self.size_px,
            width=self.size_px,
            max_sequence_length=self.max_tokens,
        )
