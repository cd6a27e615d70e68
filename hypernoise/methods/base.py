"""The generator as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.noise import image_seed, seeded_noise


class Base:
    """One image per noise, without any search.

    Args:
        draw: 0 is the noise that all methods share; every other number is one more noise of the
            same image, independent of it: images that nothing was chosen or trained on.
    """

    words_prompts: ClassVar[bool] = False

    def __init__(self, draw: int = 0) -> None:
        if draw < 0:
            raise ValueError(f"draw is {draw}, must be at least 0")
        self.draw = draw

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        if self.draw:
            seeds = [image_seed(seed, "base", self.draw, stream="draw") for seed in request.seeds]
            noise = torch.stack([seeded_noise(seed, request.noise.shape[1:]) for seed in seeds])
            request = replace(request, noise=noise.to(request.noise), seeds=seeds)
        return Generated(request.sample(request.noise), request.noise, Spent(nfe=request.steps))
