"""SD-Turbo's family: a UNet in a stock ``StableDiffusionPipeline``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

from diffusers import StableDiffusionPipeline
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
from hypernoise.transfers import on_device


class SdTurbo:
    """A one- or few-step Stable Diffusion, run without guidance.

    Args:
        size_px: image size.
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`.
    """

    pipeline_class: ClassVar[Any] = StableDiffusionPipeline
    stand_in = classmethod(small_pipeline)
    last_layer = "conv_out"
    packing: ClassVar[None] = None

    def __init__(
        self,
        weights: str = "",
        size_px: int = 512,
        pipeline: StableDiffusionPipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        self.pipeline: Any = load_pipeline(
            self.pipeline_class,
            weights,
            pipeline,
            # It would paint suspected images black, and no gradient passes through black.
            {"safety_checker": None, "requires_safety_checker": False},
            **loading,
        )
        self.backbone: Any = self.pipeline.unet
        self.size_px = size_px
        side = latent_side(size_px, self.pipeline.vae_scale_factor)
        self.noise_shape: tuple[int, ...] = (self.backbone.config.in_channels, side, side)
        self.pipeline.scheduler.set_timesteps(1)
        self.first_timestep: Tensor = self.pipeline.scheduler.timesteps[0]

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, _ = self.pipeline.encode_prompt(
            list(prompts), self.pipeline._execution_device, 1, do_classifier_free_guidance=False
        )
        return Conditioning({"prompt_embeds": embeds}, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        out: Tensor = self.backbone(
            noise.to(self.backbone.dtype),
            on_device(self.first_timestep, noise.device),
            encoder_hidden_states=conditioning.to(noise.device).tensors["prompt_embeds"],
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
            latents=noise.to(self.backbone.dtype),
            num_inference_steps=steps,
            guidance_scale=0.0,
            height=self.size_px,
            width=self.size_px,
        )
