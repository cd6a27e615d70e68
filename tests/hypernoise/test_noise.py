from __future__ import annotations

import math

import torch

from hypernoise.noise import batch_noise, half_squared_norm, image_noise, image_seed, reduced


def test_the_seed_of_an_image_never_changes() -> None:
    # Published results name these images: a change here makes them another experiment's.
    assert image_seed(0, "single_object/0", 0) == 2108688006199790631
    assert image_seed(0, "single_object/0", 0, "training") == 7954825777315295257


def test_seeds_differ_in_every_part_of_an_images_identity() -> None:
    seeds = {
        image_seed(experiment, prompt, index, stream)
        for experiment in range(3)
        for prompt in ("a", "b", "1", "a1")
        for index in range(3)
        for stream in ("noise", "training")
    }
    assert len(seeds) == 3 * 4 * 3 * 2
    assert all(0 <= seed < 2**63 for seed in seeds)


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
