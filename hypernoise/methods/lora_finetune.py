"""Direct fine-tuning: the generator's own weights follow the reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from hypernoise.identity import SPEED_ONLY
from hypernoise.methods.protocol import Generated, Spent
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.lora_networks import FineTuner
from hypernoise.networks.merged_networks import MergedFineTuner
from hypernoise.rewards.protocol import Features, Reward


class LoraFinetune:
    """The fine-tuned generator from the given noise.

    Args:
        tuner: fine-tuned adapter of the generator that ``run`` is given.
        merged: merge the LoRA into a second copy of the weights: no slower than the generator.
            ``tuner`` cannot be used afterwards.

    Raises:
        ValueError: ``merged`` is no truth value: there is no layer-by-layer merging here.
    """

    def __init__(self, tuner: FineTuner, merged: Annotated[bool, SPEED_ONLY] = False) -> None:
        if not isinstance(merged, bool):
            raise ValueError(f"merged must be true or false for fine-tuning, got {merged!r}")
        self._tuner = MergedFineTuner(tuner) if merged else tuner

    @torch.no_grad()
    def run(
        self,
        generator: Generator,
        reward: Reward | None,
        conditioning: Conditioning,
        features: Features | None,
        noise: Tensor,
        seeds: Sequence[int],
        steps: int = 1,
    ) -> Generated:
        if self._tuner.generator is not generator:
            raise ValueError("the fine-tuned adapter belongs to another generator")
        images = self._tuner.draw(noise, conditioning, steps, seeds).images
        return Generated(images, noise, Spent(nfe=steps))
