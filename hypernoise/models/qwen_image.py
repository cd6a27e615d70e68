"""Qwen-Image's family: joint attention over packed latents in a stock ``QwenImagePipeline``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from diffusers import QwenImagePipeline
from torch import Tensor

from hypernoise.models.distilled import set_scheduler
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


class QwenImage:
    """Qwen-Image, without guidance. Noise is packed: [tokens, 4 x latent channels].

    Prompts of a batch are padded to the longest of it, as the stock pipeline does. Between the
    two, they are kept padded to ``max_tokens`` with zeros, beside their lengths.

    Args:
        size_px: image size.
        max_tokens: length of the prompt in tokens, without the chat template that comes before it
            (published: 512).
        scheduler: one of :data:`hypernoise.models.distilled.SCHEDULERS`; the repository's without.
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`.
    """

    pipeline_class: ClassVar[Any] = QwenImagePipeline
    stand_in = classmethod(small_pipeline)
    last_layer = "proj_out"

    def __init__(
        self,
        weights: str = "",
        size_px: int = 1024,
        max_tokens: int = 512,
        scheduler: str = "",
        pipeline: QwenImagePipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        self.pipeline: Any = load_pipeline(self.pipeline_class, weights, pipeline, **loading)
        if scheduler:
            set_scheduler(self.pipeline, scheduler)
        self.backbone: Any = self.pipeline.transformer
        self.size_px = size_px
        self.max_tokens = max_tokens
        # The transformer sees latents in patches of two by two.
        self._side = latent_side(size_px, self.pipeline.vae_scale_factor * 2)
        self.noise_shape: tuple[int, ...] = (self._side**2, self.backbone.config.in_channels)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, mask = self.pipeline.encode_prompt(
            prompt=list(prompts), max_sequence_length=self.max_tokens
        )
        # Without a mask, all prompts are equally long. Lengths stay on the CPU, where they are
        # read.
        n_tokens = embeds.shape[1]
        lengths = torch.full((len(prompts),), n_tokens) if mask is None else mask.sum(1).cpu()
        room = (0, 0, 0, self.max_tokens - n_tokens)
        tensors = {"prompt_embeds": torch.nn.functional.pad(embeds, room), "lengths": lengths}
        return Conditioning(tensors, tuple(prompts))

    @property
    def n_tokens_read(self) -> int:
        """As :class:`hypernoise.models.length_counter.ReadsFewer` says."""
        before: int = self.pipeline.prompt_template_encode_start_idx
        return before + self.max_tokens

    def longest(self, n_prompts: int) -> Conditioning:
        shape = (n_prompts, self.max_tokens, self.backbone.config.joint_attention_dim)
        embeds = torch.zeros(shape, dtype=self.backbone.dtype)
        return Conditioning({"prompt_embeds": embeds}, ("",) * n_prompts)

    def _cut(self, conditioning: Conditioning, device: torch.device) -> tuple[Tensor, Any]:
        """The prompts [B, tokens of the longest, width], and a mask [B, tokens] of what is no
        padding; None where there is none."""
        embeds = conditioning.to(device).tensors["prompt_embeds"]
        lengths = conditioning.tensors.get("lengths")
        if lengths is None:
            return embeds, None
        n_tokens = int(lengths.max())
        mask = torch.arange(n_tokens) < lengths.cpu()[:, None]
        return embeds[:, :n_tokens], None if mask.all() else mask.long().to(device)

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        dtype = self.backbone.dtype
        embeds, mask = self._cut(conditioning, noise.device)
        out: Tensor = self.backbone(
            hidden_states=noise.to(dtype),
            # The stock schedule, however shifted, starts at sigma 1.
            timestep=torch.ones(len(noise), device=noise.device, dtype=dtype),
            encoder_hidden_states=embeds,
            encoder_hidden_states_mask=mask,
            img_shapes=[[(1, self._side, self._side)]] * len(noise),
            return_dict=False,
        )[0]
        return out

    @property
    def packing(self) -> Packing:
        return self

    def grid(self, tokens: Tensor) -> Tensor:
        scale = self.pipeline.vae_scale_factor
        # One frame of a video.
        grid: Tensor = self.pipeline._unpack_latents(tokens, self.size_px, self.size_px, scale)
        return grid.squeeze(2)

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
        embeds, mask = self._cut(conditioning, noise.device)
        if mask is None:
            # A mask of ones says that nothing is padding, which is warned of without one.
            mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        return stock_call(
            self.pipeline,
            walk,
            prompt_embeds=embeds,
            prompt_embeds_mask=mask,
            latents=noise.to(self.backbone.dtype),
            num_inference_steps=steps,
            true_cfg_scale=1.0,
            height=self.size_px,
            width=self.size_px,
            max_sequence_length=self.max_tokens,
        )
