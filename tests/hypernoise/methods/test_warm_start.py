from __future__ import annotations

import pytest
import torch
from method_runs import Spy, run
from toys import ToyReward, encode, stir

from hypernoise.methods.best_of_n import BestOfN
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.protocol import Spent
from hypernoise.methods.reno import Reno
from hypernoise.methods.warm_start import WarmStart, warm_best_of_n
from hypernoise.networks.noise_network import NoiseNetwork


@pytest.mark.parametrize("merged", [False, True])
def test_a_warm_search_starts_from_hypernoises_image(
    network: NoiseNetwork, toy_reward: ToyReward, merged: bool
) -> None:
    generator = network.generator
    stir(network.adapter, 0.05)
    hyper = run(HyperNoise(network), generator)
    features = toy_reward.encode(encode(generator, 3).prompts)
    first = toy_reward.score(hyper.images, features)
    reno = Reno(iterations=3, learning_rate=0.5)
    if merged:
        network = NoiseNetwork(generator, 4, 8.0, name="to_merge")
        stir(network.adapter, 0.05)
    warm = run(WarmStart(network, reno, merged), generator, toy_reward)
    assert warm.trajectory is not None
    assert warm.rewards is not None
    # Merging adds before it multiplies: other rounding, same numbers.
    torch.testing.assert_close(warm.trajectory[:, 0], first, rtol=0, atol=1e-3)
    assert (warm.rewards > warm.trajectory[:, 0]).all()
    assert warm.spent == Spent(nfe=4, reward_calls=3, backward_passes=2)


def test_warm_best_of_n_moves_every_candidate(network: NoiseNetwork, toy_reward: ToyReward) -> None:
    generator = network.generator
    stir(network.adapter, 0.05)
    cold, warm = Spy(generator), Spy(generator)
    search = BestOfN(n=3, batch_size=9)
    run(search, cold, toy_reward)
    network.generator = warm  # type: ignore[assignment]
    generated = run(warm_best_of_n(network, search), warm, toy_reward)
    network.generator = generator
    conditioning = encode(generator, 3).rows([0, 0, 0, 1, 1, 1, 2, 2, 2])
    with torch.no_grad():
        delta = network.delta(cold.noises[0], conditioning)
    torch.testing.assert_close(warm.noises[0], cold.noises[0] + delta)
    assert generated.spent == Spent(nfe=6, reward_calls=3)
    assert generated.trajectory is not None
    for i, best in enumerate(generated.trajectory.argmax(dim=1)):
        assert torch.equal(generated.noise[i], warm.noises[0][3 * i + int(best)])


def test_a_warm_search_refuses_another_generators_network(
    network: NoiseNetwork, toy_reward: ToyReward
) -> None:
    other = Spy(network.generator)
    for method in (WarmStart(network, Reno(2)), warm_best_of_n(network, BestOfN(2))):
        with pytest.raises(ValueError, match="another generator"):
            run(method, other, toy_reward)
