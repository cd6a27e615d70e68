from __future__ import annotations

import torch
from method_runs import SEEDS, Spy, run
from toys import NamedReward, ToyReward

from hypernoise.methods.local_search import LocalSearch
from hypernoise.methods.protocol import Spent
from hypernoise.models.protocol import Generator


def test_zero_order_search_moves_to_the_best_neighbour_and_stays_at_its_distance(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    spy = Spy(tiny_sd)
    method = LocalSearch(neighbors=4, rounds=3, similarity=0.9, batch_size=12)
    generated = run(method, spy, toy_reward)
    assert generated.trajectory is not None
    assert generated.spent == Spent(nfe=13, reward_calls=13)
    starts, *rounds = spy.noises
    for i in range(3):
        pivot, height = starts[i], generated.trajectory[i, 0]
        for turn, candidates in enumerate(rounds):
            own = candidates[4 * i : 4 * i + 4]
            cosines = torch.cosine_similarity(own.flatten(1), pivot.flatten()[None])
            torch.testing.assert_close(cosines, torch.full((4,), 0.9), rtol=0, atol=1e-5)
            norms = own.flatten(1).norm(dim=1)
            torch.testing.assert_close(norms, pivot.norm().expand(4), rtol=1e-5, atol=0)
            rewards = generated.trajectory[i, 1 + 4 * turn : 5 + 4 * turn]
            if rewards.max() > height:
                pivot, height = own[int(rewards.argmax())], rewards.max()
    assert all(set(seeds or ()) == set(SEEDS) for seeds in spy.seeds)


def test_random_restart_draws_fresh_noise_after_a_round_without_progress(
    tiny_sd: Generator,
) -> None:
    # No neighbour is ever better, so every second round has to start anew.
    flat = NamedReward("flat", lambda _images, scores: scores * 0)
    spy = Spy(tiny_sd)
    run(LocalSearch(neighbors=2, rounds=4, restart=True), spy, flat, n=1)
    start, *rounds = spy.noises
    pivot = start[0].flatten()[None]
    for turn, candidates in enumerate(rounds):
        cosines = torch.cosine_similarity(candidates.flatten(1), pivot)
        if turn % 2:
            assert (cosines.abs() < 0.5).all()
            pivot = candidates[0].flatten()[None]
        else:
            torch.testing.assert_close(cosines, torch.full((2,), 0.95), rtol=0, atol=1e-5)
