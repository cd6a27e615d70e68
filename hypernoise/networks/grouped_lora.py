"""LoRA on grouped convolutions, in the layout that peft had before 0.16, so that its files load.

A is dense whatever the groups: a convolution of all input channels to ``rank`` with the frozen
layer's kernel, stride and padding. B is 1x1. Later versions of peft refuse such layers, because a
dense A is larger than the depthwise weight that it adapts.
"""

from __future__ import annotations

import copy
from typing import cast

from torch import Tensor, nn


class GroupedLora(nn.Module):
    """A frozen grouped convolution with LoRA branches by adapter name, none active at first.

    It answers to the names that peft's own LoRA layers have, so that both kinds are switched,
    saved and removed alike.

    Args:
        base_layer: the grouped convolution; unchanged.
    """

    def __init__(self, base_layer: nn.Conv2d) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.ModuleDict()
        self.lora_B = nn.ModuleDict()
        self.scaling: dict[str, float] = {}
        self._disable_adapters = False
        self._active_adapter: list[str] = []

    @property
    def disable_adapters(self) -> bool:
        return self._disable_adapters

    def get_base_layer(self) -> nn.Conv2d:
        return self.base_layer

    def add_adapter(self, name: str, rank: int, alpha: float) -> None:
        """A branch in float32: A Gaussian with a standard deviation of 1 / rank, B zero."""
        base, device = self.base_layer, self.base_layer.weight.device
        self.lora_A[name] = nn.Conv2d(
            base.in_channels,
            rank,
            cast(tuple[int, int], base.kernel_size),
            cast(tuple[int, int], base.stride),
            cast(tuple[int, int], base.padding),
            bias=False,
            device=device,
        )
        self.lora_B[name] = nn.Conv2d(rank, base.out_channels, 1, bias=False, device=device)
        nn.init.normal_(cast(Tensor, self.lora_A[name].weight), std=1 / rank)
        nn.init.zeros_(cast(Tensor, self.lora_B[name].weight))
        self.scaling[name] = alpha / rank

    def delete_adapter(self, name: str) -> None:
        for of_adapter in (self.lora_A, self.lora_B, self.scaling):
            del of_adapter[name]

    def n_parameters(self, name: str) -> int:
        """Number of an adapter's parameters in this layer."""
        halves = (self.lora_A[name], self.lora_B[name])
        return sum(cast(Tensor, half.weight).numel() for half in halves)

    def frozen_branch(self, name: str) -> nn.Sequential:
        """A copy of a branch, scaling included, without gradients and in the frozen dtype."""
        a, b = copy.deepcopy(self.lora_A[name]), copy.deepcopy(self.lora_B[name])
        branch = nn.Sequential(a, b).requires_grad_(False)
        cast(Tensor, b.weight).mul_(self.scaling[name])
        return branch.to(self.base_layer.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x [B, C, H, W], plus its active branches; in the frozen dtype."""
        out: Tensor = self.base_layer(x)
        if self._disable_adapters:
            return out
        dtype = out.dtype
        for name in self._active_adapter:
            if name in self.lora_A:
                a, b = self.lora_A[name], self.lora_B[name]
                out = out + b(a(x.to(cast(Tensor, a.weight).dtype))) * self.scaling[name]
        return out.to(dtype)
