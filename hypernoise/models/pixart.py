"""PixArt-alpha-DMD's family: a one-step transformer in a stock ``PixArtAlphaPipeline``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from diffusers import DDPMScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel
from torch import Tensor

from hypernoise.models.loading import DTYPE, RANDOM, Loading, load_pipeline
from hypernoise.models.protocol import (
    Conditioning,
    Seeds,
    Walk,
    check_steps,
    latent_side,
    stock_call,
)
from hypernoise.models.stand_ins import small_pipeline
from hypernoise.weights.hub import check_network
from hypernoise.weights.stand_ins import Shelf, commit_of


class PixartDmd:
    """PixArt-alpha distilled by distribution matching: one step from timestep 400, no guidance.

    The distilled repository has a transformer and a scheduler only; the rest of the pipeline is
    that of the model it was distilled from.

    Args:
        size_px: image size.
        max_tokens: prompt length in tokens (published: 120).
        timestep: the timestep that noise is denoised from (published: 400).
        distilled: hub repository of transformer and scheduler; without one, those of ``weights``.
        distilled_revision: its commit, 40 hexadecimal digits.
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`.
    """

    pipeline_class: ClassVar[Any] = PixArtAlphaPipeline
    last_layer = "proj_out"
    packing: ClassVar[None] = None

    def __init__(
        self,
        weights: str = "",
        size_px: int = 512,
        max_tokens: int = 120,
        timestep: int = 400,
        distilled: str = "",
        distilled_revision: str = "",
        pipeline: PixArtAlphaPipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        parts: dict[str, Any] = {}
        if distilled and pipeline is None and weights != RANDOM:
            check_network(distilled, distilled_revision, "transformer")
            parts["transformer"] = PixArtTransformer2DModel.from_pretrained(
                distilled,
                subfolder="transformer",
                revision=distilled_revision,
                dtype=loading.get("dtype", DTYPE),
                use_safetensors=True,
            )
            parts["scheduler"] = DDPMScheduler.from_pretrained(
                distilled, subfolder="scheduler", revision=distilled_revision
            )
        self.pipeline: Any = load_pipeline(self.pipeline_class, weights, pipeline, parts, **loading)
        self.backbone: Any = self.pipeline.transformer
        self.size_px = size_px
        self.max_tokens = max_tokens
        self.timestep = timestep
        side = latent_side(size_px, self.pipeline.vae_scale_factor)
        self.noise_shape: tuple[int, ...] = (self.backbone.config.in_channels, side, side)

    @staticmethod
    def check_sources(distilled: str = "", distilled_revision: str = "", **_: Any) -> None:
        """Check the distilled repository before anything is loaded.

        Raises:
            ValueError, FileNotFoundError: as :func:`hypernoise.weights.hub.check_network`.
        """
        if distilled:
            check_network(distilled, distilled_revision, "transformer")

    @classmethod
    def stand_in(
        cls, shelf: Shelf, distilled: str = "", distilled_revision: str = "", **given: Any
    ) -> dict[str, Any]:
        """As :func:`small_pipeline`, with transformer and scheduler in the distilled repository."""
        changed = small_pipeline(cls, shelf, **given)
        if not distilled:
            return changed
        commit = commit_of(distilled, distilled_revision)
        whole = shelf.repository(changed["weights"], changed["revision"])
        for part in ("transformer", "scheduler"):
            place = shelf.repository(distilled, commit) / part
            shutil.copytree(whole / part, place, dirs_exist_ok=True)
        return {**changed, "distilled_revision": commit}

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, mask, _, _ = self.pipeline.encode_prompt(
            list(prompts), do_classifier_free_guidance=False, max_sequence_length=self.max_tokens
        )
        tensors = {"prompt_embeds": embeds, "prompt_attention_mask": mask}
        return Conditioning(tensors, tuple(prompts))

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        tensors = conditioning.to(noise.device).tensors
        out: Tensor = self.backbone(
            noise.to(self.backbone.dtype),
            encoder_hidden_states=tensors["prompt_embeds"],
            encoder_attention_mask=tensors["prompt_attention_mask"],
            timestep=torch.full((len(noise),), self.timestep, device=noise.device),
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        # The second half of the channels is a variance that no sampler uses.
        return out.chunk(2, dim=1)[0]

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Seeds = None,
        walk: Walk | None = None,
    ) -> Tensor:
        check_steps(steps)
        if steps > 1:
            raise ValueError(f"this model is distilled for one step, and was asked for {steps}")
        tensors = conditioning.to(noise.device).tensors
        return stock_call(
            self.pipeline,
            walk,
            negative_prompt=None,
            prompt_embeds=tensors["prompt_embeds"],
            prompt_attention_mask=tensors["prompt_attention_mask"],
            latents=noise.to(self.backbone.dtype),
            timesteps=[self.timestep],
            num_inference_steps=1,
            guidance_scale=1.0,
            height=self.size_px,
            width=self.size_px,
            use_resolution_binning=False,
            clean_caption=False,
            max_sequence_length=self.max_tokens,
            # The scheduler draws noise for a next step that there is not; the global state is
            # others'.
            generator=torch.Generator().manual_seed(0),
        )
