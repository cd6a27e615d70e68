"""SANA-Sprint's family: a linear transformer in a stock ``SanaSprintPipeline``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from diffusers import SanaSprintPipeline
from torch import Tensor

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


class SanaSprint:
    """SANA-Sprint with embedded guidance.

    Args:
        size_px: image size.
        guidance: guidance scale that the transformer embeds (published: 4.5).
        max_tokens: prompt length in tokens (published: 300).
        human_instruction: put the stock pipeline's "complex human instruction" before every prompt,
            as it does by default; the authors of HyperNoise trained without.
        intermediate_timestep: the second timestep of two-step sampling, in radians
            (published: 1.3); None spaces the steps evenly.
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`; float16
            overflows, use bfloat16 or float32.
    """

    pipeline_class: ClassVar[Any] = SanaSprintPipeline
    stand_in = classmethod(small_pipeline)
    last_layer = "proj_out"
    packing: ClassVar[None] = None

    def __init__(
        self,
        weights: str = "",
        size_px: int = 1024,
        guidance: float = 4.5,
        max_tokens: int = 300,
        human_instruction: bool = True,
        intermediate_timestep: float | None = 1.3,
        pipeline: SanaSprintPipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        self.pipeline: Any = load_pipeline(self.pipeline_class, weights, pipeline, **loading)
        self.backbone: Any = self.pipeline.transformer
        self.size_px = size_px
        self.guidance = guidance
        self.max_tokens = max_tokens
        self._instruction: list[str] | None = None
        if human_instruction:
            # Only the pipeline's own call has it, as a default.
            call = inspect.signature(SanaSprintPipeline.__call__)
            self._instruction = call.parameters["complex_human_instruction"].default
        self.intermediate_timestep = intermediate_timestep
        side = latent_side(size_px, self.pipeline.vae_scale_factor)
        self.noise_shape: tuple[int, ...] = (self.backbone.config.in_channels, side, side)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, mask = self.pipeline.encode_prompt(
            list(prompts),
            complex_human_instruction=self._instruction,
            max_sequence_length=self.max_tokens,
        )
        tensors = {"prompt_embeds": embeds, "prompt_attention_mask": mask}
        return Conditioning(tensors, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        timestep = torch.ones(len(noise), device=noise.device, dtype=torch.float32)
        return self.predict_at(noise, timestep, conditioning)

    def predict_at(self, noise: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        """One transformer pass at SCM timesteps [B] in (0, 1]; 1 is pure noise."""
        tensors = conditioning.to(noise.device).tensors
        embeds = tensors["prompt_embeds"]
        guidance = torch.full_like(timestep, self.guidance).to(embeds.dtype)
        out: Tensor = self.backbone(
            noise.to(self.backbone.dtype),
            encoder_hidden_states=embeds.to(self.backbone.dtype),
            encoder_attention_mask=tensors["prompt_attention_mask"],
            guidance=guidance * self.backbone.config.guidance_embeds_scale,
            timestep=timestep,
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
        # The stock pipeline multiplies what it is given with this, which latents are already.
        scale = self.pipeline.scheduler.config.sigma_data if walk and walk.start else 1.0
        try:
            return stock_call(
                self.pipeline,
                walk,
                prompt_embeds=tensors["prompt_embeds"],
                prompt_attention_mask=tensors["prompt_attention_mask"],
                latents=noise / scale,
                num_inference_steps=steps,
                # The stock pipeline refuses an intermediate timestep for any other step count.
                intermediate_timesteps=self.intermediate_timestep if steps == 2 else None,
                guidance_scale=self.guidance,
                height=self.size_px,
                width=self.size_px,
                generator=image_generators(seeds, noise.device, steps > 1, len(noise)),
                use_resolution_binning=False,
                max_sequence_length=self.max_tokens,
            )
        except UnboundLocalError as error:
            # The stock pipeline turns a lack of memory into a warning, and then asks for the image
            # that there is not.
            if "'image'" not in str(error):
                raise
            raise torch.OutOfMemoryError("the VAE's decoder ran out of memory") from error
