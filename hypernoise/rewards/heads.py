"""The linear head that LAION's aesthetic predictor and ImageReward share."""

from __future__ import annotations

from torch import nn

_WIDTHS = (1024, 128, 64, 16, 1)


def linear_head(width: int) -> nn.Sequential:
    """Five linear layers without activations: vectors [B, width] to scores [B, 1].

    The originals' dropout layers do nothing in inference, but count in the names of the weights.
    """
    first, second, third, fourth, last = _WIDTHS
    return nn.Sequential(
        nn.Linear(width, first),
        nn.Identity(),
        nn.Linear(first, second),
        nn.Identity(),
        nn.Linear(second, third),
        nn.Identity(),
        nn.Linear(third, fourth),
        nn.Linear(fourth, last),
    )
