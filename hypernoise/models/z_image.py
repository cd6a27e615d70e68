"""Z-Image-Turbo's family: one stream of image and text tokens in a stock ``ZImagePipeline``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from diffusers import ZImagePipeline
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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


class ZImageTurbo:
    """Z-Image-Turbo, distilled for eight steps without guidance.

    The stock pipeline takes a list of prompts of unequal lengths. Here they are padded to
    ``max_tokens`` with zeros, beside their lengths, and cut again before the pipeline sees them.

    Args:
        size_px: image size.
        max_tokens: length of the prompt in tokens, the chat template's included (published: 512).
        weights, pipeline, loading: as of :func:`hypernoise.models.loading.load_pipeline`.
    """

    pipeline_class: ClassVar[Any] = ZImagePipeline
    stand_in = classmethod(small_pipeline)
    last_layer = "all_final_layer.2-1.linear"
    packing: ClassVar[None] = None

    def __init__(
        self,
        weights: str = "",
        size_px: int = 1024,
        max_tokens: int = 512,
        pipeline: ZImagePipeline | None = None,
        **loading: Unpack[Loading],
    ) -> None:
        self.pipeline: Any = load_pipeline(self.pipeline_class, weights, pipeline, **loading)
        self.backbone: Any = self.pipeline.transformer
        self.size_px = size_px
        self.max_tokens = max_tokens
        # The transformer sees latents in patches of two by two.
        side = latent_side(size_px, self.pipeline.vae_scale_factor * 2) * 2
        self.noise_shape: tuple[int, ...] = (self.backbone.config.in_channels, side, side)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        embeds, _ = self.pipeline.encode_prompt(
            prompt=list(prompts),
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_tokens,
        )
        padded = pad_sequence(embeds, batch_first=True)
        room = (0, 0, 0, self.max_tokens - padded.shape[1])
        # Lengths stay on the CPU, where they are read.
        lengths = torch.tensor([len(tokens) for tokens in embeds])
        tensors = {"prompt_embeds": torch.nn.functional.pad(padded, room), "lengths": lengths}
        return Conditioning(tensors, tuple(prompts))

    def longest(self, n_prompts: int) -> Conditioning:
        shape = (n_prompts, self.max_tokens, self.backbone.config.cap_feat_dim)
        embeds = torch.zeros(shape, dtype=self.backbone.dtype)
        return Conditioning({"prompt_embeds": embeds}, ("",) * n_prompts)

    def predict(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        # One frame of a video. The model's time runs from noise, 0, to image, 1.
        latents = noise.to(self.backbone.dtype).unsqueeze(2)
        time = torch.zeros(len(noise), device=noise.device)
        prompts = self._cut(conditioning, noise.device)
        out = self.backbone(list(latents), time, prompts, return_dict=False)[0]
        return torch.stack(out).squeeze(2)

    def _cut(self, conditioning: Conditioning, device: torch.device) -> list[Tensor]:
        """The prompts [tokens, width] without their padding."""
        embeds = conditioning.to(device).tensors["prompt_embeds"]
        lengths = conditioning.tensors.get("lengths")
        if lengths is None:
            return list(embeds)
        return [tokens[:n] for tokens, n in zip(embeds, lengths.tolist(), strict=True)]

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Seeds = None,
        walk: Walk | None = None,
    ) -> Tensor:
        check_steps(steps)
        return stock_call(
            self.pipeline,
            walk,
            prompt_embeds=self._cut(conditioning, noise.device),
            # The sampler keeps the latents in float32.
            latents=noise.float(),
            num_inference_steps=steps,
            guidance_scale=0.0,
            height=self.size_px,
            width=self.size_px,
            max_sequence_length=self.max_tokens,
        )
