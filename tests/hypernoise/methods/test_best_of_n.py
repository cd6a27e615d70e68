from __future__ import annotations

import pytest
import torch
from method_runs import BATCH_TOLERANCE, SEEDS, Spy, run, run_one_by_one
from toys import ToyReward, encode, noise_for

from hypernoise.methods.base import Base
from hypernoise.methods.best_of_n import BestOfN, candidate_seed
from hypernoise.methods.protocol import Spent
from hypernoise.models.protocol import Generator
from hypernoise.noise import seeded_noise


def test_best_of_one_is_the_base_image(generator: Generator, toy_reward: ToyReward) -> None:
    generated = run(BestOfN(n=1), generator, toy_reward)
    assert torch.equal(generated.images, run(Base(), generator).images)
    assert generated.spent == Spent(nfe=1, reward_calls=1)


def test_best_of_n_keeps_what_a_plain_search_finds(
    generator: Generator, toy_reward: ToyReward
) -> None:
    n = 5
    generated = run(BestOfN(n=n, batch_size=4), generator, toy_reward)
    conditioning, given = encode(generator, 3), noise_for(generator, 3)
    features = toy_reward.encode(conditioning.prompts)
    assert generated.rewards is not None
    assert generated.trajectory is not None
    chosen = []
    for i, seed in enumerate(SEEDS):
        own = [seeded_noise(candidate_seed(seed, j), generator.noise_shape) for j in range(1, n)]
        candidates = torch.stack([given[i], *own])
        with torch.no_grad():
            images = generator.sample(candidates, conditioning.rows([i] * n))
            rewards = toy_reward.score(images, features.rows([i] * n))
        best = int(rewards.argmax())
        chosen.append(best)
        torch.testing.assert_close(generated.images[i], images[best], rtol=0, atol=BATCH_TOLERANCE)
        assert torch.equal(generated.noise[i], candidates[best])
        torch.testing.assert_close(generated.trajectory[i], rewards, rtol=0, atol=1e-5)
        assert generated.rewards[i] == generated.trajectory[i].max()
    # Else this would say nothing about the choice.
    assert any(best > 0 for best in chosen)


def test_best_of_n_does_not_depend_on_batches(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    together = run(BestOfN(n=4, batch_size=64), tiny_sd, toy_reward)
    in_parts = run(BestOfN(n=4, batch_size=5), tiny_sd, toy_reward)
    alone = run_one_by_one(BestOfN(n=4), tiny_sd, toy_reward)
    assert torch.equal(together.noise, in_parts.noise)
    assert torch.equal(together.noise, torch.cat([g.noise for g in alone]))
    torch.testing.assert_close(together.images, in_parts.images, rtol=0, atol=BATCH_TOLERANCE)


def test_candidates_that_do_not_fit_are_drawn_by_halves_with_the_same_result(
    tiny_sd: Generator, toy_reward: ToyReward, capsys: pytest.CaptureFixture[str]
) -> None:
    spy = Spy(tiny_sd, room=4)
    whole = run(BestOfN(n=4), tiny_sd, toy_reward)
    halved = run(BestOfN(n=4, batch_size=7), spy, toy_reward)
    # The first seven; four and three of them; then the last five of twelve.
    assert [len(noise) for noise in spy.noises] == [7, 4, 3, 4, 1]
    assert torch.equal(halved.noise, whole.noise)
    assert whole.trajectory is not None
    torch.testing.assert_close(halved.trajectory, whole.trajectory, rtol=0, atol=1e-5)
    said = capsys.readouterr().err
    assert "candidates: out of memory with 7 at a time, going on with 4" in said


def test_what_did_not_fit_is_not_tried_again(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    spy, method = Spy(tiny_sd, room=4), BestOfN(n=4, batch_size=7)
    run(method, spy, toy_reward, n=2)
    n_before = len(spy.noises)
    assert len(spy.noises[0]) == 7
    run(method, spy, toy_reward, n=2)
    assert [len(noise) for noise in spy.noises[n_before:]] == [4, 4]


def test_a_candidate_that_does_not_fit_alone_is_the_devices_error(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        run(BestOfN(n=2), Spy(tiny_sd, room=0), toy_reward)


def test_best_of_a_smaller_n_is_the_start_of_the_trajectory(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    more, fewer = (run(BestOfN(n=n), tiny_sd, toy_reward) for n in (6, 3))
    assert more.trajectory is not None
    assert fewer.trajectory is not None
    torch.testing.assert_close(more.trajectory[:, :3], fewer.trajectory, rtol=0, atol=1e-5)


def test_best_of_n_gives_every_candidate_its_own_sampler_seed(
    tiny_sana: Generator, toy_reward: ToyReward
) -> None:
    spy = Spy(tiny_sana)
    generated = run(BestOfN(n=3, batch_size=9), spy, toy_reward, steps=2)
    (seeds,) = spy.seeds
    assert seeds is not None
    assert len(set(seeds)) == 9
    assert list(seeds[::3]) == SEEDS
    assert generated.spent == Spent(nfe=6, reward_calls=3)
