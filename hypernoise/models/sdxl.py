"""SDXL's few-step family: a large UNet with pooled text in a ``StableDiffusionXLPipeline``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from hypernoise.models.distilled import set_scheduler
from hypernoise.models.loading import Loading, load_pipeline
from hypernoise.models.protocol import (
    Conditioning,
    Seeds,
    Walk,
    check_steps,
    image_generators,
    latent_side,
    stock_call,
)
from hypernoise.models.stand_ins import small_pipeline
from hypernoise.transfers import on_device


class SdxlTurbo:
    """A one- or few-step SDXL, run without guidance.

    Args:
        size_px: image size.
        scheduler: one of :data:`hypernoise.models.distilled.SCHEDULERS`; the repository's without.
        eta: how much of the noise of a step is new, from 0 to 1, for TCD.
        timesteps: those of the sampler's steps, from the largest; fewer steps take the first of
            them, since the last step of LCM and TCD gives the clean image wherever it is. Without
            any, the scheduler spaces them.
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`; the VAE
            overflows in float16.
    """

    pipeline_class: ClassVar[Any] = StableDiffusionXLPipeline
    stand_in = classmethod(small_pipeline)
    last_layer = "conv_out"
    packing: ClassVar[None] = None

    def __init__(
        self,
        weights: str = "",
        size_px: int = 512,
        scheduler: str = "",
        eta: float = 0.0,
        timesteps: Sequence[int] = (),
        pipeline: StableDiffusionXLPipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        self.pipeline: Any = load_pipeline(
            self.pipeline_class, weights, pipeline, {"add_watermarker": False}, **loading
        )
        if scheduler:
            set_scheduler(self.pipeline, scheduler)
        self.backbone: Any = self.pipeline.unet
        self.eta = eta
        self.timesteps = tuple(timesteps)
        self.size_px = size_px
        side = latent_side(size_px, self.pipeline.vae_scale_factor)
        self.noise_shape: tuple[int, ...] = (self.backbone.config.in_channels, side, side)
        self.pipeline.scheduler.set_timesteps(1)
        self.first_timestep: Tensor = self.pipeline.scheduler.timesteps[0]

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), do_classifier_free_guidance=False
        )
        tensors = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
        return Conditioning(tensors, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        tensors = conditioning.to(noise.device).tensors
        pooled = tensors["pooled_prompt_embeds"]
        out: Tensor = self.backbone(
            noise.to(self.backbone.dtype),
            on_device(self.first_timestep, noise.device),
            encoder_hidden_states=tensors["prompt_embeds"],
            added_cond_kwargs={"text_embeds": pooled, "time_ids": self._sizes(pooled)},
            return_dict=False,
        )[0]
        return out

    def _sizes(self, pooled: Tensor) -> Tensor:
        """The image size that SDXL is conditioned on, uncropped: [B, 6]."""
        size = (self.size_px, self.size_px)
        ids: Tensor = self.pipeline._get_add_time_ids(
            size, (0, 0), size, pooled.dtype, text_encoder_projection_dim=pooled.shape[-1]
        )
        return on_device(ids, pooled.device).expand(len(pooled), -1)

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Seeds = None,
        walk: Walk | None = None,
    ) -> Tensor:
        check_steps(steps)
        if 0 < len(self.timesteps) < steps:
            raise ValueError(
                f"this model is distilled for {len(self.timesteps)} steps at most, and was asked "
                f"for {steps}"
            )
        tensors = conditioning.to(noise.device).tensors
        generators = image_generators(seeds, noise.device, steps > 1, len(noise))
        return stock_call(
            self.pipeline,
            walk,
            prompt_embeds=tensors["prompt_embeds"],
            pooled_prompt_embeds=tensors["pooled_prompt_embeds"],
            latents=noise.to(self.backbone.dtype),
            num_inference_steps=steps,
            timesteps=list(self.timesteps[:steps]) or None,
            eta=self.eta,
            guidance_scale=0.0,
            height=self.size_px,
            width=self.size_px,
            # The scheduler draws noise in the last step too and gives it no weight: not from
            # the global state, which others draw from.
            generator=generators or torch.Generator().manual_seed(0),
        )
