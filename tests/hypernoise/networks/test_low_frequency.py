from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from paths import REPOSITORY
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from toys import PROMPTS, ToyReward, build_generator, encode, noise_for

from harness.timing.meter import flop_counter
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.protocol import Request
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.audit_options import AuditOptions
from hypernoise.networks.bands import Band
from hypernoise.networks.kl_audit import audit
from hypernoise.networks.low_frequency import (
    LowFrequencyNetwork,
    coefficient_kl,
    cosine_basis,
    prompt_width,
)
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.training.kinds import KINDS
from hypernoise.training.loop import Training, train
from hypernoise.training.options import LowFrequencyOptions
from hypernoise.training.validation import Validation
from hypernoise.weights.saved_lora import CONFIG_FILE

CONFIG = REPOSITORY / "workflows" / "config" / "tiny.yaml"
OPTIONS = LowFrequencyOptions(
    steps=8,
    batch_size=4,
    temperature=0.01,
    learning_rate=1e-2,
    checkpoint_every=4,
    validate_every=8,
    frequencies=3,
    width=16,
    depth=1,
)


def build(generator: Generator, frequencies: int = 3) -> LowFrequencyNetwork:
    return LowFrequencyNetwork(generator, frequencies, width=16, depth=1)


def low_band(generator: Generator, frequencies: int) -> Band:
    return Band(generator, partial(cosine_basis, n_frequencies=frequencies))


def stirred(generator: Generator, scale: float = 0.1) -> LowFrequencyNetwork:
    """A network whose last layer is as if it had been trained."""
    network = build(generator)
    source = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.network.last.parameters():
            weight.copy_(scale * torch.randn(weight.shape, generator=source))
    return network


def test_the_cosine_basis_is_scipys_transform() -> None:
    field = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    found = cosine_basis(8, 3) @ field @ cosine_basis(6, 2).T
    expected = torch.from_numpy(dctn(field.numpy(), norm="ortho")[:3, :2])
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="frequencies must be from 1 to 4, got 5"):
        cosine_basis(4, 5)


def test_the_cosines_are_the_principal_components_of_blurred_noise() -> None:
    n, k = 16, 5
    blur = torch.from_numpy(gaussian_filter1d(np.eye(n), sigma=2.0, axis=0, mode="reflect"))
    # The covariance of white noise behind the blur; its eigenvalues come in rising order.
    components = torch.linalg.eigh(blur @ blur.T).eigenvectors.T.flip(0)[:k]
    overlaps = components @ cosine_basis(n, k).double().T
    torch.testing.assert_close(overlaps.abs(), torch.eye(k).double(), rtol=0, atol=1e-6)


def test_the_basis_is_orthonormal_in_every_familys_noise(generator: Generator) -> None:
    basis = low_band(generator, 3)
    k = basis.n_coefficients
    assert k == basis.shape[0] * 9
    fields = basis.field(torch.eye(k)).flatten(1)
    assert fields.shape == (k, math.prod(generator.noise_shape))
    torch.testing.assert_close(fields @ fields.T, torch.eye(k), rtol=0, atol=1e-5)
    noise = noise_for(generator, 2)
    torch.testing.assert_close(basis.coefficients(noise), noise.flatten(1) @ fields.T)


def test_the_lowest_frequency_is_constant_over_the_latent_grid() -> None:
    generator: Any = build_generator("tiny_flux")
    field = low_band(generator, 1).field(torch.eye(4)[:1])
    grid = generator.grid(field)[0]
    torch.testing.assert_close(grid[0], torch.full_like(grid[0], 1 / grid.shape[-1]))
    assert grid[1:].abs().max() == 0


def test_an_untrained_network_moves_nothing_and_costs_nothing(generator: Generator) -> None:
    network, noise, conditioning = build(generator), noise_for(generator, 2), encode(generator)
    with torch.no_grad():
        drawn = network.draw(noise, conditioning)
        assert torch.equal(drawn.images, generator.sample(noise, conditioning))
    assert drawn.delta is not None
    assert drawn.delta.shape == noise.shape
    assert drawn.delta.abs().max() == 0
    assert drawn.kl is not None
    assert drawn.kl.abs().max() < 1e-6


def test_only_low_frequencies_move_and_they_follow_prompt_and_noise(generator: Generator) -> None:
    network, noise = stirred(generator, 0.2), noise_for(generator, 2)
    conditioning = encode(generator)
    with torch.no_grad():
        delta = network.delta(noise, conditioning)
        basis = network.basis
        torch.testing.assert_close(basis.field(basis.coefficients(delta)), delta)
        other_prompt = network.delta(noise, conditioning.rows([1, 0]))
        # Noise of other high frequencies alone is moved alike.
        high = noise_for(generator, 2, seed=9)
        high = noise + high - basis.field(basis.coefficients(high))
        torch.testing.assert_close(network.delta(high, conditioning), delta, rtol=1e-3, atol=1e-4)
        other_noise = network.delta(noise_for(generator, 2, seed=9), conditioning)
        alone = network.delta(noise[:1], conditioning.rows([0]))
    assert (other_prompt - delta).abs().max() > 1e-3
    assert (other_noise - delta).abs().max() > 1e-3
    torch.testing.assert_close(alone, delta[:1], rtol=1e-4, atol=1e-5)


