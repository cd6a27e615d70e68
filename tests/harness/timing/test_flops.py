"""Operations are counted as on paper: two per multiply-add of products, convolutions, attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from toys import encode, noise_for

from harness.timing.meter import flop_counter
from hypernoise.models.protocol import Generator

#: Batch, heads, queries, keys, width of a head.
B, H, N, M, D = 2, 3, 7, 20, 16
#: Scores, and the mean of the values.
FORWARD = B * H * 4 * N * M * D
#: Scores again, and a product for each of their gradient's two factors, for queries and keys.
BACKWARD = B * H * 10 * N * M * D


def counted(call: Callable[[], Any]) -> float:
    with flop_counter() as counter:
        call()
    return float(counter.get_total_flops())


def queries_keys_values(grad: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(B, H, n, D, generator=source) for n in (N, M, M))
    return q.requires_grad_(grad), k, v


def test_products_and_convolutions_count_two_for_each_multiply_add() -> None:
    assert counted(lambda: nn.Linear(5, 7)(torch.ones(3, 5))) == 2 * 3 * 5 * 7
    image = torch.ones(2, 4, 8, 8, requires_grad=True)
    plain, in_pairs = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1, groups=2)
    forward = 2 * 2 * 8 * 8 * 6 * 4 * 9
    assert counted(lambda: plain(image)) == forward
    assert counted(lambda: in_pairs(image)) == forward / 2
    # The gradient of the image alone, as in a search for noise.
    assert counted(lambda: torch.autograd.grad(plain(image).sum(), image)) == 2 * forward


def test_attention_on_a_cpu_counts_its_two_products() -> None:
    q, k, v = (torch.ones(1, 4, 64, 32) for _ in range(3))
    assert counted(lambda: scaled_dot_product_attention(q, k, v)) == 2_097_152
    q, k, v = queries_keys_values()
    assert counted(lambda: scaled_dot_product_attention(q, k, v)) == FORWARD
    mask, shared = torch.zeros(N, M), {"enable_gqa": True}
    assert counted(lambda: scaled_dot_product_attention(q, k, v, mask)) == FORWARD
    assert counted(lambda: scaled_dot_product_attention(q, k[:, :1], v[:, :1], **shared)) == FORWARD  # type: ignore[arg-type]
    with torch.inference_mode():
        assert counted(lambda: scaled_dot_product_attention(q, k, v)) == FORWARD


def test_the_backward_pass_of_attention_counts_what_torch_says_of_a_gpus() -> None:
    q, k, v = queries_keys_values(grad=True)

    def loss(queries: Tensor) -> Tensor:
        return scaled_dot_product_attention(queries, k, v).square().sum()

    assert counted(lambda: torch.autograd.grad(loss(q), q)) == FORWARD + BACKWARD
    assert counted(lambda: torch.func.grad(loss)(q.detach())) == FORWARD + BACKWARD
    again = counted(lambda: checkpoint(loss, q, use_reentrant=False).backward())
    assert again == 2 * FORWARD + BACKWARD


def test_fused_layers_count_as_their_parts_do() -> None:
    width, wide = H * D, 96
    attention = nn.MultiheadAttention(width, H, batch_first=True).eval()
    layer = nn.TransformerEncoderLayer(width, H, wide, batch_first=True).eval()
    x, y = torch.ones(B, N, width), torch.ones(B, M, width)
    projections, alone = 2 * B * 2 * N * width**2, B * H * 4 * N * N * D
    with torch.no_grad():
        # Without gradients torch.nn would take its fused kernels, which have no formula.
        across = counted(lambda: attention(x, y, y))
        assert across == projections + 2 * B * 2 * M * width**2 + FORWARD
        assert counted(lambda: attention(x, x, x)) == 2 * projections + alone
        assert counted(lambda: layer(x)) == 2 * projections + alone + 2 * B * 2 * N * width * wide
    assert mha.get_fastpath_enabled()


def test_a_product_without_a_formula_makes_the_count_unknown_and_not_smaller() -> None:
    assert math.isnan(counted(lambda: torch.ones(3, 4) @ torch.ones(4)))


def test_a_count_that_fails_leaves_fused_layers_as_they_were() -> None:
    def fail() -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        counted(fail)
    assert mha.get_fastpath_enabled()


def test_a_backbone_counts_the_same_whichever_kernel_computes_its_attention(
    generator: Generator,
) -> None:
    noise, conditioning = noise_for(generator, 1), encode(generator, 1)

    def predict() -> None:
        with torch.no_grad():
            generator.predict(noise, conditioning)

    fused = counted(predict)
    with sdpa_kernel(SDPBackend.MATH):
        assert fused == counted(predict) > 0
