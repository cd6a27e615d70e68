from __future__ import annotations

import math

import pytest
import torch
from experiments import load

from hypernoise.noise import (
    batch_noise,
    half_squared_norm,
    image_noise,
    image_seed,
    reduced,
    seeded_generator,
    seeded_noise,
)

A_TRAINING_SEED = 36371687384809940348733763253610998168


def test_the_seed_of_an_image_never_changes() -> None:
    # Published results name these images: a change here makes them another experiment's.
    assert image_seed(0, "single_object/0", 0) == 77796855963336796134048179633913403419
    assert image_seed(0, "a", 0, "training") == A_TRAINING_SEED
    expected = torch.tensor([-0.4262119, -0.7362538, 0.4365605])
    torch.testing.assert_close(seeded_noise(2**100 + 1, (3,)), expected)


def test_seeds_differ_in_every_part_of_an_images_identity() -> None:
    seeds = {
        image_seed(experiment, prompt, index, stream)
        for experiment in range(3)
        for prompt in ("a", "b", "1", "a1")
        for index in range(3)
        for stream in ("noise", "training")
    }
    assert len(seeds) == 3 * 4 * 3 * 2
    assert all(0 <= seed < 2**128 for seed in seeds)


@pytest.mark.parametrize("bit", [32, 63, 64, 127])
def test_every_bit_of_a_seed_changes_what_is_drawn(bit: int) -> None:
    other = 5 + 2**bit
    assert not torch.equal(seeded_noise(5, (64,)), seeded_noise(other, (64,)))
    drawn = [torch.randn(64, generator=seeded_generator(seed)) for seed in (5, 5, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_seeded_generator_draws_standard_normal_numbers() -> None:
    noise = torch.randn(100_000, generator=seeded_generator(2**100))
    assert abs(noise.mean().item()) < 5 / math.sqrt(100_000)
    assert abs(noise.std().item() - 1) < 5 / math.sqrt(2 * 100_000)


def test_no_two_noises_of_the_papers_experiment_are_alike() -> None:
    config = load("paper.yaml")
    options = config["training"]["default"]
    size = options["batch_size"] * options.get("accumulation", 1)
    steps = max(layer.get("steps", 0) for layer in config["training"].values())
    training = {
        image_seed(config["seed"], f"step {step}", position, stream)
        for step in range(1, steps + 1)
        for position in range(size)
        for stream in ("training", "training sampler")
    }
    evaluation = {
        image_seed(config["seed"], str(prompt), index, stream)
        for prompt in range(553)
        for index in range(50)
        for stream in ("noise", "search")
    }
    assert len(training) == 2 * steps * size
    assert len(evaluation) == 2 * 553 * 50
    assert not training & evaluation
    # Of their low 32 bits alone, which some generators read, there are fewer.
    low = [seed % 2**32 for seed in (*training, *evaluation)]
    assert len(set(low)) < len(low)


def test_noise_of_an_image_does_not_depend_on_its_batch_or_on_global_randomness() -> None:
    torch.manual_seed(1)
    alone = image_noise(7, "b", 2, (4, 8, 8))
    torch.manual_seed(2)
    batch = batch_noise(7, [("a", 0), ("b", 2), ("b", 3)], (4, 8, 8))
    assert torch.equal(batch[1], alone)
    assert not torch.equal(batch[2], alone)
    assert alone.dtype == torch.float32
    assert alone.device.type == "cpu"


def test_noise_is_standard_normal() -> None:
    noise = image_noise(0, "p", 0, (100_000,))
    assert abs(noise.mean().item()) < 5 / math.sqrt(100_000)
    assert abs(noise.std().item() - 1) < 5 / math.sqrt(2 * 100_000)


def test_no_images_give_an_empty_batch() -> None:
    assert batch_noise(0, [], (4, 8, 8)).shape == (0, 4, 8, 8)


def test_half_the_squared_norm_is_the_kl_between_shifted_gaussians_in_nats() -> None:
    # For a constant displacement the dropped terms vanish and the surrogate is the KL itself.
    delta = torch.linspace(-0.5, 0.5, 12).view(1, 3, 4)
    shifted = torch.distributions.Normal(delta, torch.ones(1, 3, 4))
    standard = torch.distributions.Normal(torch.zeros(1, 3, 4), torch.ones(1, 3, 4))
    kl = torch.distributions.kl_divergence(shifted, standard).sum()
    torch.testing.assert_close(half_squared_norm(delta), kl.view(1))


def test_half_the_squared_norm_is_summed_in_float32() -> None:
    delta = torch.full((2, 65_536), 0.1, dtype=torch.bfloat16)
    norm = half_squared_norm(delta)
    assert norm.dtype == torch.float32
    expected = 0.5 * 65_536 * delta[0, 0].double().item() ** 2
    torch.testing.assert_close(
        norm.double(), torch.full((2,), expected).double(), rtol=1e-5, atol=0
    )


def test_mean_penalty_is_the_sum_over_the_number_of_dimensions() -> None:
    nats = torch.rand(3)
    assert torch.equal(reduced(nats, 20, "sum"), nats)
    torch.testing.assert_close(reduced(nats, 20, "mean") * 20, nats)
