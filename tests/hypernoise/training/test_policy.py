"""Noise networks that are trained as a policy, on rewards without a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from small_trainings import BUILT, Killed, _plain_backbone, generator
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence
from toys import PROMPTS, ToyReward

from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.networks.protocol import Drawn
from hypernoise.rewards.protocol import Features
from hypernoise.training.draws import Part
from hypernoise.training.loop import Trained, Training, train
from hypernoise.training.measurements import Row
from hypernoise.training.options import PolicyOptions, SupervisedOptions, TrainingOptions
from hypernoise.training.policy import (
    Policy,
    Rollout,
    advantages,
    kl_to_prior,
    log_ratio,
    surrogate,
    tilted_weights,
    update,
)
from hypernoise.training.validation import Validation

__all__ = ["_plain_backbone", "generator"]

TRAIN = [(f"train/{i}", text) for i, text in enumerate(PROMPTS)]
OPTIONS = PolicyOptions(
    steps=6,
    batch_size=2,
    rank=2,
    alpha=4.0,
    temperature=0.1,
    checkpoint_every=1,
    validate_every=3,
    learning_rate=1e-2,
    policy_samples=3,
    policy_epochs=3,
)
SHAPE = (3, 2, 2)


class Verdict(ToyReward):
    """Redness as a black box: nobody may ask for its gradient."""

    differentiable = False

    def score(self, images: Tensor, features: Features) -> Tensor:
        assert not images.requires_grad
        red, green, blue = images.mean(dim=(2, 3)).unbind(dim=1)
        return torch.tensor((red - 0.5 * (green + blue)).tolist())


class Linear:
    """A generator whose images are its noise, and a reward that is linear in them."""

    name = "linear"
    noise_shape = SHAPE

    def __init__(self) -> None:
        self.slope = torch.linspace(-0.3, 0.5, math.prod(SHAPE)).view(SHAPE)
        self.seen: list[Tensor] = []

    def sample(self, noise: Tensor, *_: Any) -> Tensor:
        self.seen.append(noise)
        return noise

    def score(self, images: Tensor, features: Features) -> Tensor:
        return (images * self.slope).flatten(1).sum(dim=1)


def fresh(
    generator: Generator, folder: Path, options: PolicyOptions = OPTIONS, **rest: Any
) -> tuple[NoiseNetwork, Trained]:
    network = NoiseNetwork(generator, options.rank, options.alpha, seed=options.seed)
    BUILT.append(network)
    return network, train(Training(network, Verdict(), TRAIN, options, folder, **rest))


def weights(network: NoiseNetwork) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def part(n: int, age: int = 0, step: int = 1) -> Part:
    noise = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(step))
    nothing = Conditioning({}, ("",) * n)
    return Part(step, age, range(n), noise, list(range(n)), nothing, nothing)


def policy_of(world: Linear, delta: Tensor, options: PolicyOptions) -> Policy:
    """The policy of a network that moves every noise by ``delta``."""
    network = SimpleNamespace(
        generator=world,
        delta=lambda noise, _: delta.expand(len(noise), *SHAPE),
        parameters=lambda: [delta],
    )
    return Policy(network, world, options)  # type: ignore[arg-type]


def normal(mean: Tensor, sigma: float) -> Independent:
    return Independent(Normal(mean, torch.full_like(mean, sigma)), len(SHAPE))


def moved(sigma: float = 0.4) -> tuple[Tensor, Tensor, Rollout, Tensor]:
    """Displacements after and before an update, what was drawn before it, and the noises."""
    source = torch.Generator().manual_seed(0)
    x0, old, new = (torch.randn(4, *SHAPE, generator=source) for _ in range(3))
    directions = torch.randn(5, 4, *SHAPE, generator=source)
    rewards = torch.randn(5, 4, generator=source)
    drawn = math.sqrt(1 - sigma**2) * x0 + old + sigma * directions
    return x0, new, Rollout(old, directions, rewards), drawn


def test_the_kl_to_the_prior_is_the_closed_form_of_two_gaussians() -> None:
    for sigma in (0.2, 1.0):
        x0, new, *_ = moved(sigma)
        center = math.sqrt(1 - sigma**2) * x0
        exact = kl_divergence(normal(center + new, sigma), normal(center, sigma))
        torch.testing.assert_close(kl_to_prior(new, sigma), exact, rtol=1e-4, atol=1e-4)
    # With s = 1 the prior given x0 is the standard normal law itself.
    standard = normal(torch.zeros_like(new), 1.0)
    torch.testing.assert_close(kl_to_prior(new, 1.0), kl_divergence(normal(new, 1.0), standard))


def test_the_log_ratio_is_that_of_the_two_densities() -> None:
    sigma = 0.4
    x0, new, rollout, drawn = moved(sigma)
    center = math.sqrt(1 - sigma**2) * x0
    after = normal(center + new, sigma).log_prob(drawn)
    before = normal(center + rollout.delta, sigma).log_prob(drawn)
    found = log_ratio(new, rollout, sigma)
    torch.testing.assert_close(found, after - before, rtol=1e-4, atol=1e-3)
    assert torch.equal(log_ratio(rollout.delta, rollout, sigma), torch.zeros(5, 4))


def test_an_untrained_policy_draws_standard_normal_noise() -> None:
    world, still = Linear(), torch.zeros(SHAPE, requires_grad=True)
    options = OPTIONS.changed(policy_sigma=0.6, policy_samples=2)
    policy_of(world, still, options).of(part(4000))
    for noise in world.seen:
        torch.testing.assert_close(noise.var(), torch.tensor(1.0), rtol=0.03, atol=0)
    # The samples of an image share its own noise, and with it some of their variance.
    first, second = (noise.flatten() for noise in world.seen)
    assert torch.corrcoef(torch.stack([first, second]))[0, 1] == pytest.approx(1 - 0.36, abs=0.03)


def test_the_gradient_is_that_of_the_reward_and_the_kl_on_average() -> None:
    world, sigma, temperature = Linear(), 0.5, 0.5
    delta = torch.full(SHAPE, 0.1, requires_grad=True)
    options = OPTIONS.changed(policy_sigma=sigma, temperature=temperature, policy_samples=4)
    found, rollout = policy_of(world, delta, options).of(part(20_000))
    loss, measured = update(found, rollout, options)
    (loss + kl_to_prior(found, sigma).mean()).backward()
    exact = delta.detach() / sigma**2 - world.slope / temperature
    assert delta.grad is not None
    torch.testing.assert_close(delta.grad, exact, rtol=0, atol=0.03)
    assert measured["ratio"] == 1.0
    assert measured["clipped_share"] == 0.0


def test_the_tilted_weights_find_the_mean_of_the_tilted_law() -> None:
    # Of a linear reward the tilted law is the prior, moved along the slope.
    world, sigma, temperature = Linear(), 0.5, 0.5
    delta = torch.full(SHAPE, 0.1, requires_grad=True)
    options = OPTIONS.changed(
        policy_sigma=sigma,
        temperature=temperature,
        policy_samples=20_000,
        policy_update="weighted",
    )
    given = part(1)
    _, rollout = policy_of(world, delta, options).of(given)
    weighted = tilted_weights(rollout, options).view(-1, 1, 1, 1, 1)
    drawn = torch.stack(world.seen)
    expected = math.sqrt(1 - sigma**2) * given.noise + sigma**2 * world.slope / temperature
    torch.testing.assert_close((weighted * drawn).sum(dim=0), expected, rtol=0, atol=0.05)


def test_only_ratios_within_the_clip_pull_further() -> None:
    ratio = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.5])
    up, down = (surrogate(ratio, torch.tensor(sign), 0.2).tolist() for sign in (1.0, -1.0))
    assert up == pytest.approx([0.5, 0.9, 1.0, 1.1, 1.2])
    assert down == pytest.approx([-0.8, -0.9, -1.0, -1.1, -1.5])


def test_a_ratio_beyond_all_bounds_leaves_the_loss_finite() -> None:
    _, new, rollout, _ = moved(0.4)
    far = Rollout(rollout.delta, 1e4 * rollout.directions, torch.zeros(5, 4))
    loss, _ = update(new, far, OPTIONS.changed(policy_sigma=0.4))
    assert loss.isfinite()


def test_advantages_compare_a_reward_with_the_others_of_its_image() -> None:
    rewards = torch.tensor([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    alone = advantages(rewards, "leave_one_out")
    assert alone[:, 0].tolist() == pytest.approx([1 - 4.0, 2 - 3.5, 6 - 1.5])
    normalised = advantages(rewards, "normalised")
    assert normalised[:, 0].std().item() == pytest.approx(1.0, rel=1e-4)
    # Equal rewards say nothing, and are no division by zero.
    assert not alone[:, 1].any()
    assert not normalised[:, 1].any()


class Shift:
    """A network that moves every noise alike, of a generator whose pixels are its noise's."""

    kind = "shift"
    shape: ClassVar[dict[str, float]] = {}
    n_parameters = 48

    def __init__(self) -> None:
        self.generator: Any = SimpleNamespace(
            noise_shape=(3, 4, 4),
            sample=lambda noise, *_: torch.sigmoid(noise),
            encode=lambda prompts: Conditioning({}, tuple(prompts)),
            backbone=None,
        )
        self._shift = nn.Parameter(torch.zeros(3, 4, 4))

    def parameters(self) -> list[nn.Parameter]:
        return [self._shift]

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        return self._shift.expand_as(noise)

    def draw(self, noise: Tensor, conditioning: Conditioning, *_: Any) -> Drawn:
        delta = self.delta(noise, conditioning)
        return Drawn(torch.sigmoid(noise + delta), delta)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    "changed", [{}, {"policy_advantage": "normalised"}, {"policy_update": "weighted"}]
)
def test_a_reward_without_gradient_rises(tmp_path: Path, changed: dict[str, Any]) -> None:
    options = OPTIONS.changed(
        steps=60,
        batch_size=16,
        policy_samples=8,
        policy_epochs=2,
        policy_sigma=0.5,
        temperature=0.01,
        learning_rate=0.03,
        validate_every=60,
        checkpoint_every=60,
        **changed,
    )
    network, validation = Shift(), Validation(TRAIN, images_per_prompt=16)
    given = Training(network, Verdict(), TRAIN, options, tmp_path, validation)
    before, after = (row.values for row in train(given).rows if row.kind == "validation")
    assert after["reward"] > before["reward"] + 0.05
    # Red goes up, and green and blue go down.
    red, green, blue = network.parameters()[0].mean((1, 2))
    assert red > 0.1
    assert green < -0.05
    assert blue < -0.05


