"""Spectral evolution search against the Haar transform and the cross-entropy method written out."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from method_runs import SEEDS, Spy, run, run_one_by_one
from torch import Tensor
from toys import NamedReward, ToyReward, build_generator, noise_for

from hypernoise.methods.protocol import Spent
from hypernoise.methods.spectral_evolution import CrossEntropy, SpectralEvolution, haar_band
from hypernoise.models.protocol import Generator
from hypernoise.networks.bands import Band


def haar(field: Tensor, levels: int) -> list[Tensor]:
    """The Haar transform of [..., H, W] by its definition: low band, then details, deepest first.

    A side of odd length repeats its last value.
    """
    details: list[Tensor] = []
    for _ in range(levels):
        height, width = field.shape[-2:]
        padded = torch.cat([field, field[..., -1:, :]], dim=-2)[..., : height + height % 2, :]
        padded = torch.cat([padded, padded[..., -1:]], dim=-1)[..., : width + width % 2]
        parts = padded.unfold(-2, 2, 2).unfold(-2, 2, 2)
        (a, b), (c, d) = parts[..., 0, :].unbind(-1), parts[..., 1, :].unbind(-1)
        details.append(torch.stack([a - b + c - d, a + b - c - d, a - b - c + d]) / 2)
        field = (a + b + c + d) / 2
    return [field, *reversed(details)]


@pytest.mark.parametrize(("size", "levels"), [((8, 8), 1), ((16, 8), 3), ((12, 4), 2), ((4, 6), 0)])
def test_the_band_is_the_low_band_of_a_haar_transform(size: tuple[int, int], levels: int) -> None:
    field = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    found = haar_band(size[0], levels) @ field @ haar_band(size[1], levels).T
    torch.testing.assert_close(found, haar(field, levels)[0])


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 3)])
@pytest.mark.parametrize("levels", [0, 1, 2, 4])
def test_on_any_size_the_band_is_orthonormal_and_apart_from_the_details(
    size: tuple[int, int], levels: int
) -> None:
    rows = [haar_band(n, levels) for n in size]
    for n, basis in zip(size, rows, strict=True):
        assert basis.shape == (-(-n // 2**levels), n)
        torch.testing.assert_close(basis @ basis.T, torch.eye(len(basis)))
    moved = torch.randn(len(rows[0]), len(rows[1]), generator=torch.Generator().manual_seed(0))
    low, *details = haar(rows[0].T @ moved @ rows[1], levels)
    assert all(part.abs().max() < 1e-6 for part in details)
    assert low.abs().max() > 0.1


def test_a_search_is_the_cross_entropy_method_step_by_step(
    generator: Generator, toy_reward: ToyReward
) -> None:
    spy, n, population, n_elites = Spy(generator), 11, 4, 3
    method = SpectralEvolution(n, population, n_elites, levels=1, batch_size=100)
    generated = run(method, spy, toy_reward)
    assert generated.spent == Spent(nfe=n, reward_calls=n)
    assert generated.trajectory is not None
    assert [len(noise) for noise in spy.noises] == [3 * 4, 3 * 4, 3 * 3]
    band, given = Band(generator, partial(haar_band, levels=1)), noise_for(generator, 3)
    for row in range(3):
        own = [noise.unflatten(0, (3, -1))[row] for noise in spy.noises]
        assert torch.equal(own[0][0], given[row])
        drawn = [band.coefficients(noise) for noise in own]
        # Nothing but the band moves.
        for noise, coefficients in zip(own, drawn, strict=True):
            torch.testing.assert_close(
                noise - band.field(coefficients),
                (given[row] - band.field(band.coefficients(given[row : row + 1]))).expand_as(noise),
                rtol=0,
                atol=1e-5,
            )
        mean, deviation = torch.zeros_like(drawn[0][0]), torch.ones_like(drawn[0][0])
        for turn, first in enumerate(range(0, n, population)):
            numbers = range(first, min(first + population, n))
            fresh = CrossEntropy(1, mean)
            normal = torch.stack([fresh.draw(SEEDS[row], index) for index in numbers])
            start = 1 if turn == 0 else 0
            expected = (mean + deviation * normal)[start:]
            torch.testing.assert_close(drawn[turn][start:], expected, rtol=0, atol=1e-4)
            rewards = generated.trajectory[row, : numbers[-1] + 1]
            best = torch.cat(drawn[: turn + 1])[rewards.argsort(descending=True)[:n_elites]]
            mean, deviation = best.mean(0), (best.var(0) + 1e-7).sqrt()
    assert all(set(seeds or ()) <= set(SEEDS) for seeds in spy.seeds)


def test_before_anything_is_learnt_a_candidate_is_standard_normal_noise() -> None:
    generator = build_generator("tiny_sd")
    flat = NamedReward("flat", lambda _images, scores: scores * 0)
    spy = Spy(generator)
    run(SpectralEvolution(200, population=200, levels=1), spy, flat, n=1)
    band = Band(generator, partial(haar_band, levels=1))
    drawn = torch.cat([band.coefficients(noise) for noise in spy.noises])
    # 200 x 64 numbers: four standard errors of their mean, and of their mean square.
    assert drawn.mean().abs() < 4 / drawn.numel() ** 0.5
    assert (drawn.square().mean() - 1).abs() < 4 * (2 / drawn.numel()) ** 0.5


def test_one_elite_leaves_the_spread_and_equal_rewards_leave_the_first() -> None:
    law = CrossEntropy(1, torch.zeros(3))
    draws = [law.draw(7, index) for index in range(4)]
    law.learn([1.0, 2.0, 2.0, 0.0], draws)
    assert torch.equal(law.mean, draws[1])
    assert torch.equal(law.deviation, torch.ones(3))


def test_candidates_do_not_depend_on_batches(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    method = partial(SpectralEvolution, 9, 4, 2, 1)
    together = run(method(), tiny_sd, toy_reward)
    in_parts = run(method(batch_size=2), tiny_sd, toy_reward)
    alone = run_one_by_one(method(), tiny_sd, toy_reward)
    assert torch.equal(together.noise, in_parts.noise)
    assert torch.equal(together.noise, torch.cat([g.noise for g in alone]))


@pytest.mark.parametrize(
    "given", [{"n": 0}, {"population": 0}, {"elites": 0}, {"levels": -1}, {"batch_size": 0}]
)
def test_numbers_that_make_no_search_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="levels >= 0, got"):
        SpectralEvolution(**given)
