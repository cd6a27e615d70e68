"""FLUX.1-schnell's family: joint attention over packed latents in a stock ``FluxPipeline``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from diffusers import FluxPipeline
from torch import Tensor

from hypernoise.models.loading import Loading, load_pipeline
from hypernoise.models.protocol import (
    Conditioning,
    Packing,
    Seeds,
    Walk,
    check_steps,
    latent_side,
    stock_call,
)
from hypernoise.models.stand_ins import small_pipeline
from hypernoise.transfers import on_device


class FluxSchnell:
    """FLUX.1-schnell, without guidance. Noise is packed: [tokens, 4 x latent channels].

    Args:
        size_px: image size.
        max_tokens: length of the T5 prompt in tokens (published: 256).
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`.
    """

    pipeline_class: ClassVar[Any] = FluxPipeline
    stand_in = classmethod(small_pipeline)
    last_layer = "proj_out"

    def __init__(
        self,
        weights: str = "",
        size_px: int = 512,
        max_tokens: int = 256,
        pipeline: FluxPipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        self.pipeline: Any = load_pipeline(self.pipeline_class, weights, pipeline, **loading)
        self.backbone: Any = self.pipeline.transformer
        self.size_px = size_px
        self.max_tokens = max_tokens
        # The transformer sees latents in patches of two by two.
        self._side = latent_side(size_px, self.pipeline.vae_scale_factor * 2)
        self.noise_shape: tuple[int, ...] = (self._side**2, self.backbone.config.in_channels)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, pooled, _ = self.pipeline.encode_prompt(
            prompt=list(prompts), prompt_2=None, max_sequence_length=self.max_tokens
        )
        tensors = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
        return Conditioning(tensors, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        dtype = self.backbone.dtype
        tensors = conditioning.to(noise.device).tensors
        embeds = tensors["prompt_embeds"]
        out: Tensor = self.backbone(
            noise.to(dtype),
            timestep=torch.ones(len(noise), device=noise.device, dtype=dtype),
            encoder_hidden_states=embeds,
            pooled_projections=tensors["pooled_prompt_embeds"],
            txt_ids=torch.zeros(embeds.shape[1], 3, device=noise.device, dtype=dtype),
            img_ids=self._image_positions(noise.device, dtype),
            return_dict=False,
        )[0]
        return out

    def _image_positions(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        ids: Tensor = self.pipeline._prepare_latent_image_ids(
            1, self._side, self._side, "cpu", dtype
        )
        return on_device(ids, device)

    @property
    def packing(self) -> Packing:
        return self

    def grid(self, tokens: Tensor) -> Tensor:
        scale = self.pipeline.vae_scale_factor
        grid: Tensor = self.pipeline._unpack_latents(tokens, self.size_px, self.size_px, scale)
        return grid

    def pack(self, grid: Tensor) -> Tensor:
        tokens: Tensor = self.pipeline._pack_latents(grid, *grid.shape)
        return tokens

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
