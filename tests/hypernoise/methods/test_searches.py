from __future__ import annotations

import pytest
import torch
from method_runs import BATCH_TOLERANCE, BreaksOn, run, run_one_by_one, sampled
from toys import PROMPTS, NamedReward, ToyReward, encode, noise_for

from hypernoise.methods.base import Base
from hypernoise.methods.best_of_n import BestOfN
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.local_search import LocalSearch
from hypernoise.methods.protocol import Method
from hypernoise.methods.reno import Reno
from hypernoise.methods.spectral_evolution import SpectralEvolution
from hypernoise.methods.warm_start import WarmStart
from hypernoise.models.protocol import Generator
from hypernoise.networks.noise_network import NoiseNetwork

WHITE = Reno(iterations=5, learning_rate=0.5, regularization=0.0, white_gradient=True)

WHITE_NOISE = Reno(iterations=5, learning_rate=0.5, regularization=0.0, white_noise=True)

LOCAL = LocalSearch(neighbors=3, rounds=3, batch_size=5)

RESTART = LocalSearch(neighbors=2, rounds=4, restart=True)

SEARCHES: dict[str, Method] = {
    "best_of_n": BestOfN(n=4),
    "reno": Reno(iterations=5, learning_rate=0.5),
    "white_reno": WHITE,
    "white_noise_reno": WHITE_NOISE,
    "zero_order": LOCAL,
    "random_restart": RESTART,
    "spectral_evolution": SpectralEvolution(n=9, population=4, elites=2, levels=1, batch_size=5),
}


@pytest.mark.parametrize("method", SEARCHES.values(), ids=SEARCHES)
def test_a_search_improves_its_reward_and_says_what_it_scored(
    method: Method, generator: Generator, toy_reward: ToyReward
) -> None:
    generated = run(method, generator, toy_reward)
    assert generated.rewards is not None
    assert generated.trajectory is not None
    assert generated.trajectory.shape == (3, generated.spent.reward_calls)
    features = toy_reward.encode(encode(generator, 3).prompts)
    base = toy_reward.score(sampled(generator, noise_for(generator, 3)), features)
    torch.testing.assert_close(generated.trajectory[:, 0], base, rtol=0, atol=1e-5)
    torch.testing.assert_close(generated.rewards, generated.trajectory.max(dim=1).values)
    found = toy_reward.score(sampled(generator, generated.noise), features)
    torch.testing.assert_close(found, generated.rewards, rtol=0, atol=1e-5)
    assert (generated.rewards >= base - 1e-6).all()
    assert generated.rewards.mean() > base.mean()


@pytest.mark.parametrize("method", SEARCHES.values(), ids=SEARCHES)
def test_a_search_does_not_depend_on_the_batch(
    method: Method, tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    together = run(method, tiny_sd, toy_reward)
    alone = torch.cat([g.images for g in run_one_by_one(method, tiny_sd, toy_reward)])
    torch.testing.assert_close(together.images, alone, rtol=0, atol=BATCH_TOLERANCE)


@pytest.mark.parametrize("method", SEARCHES.values(), ids=SEARCHES)
def test_a_search_names_a_missing_or_broken_reward(method: Method, tiny_sd: Generator) -> None:
    with pytest.raises(ValueError, match="given none"):
        run(method, tiny_sd)
    nan = NamedReward("nan_reward", lambda _images, scores: scores / 0 * 0)
    with pytest.raises(ValueError, match="'nan_reward' returned nan"):
        run(method, tiny_sd, nan)
    averaging = NamedReward("averaging", lambda _images, scores: scores.mean())
    with pytest.raises(ValueError, match="'averaging' must return one score per image"):
        run(method, tiny_sd, averaging)
    listing = NamedReward("listing", lambda _images, scores: scores.detach().numpy())
    with pytest.raises(ValueError, match=r"'listing' must return .* and returned a ndarray"):
        run(method, tiny_sd, listing)


@pytest.mark.parametrize("method", SEARCHES.values(), ids=SEARCHES)
def test_a_search_names_the_image_that_a_reward_fails_on(
    method: Method, tiny_sd: Generator
) -> None:
    reward = BreaksOn("sick", PROMPTS[1], lambda scores: scores * torch.inf)
    with pytest.raises(ValueError, match=f"'sick' returned -inf for .*prompt '{PROMPTS[1]}'"):
        run(method, tiny_sd, reward)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        BestOfN(n=0)
    with pytest.raises(ValueError, match="batch_size >= 1"):
        BestOfN(batch_size=0)
    for wrong in ({"neighbors": 0}, {"rounds": 0}, {"similarity": 1.0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="local search needs"):
            LocalSearch(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="iterations >= 1, got 0"):
        Reno(iterations=0)
    for rate in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="learning_rate > 0"):
            Reno(learning_rate=rate)


def test_every_method_refuses_zero_steps(network: NoiseNetwork, toy_reward: ToyReward) -> None:
    warm = WarmStart(network, Reno(iterations=2))
    methods: list[Method] = [Base(), HyperNoise(network), warm, *SEARCHES.values()]
    for method in methods:
        with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
            run(method, network.generator, toy_reward, steps=0)