def test_tokens_beyond_the_mask_do_not_count(tiny_sana: Generator) -> None:
    network, noise, conditioning = stirred(tiny_sana), noise_for(tiny_sana, 2), encode(tiny_sana)
    mask = conditioning.tensors["prompt_attention_mask"]
    tokens = conditioning.tensors["prompt_embeds"] + 7.0 * (mask[..., None] == 0)
    changed = Conditioning({**conditioning.tensors, "prompt_embeds": tokens}, conditioning.prompts)
    assert (mask == 0).any()
    with torch.no_grad():
        before, after = (network.delta(noise, c) for c in (conditioning, changed))
    torch.testing.assert_close(before, after)


def affine(k: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    weight = 0.2 * torch.randn(k, k, generator=source, dtype=torch.float64)
    return weight, torch.randn(k, generator=source, dtype=torch.float64)


def test_the_kl_of_an_affine_map_is_that_of_two_gaussians() -> None:
    k = 6
    weight, shift = affine(k)
    # Mean zero and covariance one: the mean over these coefficients is the expectation.
    points = math.sqrt(k) * torch.cat([torch.eye(k), -torch.eye(k)]).double()
    delta = points @ weight.T + shift
    kl = coefficient_kl(delta, weight.expand(len(points), k, k)).mean()
    moved = torch.distributions.MultivariateNormal(
        shift, (torch.eye(k) + weight) @ (torch.eye(k) + weight).T
    )
    standard = torch.distributions.MultivariateNormal(
        torch.zeros(k).double(), torch.eye(k).double()
    )
    expected = torch.distributions.kl_divergence(moved, standard)
    torch.testing.assert_close(kl, expected, rtol=1e-10, atol=0)


def test_a_singular_map_costs_infinitely_much() -> None:
    kl = coefficient_kl(torch.zeros(1, 3), -torch.eye(3)[None])
    assert kl.item() == math.inf


def test_the_kl_in_the_subspace_is_that_of_the_whole_noise(tiny_sd: Generator) -> None:
    network, noise, conditioning = stirred(tiny_sd), noise_for(tiny_sd, 1), encode(tiny_sd, 1)

    def displacement(noises: Tensor) -> Tensor:
        return network.delta(noises, conditioning.rows([0] * len(noises)))

    with torch.no_grad():
        kl = network.draw(noise, conditioning).kl
    assert kl is not None
    found = audit(displacement, noise[0], AuditOptions(), seed=0)
    assert found.exact
    assert abs(found.dropped) > 1e-3
    assert kl.item() == pytest.approx(found.kl, rel=1e-4)


def test_the_kl_has_gradients_of_finite_differences(tiny_sd: Generator) -> None:
    network, noise, conditioning = stirred(tiny_sd), noise_for(tiny_sd, 2), encode(tiny_sd)
    network.network.double()
    noise = noise.double()
    bias: Any = network.network.blocks[0].inner.bias

    def kl() -> Tensor:
        coefficients, prompt = network.inputs(noise, conditioning)
        return network.kl(coefficients, prompt)[1].sum()

    (gradient,) = torch.autograd.grad(kl(), bias)
    with torch.no_grad():
        direction = torch.zeros_like(bias)
        direction[3] = 1e-5
        difference = 0.0
        for sign in (1, -1):
            bias.add_(sign * direction)
            difference += sign * kl().item() / 2e-5
            bias.sub_(sign * direction)
    assert gradient[3].item() == pytest.approx(difference, rel=1e-5)


def flops(forward: Callable[[Tensor, Conditioning], Tensor], generator: Generator) -> int:
    noise, conditioning = noise_for(generator, 1), encode(generator, 1)
    with torch.no_grad(), flop_counter() as counter:
        forward(noise, conditioning)
    return int(counter.get_total_flops())


def test_it_adds_a_tenth_of_the_lora_networks_flops_at_most(generator: Generator) -> None:
    # At the shipped size. A merged LoRA network takes one pass of the backbone, others more.
    layers = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["training"]
    kind = KINDS["low_frequency"]
    options = kind.checked(kind.known(layers["default"] | layers["low_frequency"]))
    network: Any = kind.build(generator, options)
    assert 0 < 10 * flops(network.delta, generator) < flops(generator.predict, generator)


def run_training(generator: Generator, folder: Path, **changes: Any) -> Any:
    network = build(generator)
    prompts = [(f"train/{i}", text) for i, text in enumerate(PROMPTS)]
    options = OPTIONS.changed(**changes)
    validation = Validation(prompts, 2)
    return network, train(Training(network, ToyReward(), prompts, options, folder, validation))


def test_training_raises_the_reward_at_a_kl_that_is_logged(
    generator: Generator, tmp_path: Path
) -> None:
    changes = {"steps": 60, "checkpoint_every": 60, "validate_every": 60, "learning_rate": 2e-2}
    _, trained = run_training(generator, tmp_path, **changes)
    before, after = (row.values for row in trained.rows if row.kind == "validation")
    assert after["reward"] > before["reward"]
    assert before["kl_nats"] == pytest.approx(0, abs=1e-6)
    assert after["kl_nats"] > 0
    # The exact KL, which is not what half the squared norm says.
    d, half = math.prod(generator.noise_shape), after["half_squared_norm_nats"]
    assert half == pytest.approx(after["delta_rms"] ** 2 * d / 2, rel=1e-3)
    assert after["kl_nats"] != pytest.approx(half, rel=1e-3)
    loss = trained.rows[1].values
    assert loss["loss"] == pytest.approx(loss["penalty"] - loss["reward"] / 0.01, rel=1e-4)


def test_a_trained_network_comes_back_from_its_folder(tiny_sd: Generator, tmp_path: Path) -> None:
    network, _ = run_training(tiny_sd, tmp_path)
    again: Any = KINDS["low_frequency"].load(tiny_sd, tmp_path)
    noise, conditioning = noise_for(tiny_sd, 2), encode(tiny_sd)
    with torch.no_grad():
        found = HyperNoise(again).run(Request(tiny_sd, conditioning, noise, [1, 2]))
        expected = network.draw(noise, conditioning)
    assert torch.equal(found.images, expected.images)
    assert expected.delta is not None
    assert torch.equal(found.noise, noise + expected.delta)
    assert found.spent.nfe == 1


def test_a_continued_training_ends_as_one_without_a_break(
    tiny_sd: Generator, tmp_path: Path
) -> None:
    whole, _ = run_training(tiny_sd, tmp_path / "whole")
    run_training(tiny_sd, tmp_path / "broken", steps=4)
    continued, _ = run_training(tiny_sd, tmp_path / "broken")
    for one, other in zip(whole.parameters(), continued.parameters(), strict=True):
        assert torch.equal(one, other)


def test_weights_follow_from_the_seed(tiny_sd: Generator) -> None:
    first, again, other = (
        KINDS["low_frequency"].build(tiny_sd, OPTIONS.changed(seed=seed)) for seed in (1, 1, 2)
    )
    pairs = zip(first.parameters(), again.parameters(), other.parameters(), strict=True)
    same = [(torch.equal(a, b), torch.equal(a, c)) for a, b, c in pairs]
    assert all(alike for alike, _ in same)
    assert not all(alike for _, alike in same)


def test_another_shape_or_kind_is_refused(tiny_sd: Generator, tmp_path: Path) -> None:
    build(tiny_sd).save(tmp_path / "three")
    with pytest.raises(ValueError, match=r"'frequencies': 3.*'frequencies': 2"):
        build(tiny_sd, frequencies=2).load(tmp_path / "three")
    with pytest.raises(ValueError, match="is not the configuration of a LoRA"):
        KINDS["hypernoise"].load(tiny_sd, tmp_path / "three")
    lora = NoiseNetwork(tiny_sd, rank=2, alpha=2.0)
    lora.save(tmp_path / "lora")
    lora.adapter.remove()
    with pytest.raises(ValueError, match="is not a low-frequency network's configuration"):
        KINDS["low_frequency"].load(tiny_sd, tmp_path / "lora")
    with pytest.raises(FileNotFoundError, match=CONFIG_FILE):
        KINDS["low_frequency"].load(tiny_sd, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="frequencies 3 and width 16 and depth 1, the options"):
        train(Training(build(tiny_sd), ToyReward(), [("a", "b")], LowFrequencyOptions(steps=2)))


def test_weights_of_another_generator_are_refused(tiny_sd: Generator, tmp_path: Path) -> None:
    network = build(tiny_sd)
    network.save(tmp_path)
    network.network.last = torch.nn.Linear(16, 7)
    with pytest.raises(ValueError, match=r"made for another generator.*last\.weight"):
        network.load(tmp_path)


def test_a_backbone_that_does_not_say_its_prompt_width_is_named() -> None:
    with pytest.raises(ValueError, match="Identity does not say how wide"):
        prompt_width(torch.nn.Identity())


def test_a_method_keeps_to_its_generator(tiny_sd: Generator, tiny_sana: Generator) -> None:
    with pytest.raises(ValueError, match="another generator"):
        noise, conditioning = noise_for(tiny_sana, 1), encode(tiny_sana, 1)
        HyperNoise(build(tiny_sd)).run(Request(tiny_sana, conditioning, noise, [1]))


def test_what_is_not_on_the_backbone_cannot_be_merged(tiny_sd: Generator) -> None:
    with pytest.raises(ValueError, match="LowFrequencyNetwork has no LoRA to merge"):
        HyperNoise(build(tiny_sd), merged=True)


def test_every_kind_that_can_be_declared_can_be_built(tiny_sd: Generator) -> None:
    from harness.experiment.components import Trainable

    assert set(get_args(Trainable)) == set(KINDS)
    for kind in KINDS.values():
        network: Any = kind.build(tiny_sd, kind.checked({"steps": 1}))
        assert kind.makes(network)
        assert set(network.shape) == set(kind.sizes)
        assert hasattr(network, "delta") == kind.moves_noise
        if hasattr(network, "adapter"):
            network.adapter.remove()
