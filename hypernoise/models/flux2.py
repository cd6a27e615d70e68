"""FLUX.2-klein's family: joint attention over a grid of patches in a ``Flux2KleinPipeline``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from diffusers import Flux2KleinPipeline
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


class Flux2Klein:
    """FLUX.2-klein, distilled for four steps without guidance.

    Noise is a grid, and not packed into tokens as FLUX.1's is: [4 x latent channels, H/16, W/16],
    whose channels are a patch of two by two latents.

    Args:
        size_px: image size.
        max_tokens: length of the prompt in tokens, the chat template's included (published: 512).
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`.
    """

    pipeline_class: ClassVar[Any] = Flux2KleinPipeline
    stand_in = classmethod(small_pipeline)
    last_layer = "proj_out"
    packing: ClassVar[None] = None

    def __init__(
        self,
        weights: str = "",
        size_px: int = 1024,
        max_tokens: int = 512,
        pipeline: Flux2KleinPipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        self.pipeline: Any = load_pipeline(self.pipeline_class, weights, pipeline, **loading)
        self.backbone: Any = self.pipeline.transformer
        self.size_px = size_px
        self.max_tokens = max_tokens
        side = latent_side(size_px, self.pipeline.vae_scale_factor * 2)
        self.noise_shape: tuple[int, ...] = (self.backbone.config.in_channels, side, side)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, _ = self.pipeline.encode_prompt(
            prompt=list(prompts), max_sequence_length=self.max_tokens
        )
        return Conditioning({"prompt_embeds": embeds}, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        dtype = self.backbone.dtype
        embeds = conditioning.to(noise.device).tensors["prompt_embeds"]
        # Positions are the same for all images of a batch.
        text, grid = self.pipeline._prepare_text_ids, self.pipeline._prepare_latent_ids
        positions = [on_device(ids, noise.device) for ids in (text(embeds[:1]), grid(noise[:1]))]
        out: Tensor = self.backbone(
            hidden_states=self.pipeline._pack_latents(noise.to(dtype)),
            # The stock schedule, however shifted, starts at sigma 1.
            timestep=torch.ones(len(noise), device=noise.device, dtype=dtype),
            encoder_hidden_states=embeds,
            txt_ids=positions[0],
            img_ids=positions[1],
            return_dict=False,
        )[0]
        return self._grid(out)

    def _grid(self, tokens: Tensor) -> Tensor:
        """Tokens [B, H*W, C] as [B, C, H, W]."""
        return tokens.transpose(1, 2).reshape(-1, *self.noise_shape)

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Seeds = None,
        walk: Walk | None = None,
    ) -> Tensor:
        check_steps(steps)
        if walk is not None and walk.start:
            # The stock pipeline packs the grid that it is given; what a step leaves is packed.
            noise = self._grid(noise)
        return stock_call(
            self.pipeline,
            walk,
            prompt_embeds=conditioning.to(noise.device).tensors["prompt_embeds"],
            latents=noise.to(self.backbone.dtype),
            num_inference_steps=steps,
            guidance_scale=1.0,
            height=self.size_px,
            width=self.size_px,
            max_sequence_length=self.max_tokens,
        )
