"""The generator as it is."""

from __future__ import annotations

from typing import ClassVar

import torch

from hypernoise.methods.protocol import Generated, Request, Spent


class Base:
    """One image per noise, without any search."""

    words_prompts: ClassVar[bool] = False

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        return Generated(request.sample(request.noise), request.noise, Spent(nfe=request.steps))
