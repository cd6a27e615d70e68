"""A moving average of trained weights, which is steadier than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """The exponential moving average of parameters over optimizer steps.

    After step t it moves by 1 - min(decay, (1 + t) / (10 + t)) of the way to the parameters, as
    TensorFlow's ``ExponentialMovingAverage`` does: the untrained weights are soon forgotten.

    Args:
        parameters: trained ones; the average begins where they are.
        decay: in (0, 1).
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.values: list[Tensor] = []
        self.restart()

    def restart(self) -> None:
        """Let the average be what the parameters are now."""
        self.values = copied(self._parameters)

    def update(self, step: int) -> None:
        """Take in the parameters after an optimizer step, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        current = [parameter.detach() for parameter in self._parameters]
        move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        move(self.values, current, step)

    def put(self, values: Sequence[Tensor]) -> None:
        """Give the parameters these values."""
        put(self._parameters, values)

    def in_place(self) -> AbstractContextManager[list[Tensor]]:
        """Let the parameters be their average; gives what they are outside."""
        return in_place(self._parameters, self.values)


@contextmanager
def in_place(
    parameters: Sequence[nn.Parameter], values: Sequence[Tensor]
) -> Iterator[list[Tensor]]:
    """Let parameters have other values; gives what they are outside."""
    raw = copied(parameters)
    put(parameters, values)
    try:
        yield raw
    finally:
        put(parameters, raw)


@torch.no_grad()
def put(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    """Give parameters other values."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def copied(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """What parameters are now."""
    return [parameter.detach().clone() for parameter in parameters]
