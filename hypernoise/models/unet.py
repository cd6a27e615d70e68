"""SD-Turbo's family: a UNet in a stock ``StableDiffusionPipeline``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from hypernoise.models.protocol import Conditioning, check_steps, load_pipeline, stock_call


class SdTurbo:
    """A one- or few-step Stable Diffusion, run without guidance.

    Args:
        weights: diffusers folder or hub name.
        size_px: image size.
        dtype: dtype of all networks.
        device: torch device.
        pipeline: an already built pipeline, used instead of ``weights``.
    """

    last_layer = "conv_out"

    def __init__(
        self,
        weights: str = "",
        size_px: int = 512,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        pipeline: StableDiffusionPipeline | None = None,
    ) -> None:
        self._pipe: Any
        self._pipe = pipeline or load_pipeline(StableDiffusionPipeline, weights, dtype, device)
        self.size_px = size_px
        side = size_px // self._pipe.vae_scale_factor
        self.noise_shape: tuple[int, ...] = (self.backbone.config.in_channels, side, side)
        self._pipe.scheduler.set_timesteps(1)
        self._first_timestep = self._pipe.scheduler.timesteps[0]

    @property
    def pipeline(self) -> Any:
        return self._pipe

    @property
    def backbone(self) -> Any:
        backbone: nn.Module = self._pipe.unet
        return backbone

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, _ = self._pipe.encode_prompt(
            list(prompts), self._pipe.device, 1, do_classifier_free_guidance=False
        )
        return Conditioning({"prompt_embeds": embeds}, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        out: Tensor = self.backbone(
            noise.to(self.backbone.dtype),
            self._first_timestep,
            encoder_hidden_states=conditioning.tensors["prompt_embeds"],
            return_dict=False,
        )[0]
        return out

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        check_steps(steps)
        return stock_call(
            self._pipe,
            prompt_embeds=conditioning.tensors["prompt_embeds"],
            latents=noise.to(self.backbone.dtype),
            num_inference_steps=steps,
            guidance_scale=0.0,
            height=self.size_px,
            width=self.size_px,
        )