def test_rows_say_what_a_policy_measures(generator: Generator, tmp_path: Path) -> None:
    _, trained = fresh(generator, tmp_path)
    rows = [row.values for row in trained.rows if row.kind == "train"]
    # The first of three epochs compares the network with itself.
    assert [row["ratio"] == 1.0 for row in rows] == [True, False, False] * 2
    for row in rows:
        expected = row["half_squared_norm_nats"] / OPTIONS.policy_sigma**2
        assert row["kl_nats"] == pytest.approx(expected, rel=1e-4)
        assert row["penalty"] == pytest.approx(row["kl_nats"], rel=1e-4)


def test_a_policy_that_was_killed_between_epochs_ends_bit_for_bit_like_a_whole_one(
    generator: Generator, tmp_path: Path
) -> None:
    whole, expected = fresh(generator, tmp_path / "whole")

    def kill(row: Row) -> None:
        if row.step == 5:
            raise Killed

    with pytest.raises(Killed):
        fresh(generator, tmp_path / "cut", OPTIONS.changed(sync_every=1), on_row=kill)
    resumed, found = fresh(generator, tmp_path / "cut")
    assert torch.equal(weights(resumed), weights(whole))
    for ours, theirs in zip(found.rows, expected.rows, strict=True):
        assert {**ours.values, "seconds": 0} == {**theirs.values, "seconds": 0}


