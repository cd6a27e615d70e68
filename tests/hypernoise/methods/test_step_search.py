"""Searches between sampling steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from method_runs import BATCH_TOLERANCE, Spy, run, run_one_by_one, sampled
from toys import NamedReward, ToyReward, noise_for

from hypernoise.methods.best_of_n import BestOfN
from hypernoise.methods.fk_steering import FkSteering
from hypernoise.methods.protocol import Method, Spent
from hypernoise.methods.step_search import Path, RolloverBudget, VerifierThreshold
from hypernoise.models.protocol import Generator

STEPS = 4
#: Above whatever the toy reward gives, so that no step is left early.
NEVER = VerifierThreshold(n=3, threshold=1.0)
METHODS: dict[str, Method] = {
    "fk_steering": FkSteering(n=3, strength=1000.0),
    "rollover_budget": RolloverBudget(n=3),
    "verifier_threshold": NEVER,
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.mark.parametrize(
    "method",
    [FkSteering(n=1), RolloverBudget(n=1), VerifierThreshold(n=1), VerifierThreshold(5, -9.0)],
    ids=["fk_steering", "rollover_budget", "verifier_threshold", "every step passes"],
)
def test_without_a_search_the_image_is_the_base_s(
    method: Method, generator: Generator, toy_reward: ToyReward
) -> None:
    found = run(method, generator, toy_reward, steps=STEPS)
    noise = noise_for(generator, 3)
    assert torch.equal(found.images, sampled(generator, noise, steps=STEPS))
    assert torch.equal(found.noise, noise)
    assert found.spent.nfe == STEPS


@pytest.mark.parametrize("potential", ["max", "difference", "sum"])
def test_steering_without_strength_is_best_of_n(
    potential: Any, generator: Generator, toy_reward: ToyReward
) -> None:
    steering = FkSteering(n=4, strength=0.0, potential=potential)
    found = run(steering, generator, toy_reward, steps=STEPS)
    plain = run(BestOfN(n=4), generator, toy_reward, steps=STEPS)
    torch.testing.assert_close(found.images, plain.images, rtol=0, atol=BATCH_TOLERANCE)
    assert torch.equal(found.noise, plain.noise)
    assert found.spent == Spent(nfe=4 * STEPS, reward_calls=4 * STEPS)


@every_method
def test_searches_between_steps_earn_more_than_the_base_at_what_they_say(
    method: Method, generator: Generator, toy_reward: ToyReward
) -> None:
    spy = Spy(generator)
    found = run(method, spy, toy_reward, steps=STEPS)
    assert found.rewards is not None
    assert found.spent.nfe == found.spent.reward_calls == 3 * STEPS
    # Each call makes one step of every particle.
    assert sum(map(len, spy.noises)) == 3 * found.spent.nfe
    base = run(type(method)(n=1), generator, toy_reward, steps=STEPS)  # type: ignore[call-arg]
    assert base.rewards is not None
    assert found.rewards.mean() > base.rewards.mean()
    features = toy_reward.encode(("a photo of a red circle", "a photo of two blue moons"))
    scores = toy_reward.score(found.images[:2], features)
    torch.testing.assert_close(found.rewards[:2], scores, rtol=0, atol=1e-5)


@every_method
def test_any_budget_beyond_the_base_s_earns_more(
    method: Method, tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    earned = []
    for n in (1, 3, 9):
        method.n = n  # type: ignore[attr-defined]
        found = run(method, tiny_sd, toy_reward, steps=STEPS)
        assert found.rewards is not None
        earned.append(float(found.rewards.mean()))
    method.n = 3  # type: ignore[attr-defined]
    assert min(earned[1:]) > earned[0]


@every_method
def test_searches_between_steps_do_not_depend_on_the_batch(
    method: Method, tiny_sana: Generator, toy_reward: ToyReward
) -> None:
    together = run(method, tiny_sana, toy_reward, steps=STEPS)
    alone = run_one_by_one(method, tiny_sana, toy_reward, steps=STEPS)
    images = torch.cat([each.images for each in alone])
    torch.testing.assert_close(together.images, images, rtol=0, atol=BATCH_TOLERANCE)
    again = run(method, tiny_sana, toy_reward, steps=STEPS)
    assert torch.equal(again.images, together.images)
    # Where memory suffices for two, batches are begun anew with what the samplers drew put back.
    short = run(method, Spy(tiny_sana, room=2), toy_reward, steps=STEPS)
    torch.testing.assert_close(short.images, together.images, rtol=0, atol=BATCH_TOLERANCE)
    method._batches.size = 64  # type: ignore[attr-defined]


@every_method
def test_one_sampling_step_is_refused(
    method: Method, tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    spy = Spy(tiny_sd)
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        run(method, spy, toy_reward)
    with pytest.raises(ValueError, match="given none"):
        run(method, spy, steps=STEPS)
    assert not spy.noises


def test_an_image_that_passes_early_costs_less_and_says_so(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    plain = run(VerifierThreshold(n=1), tiny_sd, toy_reward, steps=STEPS)
    assert plain.rewards is not None
    between = float(plain.rewards.sort().values[:2].mean())
    found = run(VerifierThreshold(n=6, threshold=between), tiny_sd, toy_reward, steps=STEPS)
    assert found.each is not None
    costs = [spent.nfe for spent in found.each]
    assert min(costs) < max(costs) <= 6 * STEPS
    assert found.spent.nfe == max(costs)
    alone = run_one_by_one(VerifierThreshold(6, between), tiny_sd, toy_reward, steps=STEPS)
    assert [each.spent for each in alone] == found.each


def path(level: int, **changes: Any) -> Path:
    made = Path(None, 0, STEPS, left=10, allowance=4, level=level)  # type: ignore[arg-type]
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_what_an_early_success_leaves_rolls_over() -> None:
    budget = RolloverBudget(n=4)
    assert not budget.accepts(path(0), 1.0)
    assert budget.accepts(path(1, best=0.5), 0.6)
    assert not budget.accepts(path(1, best=0.5), 0.5)
    assert not budget.accepts(path(STEPS - 1, best=0.5), 0.6)
    assert budget.allowance(path(2), unused=3) == 7


def test_a_threshold_leaves_one_pass_for_each_later_step() -> None:
    budget = VerifierThreshold(threshold=0.5)
    assert budget.accepts(path(0), 0.6)
    assert not budget.accepts(path(0), 0.5)
    assert [budget.allowance(path(level), 0) for level in range(STEPS)] == [7, 8, 9, 10]


def test_rewards_draw_particles_in_proportion_to_their_weights(tiny_sd: Generator) -> None:
    # Of two particles one is e times as likely: copies of it are redrawn, the first is not.
    scores = iter([[0.0, 100.0] * 3, [5.0, 7.0] * 3])
    reward = NamedReward("told", lambda _images, _scores: torch.tensor(next(scores)))
    spy = Spy(tiny_sd)
    found = run(FkSteering(n=2, strength=1.0), spy, reward, steps=2)
    candidates = run(BestOfN(n=2), tiny_sd, NamedReward("none", lambda _i, s: s * 0 + 1.0), steps=2)
    assert not torch.equal(found.noise, candidates.noise)
    first, second = spy.noises
    for image in range(3):
        mine = second[2 * image : 2 * image + 2]
        assert not torch.equal(mine[0], mine[1])
        assert torch.equal(found.noise[image], first[2 * image + 1])


@pytest.mark.parametrize(
    ("potential", "expected"),
    [("max", [2.0, 4.0]), ("difference", [3.0, -5.0]), ("sum", [1.0, 3.0])],
)
def test_weights_follow_the_potential(
    potential: Any, expected: list[float], tiny_sd: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rewards of two particles after each of three steps; nothing is resampled, so weights add up.
    told = [[-1.0, 4.0], [2.0, -1.0], [0.0, 0.0]]
    scores = iter(told)
    reward = NamedReward("told", lambda _images, _scores: torch.tensor(next(scores)))
    monkeypatch.setattr("hypernoise.methods.fk_steering._LEAST_EFFECTIVE", 0.0)
    seen: list[torch.Tensor] = []
    softmax = torch.Tensor.softmax

    def noted(weights: torch.Tensor, dim: int) -> torch.Tensor:
        if weights.dtype == torch.float64 and weights.shape == (2,):
            seen.append(weights.clone())
        return softmax(weights, dim)

    monkeypatch.setattr(torch.Tensor, "softmax", noted)
    run(FkSteering(n=2, strength=1.0, potential=potential), tiny_sd, reward, n=1, steps=3)
    assert seen[0].tolist() == told[0]
    assert (seen[1] - seen[0]).tolist() == expected


@pytest.mark.parametrize(
    "given",
    [{"n": 0}, {"eta": 1.5}, {"eta": -0.1}, {"batch_size": 0}],
)
def test_impossible_settings_are_refused(given: dict[str, Any]) -> None:
    for kind in (FkSteering, RolloverBudget, VerifierThreshold):
        with pytest.raises(ValueError, match="n >= 1, batch_size >= 1 and eta from 0 to 1"):
            kind(**given)
        with pytest.raises(ValueError, match="with n 2 needs an eta above 0, got 0"):
            kind(n=2, eta=0.0)
        kind(n=1, eta=0.0)
    for wrong in ({"strength": -1.0}, {"strength": float("nan")}, {"resample_every": 0}):
        with pytest.raises(ValueError, match="strength >= 0 and resample_every >= 1"):
            FkSteering(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown potential 'maxi'; did you mean 'max'"):
        FkSteering(potential="maxi")  # type: ignore[arg-type]
