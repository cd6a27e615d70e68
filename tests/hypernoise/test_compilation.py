"""Compiled networks give what eager ones give, and only inside."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.exc import FailOnRecompileLimitHit
from toys import ToyReward

from hypernoise import compilation
from hypernoise.compilation import Compiled


def toy_pipeline() -> Any:
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(4, 4), nn.SiLU())
    unet = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    return SimpleNamespace(unet=unet, vae=SimpleNamespace(decoder=decoder))


def test_compiled_networks_give_the_same_values_and_gradients_and_only_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Captures graphs and their gradients like the real one, without minutes of a C++ compiler.
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, mode, dynamic: real(f, backend="aot_eager", dynamic=dynamic)
    )
    pipeline, reward = toy_pipeline(), ToyReward()
    noise = torch.randn(3, 4, requires_grad=True)

    def values() -> tuple[torch.Tensor, torch.Tensor]:
        out = pipeline.vae.decoder(pipeline.unet(noise))
        return out, torch.autograd.grad(out.square().sum(), noise)[0]

    compiled, eager = Compiled(pipeline, "compiled", reward), values()
    with compiled.active():
        assert {"forward"} <= vars(pipeline.unet).keys()
        assert "score" in vars(reward)
        # Fused operations round otherwise.
        torch.testing.assert_close(values(), eager, rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            decoded = pipeline.vae.decoder(noise)
    torch.testing.assert_close(decoded, pipeline.vae.decoder(noise), rtol=1e-5, atol=1e-6)
    assert "forward" not in vars(pipeline.unet)
    assert "score" not in vars(reward)


def test_what_is_compiled_again_and_again_is_an_error_and_not_an_eager_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, mode, dynamic: real(f, backend="eager", dynamic=dynamic)
    )
    monkeypatch.setattr(compilation, "_RECOMPILATIONS", 3)
    pipeline = toy_pipeline()
    with pytest.raises(FailOnRecompileLimitHit), Compiled(pipeline, "compiled").active():
        for batch in range(2, 9):
            pipeline.unet(torch.randn(batch, 4))


def test_eager_runs_what_is_there_and_cuda_graphs_need_a_gpu() -> None:
    pipeline = toy_pipeline()
    with Compiled(pipeline, "eager").active():
        assert "forward" not in vars(pipeline.unet)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="cuda_graphs needs a GPU"):
            Compiled(pipeline, "cuda_graphs")


def test_a_pipeline_that_runs_compiled_cannot_be_measured_as_eager(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", lambda f, mode, dynamic: lambda *inputs: f(*inputs))
    pipeline = toy_pipeline()
    Compiled(pipeline, "compiled").install()
    for mode in ("eager", "compiled"):
        with pytest.raises(ValueError, match="runs compiled already"):
            Compiled(pipeline, mode)
