"""Direct fine-tuning: the generator's own weights follow the reward."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch

from hypernoise.identity import SPEED_ONLY
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.merged import MergedFineTuner


class LoraFinetune:
    """The fine-tuned generator from the given noise.

    Args:
        tuner: fine-tuned adapter of the generator that ``run`` is given.
        merged: merge the LoRA into a second copy of the weights: no slower than the generator.
            ``tuner`` cannot be used afterwards.

    Raises:
        ValueError: ``merged`` is no truth value: there is no layer-by-layer merging here.
    """

    words_prompts: ClassVar[bool] = False

    def __init__(self, tuner: FineTuner, merged: Annotated[bool, SPEED_ONLY] = False) -> None:
        if not isinstance(merged, bool):
            raise ValueError(f"merged must be true or false for fine-tuning, got {merged!r}")
        self._tuner = MergedFineTuner(tuner) if merged else tuner

    @torch.no_grad()
    def run(self, request: Request) -> Generated:
        if self._tuner.generator is not request.generator:
            raise ValueError("the fine-tuned adapter belongs to another generator")
        steps, noise = request.steps, request.noise
        images = self._tuner.draw(noise, request.conditioning, steps, request.seeds).images
        return Generated(images, noise, Spent(nfe=steps))
