from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import NamedReward, ToyReward, encode, noise_for, stir

from hypernoise.adapter import FineTuner, NoiseNetwork
from hypernoise.methods.base import Base
from hypernoise.methods.best_of_n import BestOfN, candidate_seed
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.lora_finetune import LoraFinetune
from hypernoise.methods.protocol import Generated, Method, Spent
from hypernoise.methods.reno import Reno
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.noise import seeded_noise

SEEDS = [101, 102, 103]
#: float32 rounding of another batch size, grown by the iterations of a search.
BATCH_TOLERANCE = 2e-4


class Spy:
    """A generator that remembers what it was asked to sample."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.noises: list[Tensor] = []
        self.seeds: list[Sequence[int] | None] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def sample(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        self.noises.append(noise.detach().clone())
        self.seeds.append(seeds)
        return self._generator.sample(noise, conditioning, steps, seeds)


def run(
    method: Method, generator: Any, reward: Any = None, n: int = 3, steps: int = 1
) -> Generated:
    conditioning = encode(generator, n)
    features = reward.encode(conditioning.prompts) if reward else None
    noise = noise_for(generator, n)
    return method.run(generator, reward, conditioning, features, noise, SEEDS[:n], steps)


def run_one_by_one(method: Method, generator: Any, reward: Any, n: int = 3) -> list[Generated]:
    conditioning, noise = encode(generator, n), noise_for(generator, n)
    features = reward.encode(conditioning.prompts)
    return [
        method.run(
            generator,
            reward,
            conditioning.rows([i]),
            features.rows([i]),
            noise[i : i + 1],
            SEEDS[i : i + 1],
        )
        for i in range(n)
    ]


def sampled(generator: Generator, noise: Tensor, n: int = 3, steps: int = 1) -> Tensor:
    with torch.no_grad():
        return generator.sample(noise, encode(generator, n), steps, SEEDS[:n])


def test_base_is_the_generator(generator: Generator) -> None:
    generated = run(Base(), generator, steps=2)
    assert torch.equal(generated.images, sampled(generator, noise_for(generator, 3), steps=2))
    assert torch.equal(generated.noise, noise_for(generator, 3))
    assert generated.spent == Spent(nfe=2, reward_calls=0, backward_passes=0)
    assert generated.rewards is None


def test_untrained_hypernoise_gives_the_base_images(network: NoiseNetwork) -> None:
    generated = run(HyperNoise(network), network.generator)
    assert torch.equal(generated.images, run(Base(), network.generator).images)


def test_hypernoise_draws_from_the_moved_noise_for_one_more_pass(network: NoiseNetwork) -> None:
    generator = network.generator
    stir(network.adapter)
    generated = run(HyperNoise(network), generator, steps=2)
    assert generated.spent == Spent(nfe=3)
    with torch.no_grad():
        delta = network.delta(noise_for(generator, 3), encode(generator, 3))
    torch.testing.assert_close(generated.noise - noise_for(generator, 3), delta)
    assert delta.abs().max() > 0
    assert torch.equal(generated.images, sampled(generator, generated.noise, steps=2))
    assert not generated.images.requires_grad


def test_merged_hypernoise_draws_what_the_adapter_draws(generator: Generator) -> None:
    network = NoiseNetwork(generator, 4, 8.0)
    stir(network.adapter, 0.05)
    expected = run(HyperNoise(network), generator, steps=2)
    before = {name: weight.clone() for name, weight in generator.backbone.named_parameters()}
    merged = HyperNoise(network, merged=True)
    generated = run(merged, generator, steps=2)
    moved = expected.noise - noise_for(generator, 3)
    assert moved.abs().max() > 0.01
    # Merging adds before it multiplies: other rounding, same numbers.
    torch.testing.assert_close(generated.noise, expected.noise, rtol=0, atol=2e-4)
    torch.testing.assert_close(generated.images, expected.images, rtol=0, atol=1e-3)
    # The backbone is the plain frozen one again, without any LoRA in it.
    plain = dict(generator.backbone.named_parameters())
    assert not any("lora" in name for name in plain)
    assert all(
        torch.equal(weight, before[_lora_name(name, before)]) for name, weight in plain.items()
    )
    assert torch.equal(run(Base(), generator).images, sampled(generator, noise_for(generator, 3)))


def _lora_name(name: str, names: Container[str]) -> str:
    parent, _, own = name.rpartition(".")
    return name if name in names else f"{parent}.base_layer.{own}"


def test_fine_tuned_images_come_from_the_same_noise(tuner: FineTuner) -> None:
    generator = tuner.generator
    stir(tuner.adapter)
    generated = run(LoraFinetune(tuner), generator)
    assert torch.equal(generated.noise, noise_for(generator, 3))
    with tuner.active():
        assert torch.equal(generated.images, sampled(generator, generated.noise))
    assert not torch.equal(generated.images, sampled(generator, generated.noise))
    assert generated.spent == Spent(nfe=1)


def test_adapters_of_another_generator_are_refused(
    tiny_sd: Generator, tiny_sana: Generator
) -> None:
    network, tuner = NoiseNetwork(tiny_sd, 2, 2.0), FineTuner(tiny_sd, 2, 2.0)
    methods: list[Method] = [HyperNoise(network), LoraFinetune(tuner)]
    for method in methods:
        with pytest.raises(ValueError, match="another generator"):
            run(method, tiny_sana)
    tuner.adapter.remove()
    network.adapter.remove()


def test_hypernoise_and_fine_tuning_do_not_depend_on_the_batch(generator: Generator) -> None:
    network, tuner = NoiseNetwork(generator, 2, 4.0), FineTuner(generator, 2, 4.0)
    stir(network.adapter, 0.05)
    stir(tuner.adapter, 0.05)
    methods: list[Method] = [HyperNoise(network), LoraFinetune(tuner)]
    for method in methods:
        together = run(method, generator).images
        alone = torch.cat([g.images for g in run_one_by_one(method, generator, ToyReward())])
        torch.testing.assert_close(together, alone, rtol=0, atol=BATCH_TOLERANCE)
    tuner.adapter.remove()
    network.adapter.remove()


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
        running = torch.tensor([rewards[: k + 1].max() for k in range(n)])
        torch.testing.assert_close(generated.trajectory[i], running, rtol=0, atol=1e-5)
        assert generated.rewards[i] == generated.trajectory[i, -1]
    # Else this would say nothing about the choice.
    assert any(best > 0 for best in chosen)


def test_best_of_n_does_not_depend_on_batches(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    together = run(BestOfN(n=4, batch_size=64), tiny_sd, toy_reward)
    in_parts = run(BestOfN(n=4, batch_size=5), tiny_sd, toy_reward)
    alone = run_one_by_one(BestOfN(n=4), tiny_sd, toy_reward)
    assert torch.equal(together.noise, in_parts.noise)
    assert torch.equal(together.noise, torch.cat([g.noise for g in alone]))
    torch.testing.assert_close(together.images, in_parts.images, rtol=0, atol=BATCH_TOLERANCE)


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


def transcribed_reno(
    generator: Generator, reward: ToyReward, row: int, n: int, lr: float, steps: int = 1
) -> list[Tensor]:
    """ReNO of one image in plain formulas, without an optimizer: the noise of every iteration."""
    conditioning = encode(generator, 3).rows([row])
    features = reward.encode(conditioning.prompts)
    z = noise_for(generator, 3)[row : row + 1].clone()
    velocity = torch.zeros_like(z)
    visited = [z]
    for _ in range(n - 1):
        z = z.detach().requires_grad_(True)
        d = z.numel()
        images = generator.sample(z, conditioning, steps, SEEDS[row : row + 1])
        norm = z.square().sum().sqrt()
        objective = reward.score(images, features)[0] - 0.01 * (
            0.5 * norm**2 - (d - 1) * torch.log(norm)
        )
        objective.backward()
        assert z.grad is not None
        ascent = z.grad
        length = ascent.square().sum().sqrt()
        if length > 0.1:
            ascent = ascent * 0.1 / length
        with torch.no_grad():
            velocity = 0.9 * velocity + ascent
            z = z + lr * (ascent + 0.9 * velocity)
        visited.append(z.detach())
    return visited


@pytest.mark.parametrize("steps", [1, 2])
def test_reno_follows_its_formulas_step_by_step(
    generator: Generator, toy_reward: ToyReward, steps: int
) -> None:
    n = 5
    spy = Spy(generator)
    run(Reno(iterations=n, learning_rate=0.5), spy, toy_reward, steps=steps)
    assert len(spy.noises) == n
    for row in range(3):
        expected = transcribed_reno(generator, toy_reward, row, n, lr=0.5, steps=steps)
        for iteration in range(n):
            found = spy.noises[iteration][row : row + 1]
            torch.testing.assert_close(found, expected[iteration], rtol=0, atol=1e-5)
    assert (spy.noises[-1] - spy.noises[0]).abs().max() > 1e-3
    assert all(seeds == SEEDS for seeds in spy.seeds)


def test_reno_clips_every_image_on_its_own(tiny_sd: Generator) -> None:
    # A reward of enormous slope: every gradient is clipped, so that one Nesterov step from rest
    # moves each image by learning rate x clip x (1 + momentum).
    steep = NamedReward("steep", lambda _images, scores: 1e6 * scores)
    spy = Spy(tiny_sd)
    run(Reno(iterations=2, learning_rate=2.0, grad_clip=0.3, momentum=0.5), spy, steep)
    moved = (spy.noises[1] - spy.noises[0]).flatten(1).norm(dim=1)
    torch.testing.assert_close(moved, torch.full((3,), 2.0 * 0.3 * 1.5), rtol=1e-4, atol=0)


def test_reno_keeps_the_best_image_of_its_way(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    spy = Spy(tiny_sd)
    # A step far too large, so that the last image is not the best.
    generated = run(Reno(iterations=6, learning_rate=2000.0), spy, toy_reward)
    features = toy_reward.encode(encode(tiny_sd, 3).prompts)
    rewards = torch.stack(
        [toy_reward.score(sampled(tiny_sd, noise), features) for noise in spy.noises], dim=1
    )
    best = rewards.argmax(dim=1)
    assert (best < 5).any()
    assert generated.rewards is not None
    assert generated.trajectory is not None
    torch.testing.assert_close(generated.rewards, rewards.max(dim=1).values)
    torch.testing.assert_close(generated.trajectory, rewards.cummax(dim=1).values)
    for i in range(3):
        assert torch.equal(generated.noise[i], spy.noises[int(best[i])][i])
    torch.testing.assert_close(
        generated.images, sampled(tiny_sd, generated.noise), rtol=0, atol=BATCH_TOLERANCE
    )
    assert generated.spent == Spent(nfe=6, reward_calls=6, backward_passes=5)


def test_reno_raises_the_reward(generator: Generator, toy_reward: ToyReward) -> None:
    generated = run(Reno(iterations=8, learning_rate=1.0), generator, toy_reward)
    assert generated.trajectory is not None
    assert (generated.trajectory[:, -1] > generated.trajectory[:, 0]).all()


def test_one_iteration_of_reno_is_the_base_image(
    generator: Generator, toy_reward: ToyReward
) -> None:
    generated = run(Reno(iterations=1), generator, toy_reward)
    assert torch.equal(generated.images, run(Base(), generator).images)
    assert generated.spent == Spent(nfe=1, reward_calls=1, backward_passes=0)


def test_reno_does_not_depend_on_the_batch(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    method = Reno(iterations=5, learning_rate=0.5)
    together = run(method, tiny_sd, toy_reward)
    alone = run_one_by_one(method, tiny_sd, toy_reward)
    images = torch.cat([g.images for g in alone])
    torch.testing.assert_close(together.images, images, rtol=0, atol=BATCH_TOLERANCE)


def test_reno_leaves_no_gradient_behind(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    generated = run(Reno(iterations=3, learning_rate=0.5), tiny_sd, toy_reward)
    kept = (generated.images, generated.noise, generated.rewards, generated.trajectory)
    assert not any(tensor.requires_grad for tensor in kept if tensor is not None)
    assert all(p.grad is None for p in tiny_sd.backbone.parameters())


SEARCHES: list[Method] = [BestOfN(n=2), Reno(iterations=2)]


@pytest.mark.parametrize("method", SEARCHES, ids=["best_of_n", "reno"])
def test_a_search_names_a_missing_or_broken_reward(method: Method, tiny_sd: Generator) -> None:
    with pytest.raises(ValueError, match="given none"):
        run(method, tiny_sd)
    nan = NamedReward("nan_reward", lambda _images, scores: scores / 0 * 0)
    with pytest.raises(ValueError, match="'nan_reward' returned nan"):
        run(method, tiny_sd, nan)
    averaging = NamedReward("averaging", lambda _images, scores: scores.mean())
    with pytest.raises(ValueError, match="'averaging' must return one score per image"):
        run(method, tiny_sd, averaging)


def test_reno_names_a_reward_whose_gradient_is_no_number(tiny_sd: Generator) -> None:
    # The square root's slope at 0 is infinite, and infinity times 0 is not a number.
    reward = NamedReward("kinked", lambda _images, scores: scores + (scores * 0).abs().sqrt())
    with pytest.raises(ValueError, match="gradient of reward 'kinked'"):
        run(Reno(iterations=2), tiny_sd, reward)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        BestOfN(n=0)
    with pytest.raises(ValueError, match="batch_size >= 1"):
        BestOfN(batch_size=0)
    with pytest.raises(ValueError, match="iterations >= 1, got 0"):
        Reno(iterations=0)
    with pytest.raises(ValueError, match="learning_rate > 0"):
        Reno(learning_rate=-1.0)


def test_every_method_refuses_zero_steps(network: NoiseNetwork, toy_reward: ToyReward) -> None:
    methods: list[Method] = [Base(), HyperNoise(network), BestOfN(n=2), Reno(iterations=2)]
    for method in methods:
        with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
            run(method, network.generator, toy_reward, steps=0)
