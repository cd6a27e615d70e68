"""Gradient checkpointing: the same gradients from fewer kept activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import PROMPTS, ToyReward, build_generator, encode, noise_for, stir

from hypernoise.models.protocol import Generator
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.merged import MergedNoiseNetwork
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.training.gradient_checkpointing import gradient_checkpointing
from hypernoise.training.loop import Training, train
from hypernoise.training.options import NoiseNetworkOptions

TRAIN = [(f"train/{i}", text) for i, text in enumerate(PROMPTS)]
OPTIONS = NoiseNetworkOptions(
    steps=2, batch_size=2, rank=2, alpha=4.0, temperature=0.1, learning_rate=1e-2, sampling_steps=2
)
LORA: dict[str, type[NoiseNetwork] | type[FineTuner]] = {
    "hypernoise": NoiseNetwork,
    "lora_finetune": FineTuner,
}
#: In every family, a part of the backbone that is repeated.
REPEATED = {
    "SdTurbo": "down_blocks.0.resnets.0.conv1",
    "SanaSprint": "transformer_blocks.0.attn1.to_q",
    "FluxSchnell": "transformer_blocks.0.attn.to_q",
}
#: The same operations on the same numbers; a library may sum in another order where a tensor lies
#: elsewhere in memory.
SAME = {"rtol": 1e-4, "atol": 1e-7}


@contextmanager
def runs_of(module: nn.Module) -> Iterator[list[int]]:
    """How often a module ran: as many entries."""
    runs: list[int] = []
    handle = module.register_forward_pre_hook(lambda _module, _inputs: runs.append(1))
    yield runs
    handle.remove()


@contextmanager
def kept_bytes() -> Iterator[list[int]]:
    """Sizes of the tensors that are kept for the backward pass outside of repeated blocks."""
    sizes: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def trained_weights(
    generator: Generator, kind: str, options: NoiseNetworkOptions, folder: Path
) -> dict[str, Tensor]:
    objective = LORA[kind](generator, options.rank, options.alpha, seed=options.seed)
    # From B = 0, most gradients of the first step are zero either way.
    stir(objective.adapter, scale=0.05)
    train(Training(objective, ToyReward(), TRAIN, options, folder))
    weights = {k: w.detach().clone() for k, w in objective.adapter.named_weights().items()}
    objective.adapter.remove()
    return weights


def first_convolution(generator: Generator) -> nn.Module:
    decoder = generator.pipeline.vae.decoder
    return next(m for m in decoder.up_blocks[0].modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("kind", LORA)
def test_training_ends_with_the_same_weights_and_keeps_less(
    generator: Generator, kind: str, tmp_path: Path
) -> None:
    part = generator.backbone.get_submodule(REPEATED[type(generator).__name__])
    found, runs, sizes = {}, {}, {}
    for repeated in (False, True):
        options = OPTIONS.changed(gradient_checkpointing=repeated)
        with (
            runs_of(part) as of_backbone,
            runs_of(first_convolution(generator)) as of_decoder,
            kept_bytes() as kept,
        ):
            found[repeated] = trained_weights(generator, kind, options, tmp_path / str(repeated))
        runs[repeated] = (len(of_backbone), len(of_decoder))
        sizes[repeated] = sum(kept)
    for key, weight in found[False].items():
        torch.testing.assert_close(found[True][key], weight, **SAME)
    assert runs[True] == tuple(2 * n for n in runs[False])
    assert sizes[True] < 0.6 * sizes[False]


def gradients(
    generator: Generator, loss: Callable[[], Tensor], parameters: list[Any], repeated: bool
) -> list[Tensor]:
    for parameter in parameters:
        parameter.grad = None
    with gradient_checkpointing(generator) if repeated else nullcontext():
        loss().backward()  # type: ignore[no-untyped-call]
    found = [parameter.grad for parameter in parameters]
    assert all(grad is not None and grad.abs().max() > 0 for grad in found)
    return found


def assert_same_gradients(
    generator: Generator, loss: Callable[[], Tensor], parameters: list[Any]
) -> None:
    expected = gradients(generator, loss, parameters, repeated=False)
    found = gradients(generator, loss, parameters, repeated=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **SAME)


def test_two_adapters_in_one_graph_are_each_repeated_as_they_ran(generator: Generator) -> None:
    network = NoiseNetwork(generator, rank=2, alpha=4.0)
    tuner = FineTuner(generator, rank=3, alpha=6.0, seed=1)
    stir(network.adapter, scale=0.05)
    stir(tuner.adapter, scale=0.05)
    noise, conditioning = noise_for(generator, 2), encode(generator)

    def loss() -> Tensor:
        moved = noise + network.delta(noise, conditioning)
        seeds = [0, 1]
        plain = generator.sample(moved, conditioning, 1, seeds)
        tuned = tuner.draw(moved, conditioning, 2, seeds).images
        return plain.square().mean() + tuned.square().mean()

    assert_same_gradients(generator, loss, [*network.parameters(), *tuner.parameters()])
    tuner.adapter.remove()
    network.adapter.remove()


class LastLayerInABlock:
    """SANA as if its last layer were one that is repeated."""

    last_layer = "transformer_blocks.5.attn2.to_out.0"

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)


@pytest.mark.parametrize("merged", [False, True])
def test_left_out_outputs_and_merged_weights_are_repeated(
    tiny_sana: Generator, merged: bool
) -> None:
    generator: Any = LastLayerInABlock(tiny_sana)
    network = NoiseNetwork(generator, rank=2, alpha=4.0, grouped=True)
    stir(network.adapter, scale=0.05)
    parameters: list[Any] = network.parameters()
    used = MergedNoiseNetwork(network) if merged else network
    noise, conditioning = noise_for(tiny_sana, 2).requires_grad_(), encode(tiny_sana)

    def loss() -> Tensor:
        moved = noise + used.delta(noise, conditioning)
        return tiny_sana.sample(moved, conditioning).square().mean()

    assert_same_gradients(tiny_sana, loss, [noise] if merged else [noise, *parameters])
    if not merged:
        network.adapter.remove()


def test_autocast_is_repeated_too(tiny_sana: Generator, tmp_path: Path) -> None:
    options = OPTIONS.changed(steps=1, precision="bf16")
    plain = trained_weights(tiny_sana, "lora_finetune", options, tmp_path / "plain")
    changed = options.changed(gradient_checkpointing=True)
    found = trained_weights(tiny_sana, "lora_finetune", changed, tmp_path / "repeated")
    for key, weight in plain.items():
        torch.testing.assert_close(found[key], weight, **SAME)


def test_passes_without_gradients_and_after_the_training_are_as_ever(
    generator: Generator,
) -> None:
    noise, conditioning = noise_for(generator, 2), encode(generator)
    modules = [*generator.backbone.modules(), *generator.pipeline.vae.modules()]
    before = [set(module.__dict__) for module in modules]
    with torch.no_grad():
        images = generator.sample(noise, conditioning)
        with gradient_checkpointing(generator):
            assert torch.equal(generator.sample(noise, conditioning), images)
        assert torch.equal(generator.sample(noise, conditioning), images)
    assert not generator.backbone.is_gradient_checkpointing
    assert not generator.pipeline.vae.is_gradient_checkpointing
    for names, module in zip(before, modules, strict=True):
        # diffusers leaves the function that it no longer calls.
        assert set(module.__dict__) - names <= {"_gradient_checkpointing_func"}


def test_switches_are_put_back_after_a_repetition_that_fails(tiny_sana: Generator) -> None:
    network = NoiseNetwork(tiny_sana, rank=2, alpha=4.0)
    stir(network.adapter, scale=0.05)
    noise, conditioning = noise_for(tiny_sana, 2), encode(tiny_sana)
    with torch.no_grad():
        predicted = tiny_sana.predict(noise, conditioning)
    block = tiny_sana.backbone.get_submodule("transformer_blocks.3.attn1.to_q")
    with gradient_checkpointing(tiny_sana):
        delta = network.delta(noise, conditioning)
        handle = block.register_forward_pre_hook(lambda _module, _inputs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            delta.sum().backward()  # type: ignore[no-untyped-call]
        handle.remove()
    with torch.no_grad():
        assert torch.equal(tiny_sana.predict(noise, conditioning), predicted)
    network.adapter.remove()


@pytest.mark.parametrize("part", ["backbone", "vae"])
def test_a_class_that_cannot_repeat_is_refused_before_work_starts(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = build_generator("tiny_sd")
    model = generator.backbone if part == "backbone" else generator.pipeline.vae
    monkeypatch.setattr(model, "_supports_gradient_checkpointing", False)
    monkeypatch.setattr(generator, "encode", lambda _texts: math.nan)
    options = OPTIONS.changed(gradient_checkpointing=True)
    with pytest.raises(ValueError, match=f"{type(model).__name__} does not support gradient"):
        trained_weights(generator, "hypernoise", options, tmp_path)


def test_checkpointing_that_somebody_else_enabled_is_refused(tmp_path: Path) -> None:
    generator = build_generator("tiny_sd")
    generator.backbone.enable_gradient_checkpointing()  # type: ignore[operator]
    options = OPTIONS.changed(gradient_checkpointing=True)
    with pytest.raises(ValueError, match="enabled on the UNet2DConditionModel already"):
        trained_weights(generator, "hypernoise", options, tmp_path)