def test_accumulated_batches_train_like_one_large_one(generator: Generator, tmp_path: Path) -> None:
    def trained(folder: str, batch_size: int, accumulation: int) -> Sequence[float]:
        options = OPTIONS.changed(
            batch_size=batch_size, accumulation=accumulation, optimizer="sgd", steps=3
        )
        network, _ = fresh(generator, tmp_path / folder, options)
        found: list[float] = weights(network).tolist()
        return found

    one, many = trained("one", 4, 1), trained("many", 2, 2)
    assert many == pytest.approx(one, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"policy_samples": 1}, "policy_samples"),
        ({"policy_sigma": 0.0}, "policy_sigma"),
        ({"policy_update": "ppo"}, "clipped"),
        ({"distil_steps": 1}, "distil_steps"),
    ],
)
def test_impossible_options_of_a_policy_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPTIONS.changed(**changed)


@pytest.mark.parametrize(
    "options", [OPTIONS, SupervisedOptions(steps=1, rank=2, alpha=4.0)], ids=["policy", "pairs"]
)
def test_a_fine_tuner_moves_no_noise_and_is_refused(
    generator: Generator, tmp_path: Path, options: TrainingOptions
) -> None:
    tuner = FineTuner(generator, 2, 4.0)
    BUILT.append(tuner)
    with pytest.raises(ValueError, match="lora_finetune network needs LoraOptions"):
        train(Training(tuner, Verdict(), TRAIN, options, tmp_path))
