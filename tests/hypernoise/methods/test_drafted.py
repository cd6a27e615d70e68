from __future__ import annotations

import pytest
import torch
from method_runs import BATCH_TOLERANCE, SEEDS, run, run_one_by_one
from toys import ToyReward, encode, noise_for

from hypernoise.methods.best_of_n import BestOfN, candidates_of
from hypernoise.methods.drafted import DraftedBestOfN
from hypernoise.methods.protocol import Spent
from hypernoise.models.protocol import Generator


def test_the_best_drafts_are_finished_and_the_best_of_these_is_returned(
    generator: Generator, toy_reward: ToyReward
) -> None:
    n, keep, steps = 6, 2, 3
    generated = run(DraftedBestOfN(n=n, keep=keep), generator, toy_reward, steps=steps)
    conditioning, features = encode(generator, 3), toy_reward.encode(encode(generator, 3).prompts)
    drawn = list(candidates_of(noise_for(generator, 3), SEEDS, n))
    for image in range(3):
        own = drawn[image * n : (image + 1) * n]
        noise, seeds = torch.stack([c.noise for c in own]), [c.seed for c in own]
        rows = conditioning.rows([image] * n)
        with torch.no_grad():
            drafts = generator.sample(noise, rows, 1, seeds)
            whole = generator.sample(noise, rows, steps, seeds)
        of_drafts = toy_reward.score(drafts, features.rows([image] * n))
        finished = of_drafts.argsort(descending=True)[:keep].tolist()
        rewards = toy_reward.score(whole, features.rows([image] * n))
        best = max(finished, key=lambda place: float(rewards[place]))
        assert torch.equal(generated.noise[image], noise[best])
        torch.testing.assert_close(
            generated.images[image], whole[best], rtol=0, atol=BATCH_TOLERANCE
        )
    assert generated.spent == Spent(nfe=n + keep * steps, reward_calls=n + keep)
    assert generated.trajectory is None


def test_drafts_with_all_steps_are_the_images_of_best_of_n(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    drafted = run(DraftedBestOfN(n=4, keep=2), tiny_sd, toy_reward)
    plain = run(BestOfN(n=4), tiny_sd, toy_reward)
    assert torch.equal(drafted.images, plain.images)
    assert drafted.spent == plain.spent


def test_drafts_do_not_depend_on_batches(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    together = run(DraftedBestOfN(n=4, keep=2), tiny_sd, toy_reward)
    in_parts = run(DraftedBestOfN(n=4, keep=2, batch_size=3), tiny_sd, toy_reward)
    alone = run_one_by_one(DraftedBestOfN(n=4, keep=2), tiny_sd, toy_reward)
    assert torch.equal(together.noise, in_parts.noise)
    assert torch.equal(together.noise, torch.cat([g.noise for g in alone]))


@pytest.mark.parametrize(
    "given", [{"n": 0}, {"keep": 0}, {"draft_steps": 0}, {"n": 3, "keep": 4}, {"batch_size": 0}]
)
def test_numbers_that_make_no_search_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="keep <= n"):
        DraftedBestOfN(**given)
