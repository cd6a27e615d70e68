from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from toys import PROMPTS, NamedReward, ToyReward, encode, noise_for, noted_waits, stir

from hypernoise.methods.base import Base
from hypernoise.methods.best_of_n import BestOfN, candidate_seed
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.local_search import LocalSearch
from hypernoise.methods.lora_finetune import LoraFinetune
from hypernoise.methods.protocol import Generated, Method, Request, Spent
from hypernoise.methods.reno import Reno
from hypernoise.methods.warm_start import WarmStart, warm_best_of_n
from hypernoise.methods.whitening import nearest_white_noise
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.noise import seeded_noise
from hypernoise.rewards.preprocessing import normalized
from hypernoise.rewards.protocol import Features

SEEDS = [101, 102, 103]
#: float32 rounding of another batch size, grown by the iterations of a search.
BATCH_TOLERANCE = 2e-4


class Spy:
    """A generator that remembers what it was asked to sample, with memory for ``room`` images."""

    def __init__(self, generator: Generator, room: int = 1000) -> None:
        self._generator = generator
        self._room = room
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
        if len(noise) > self._room:
            raise torch.OutOfMemoryError("no room")
        return self._generator.sample(noise, conditioning, steps, seeds)


def run(
    method: Method, generator: Any, reward: Any = None, n: int = 3, steps: int = 1
) -> Generated:
    conditioning = encode(generator, n)
    features = reward.encode(conditioning.prompts) if reward else None
    noise = noise_for(generator, n)
    return method.run(Request(generator, conditioning, noise, SEEDS[:n], steps, reward, features))


def run_one_by_one(method: Method, generator: Any, reward: Any, n: int = 3) -> list[Generated]:
    conditioning, noise = encode(generator, n), noise_for(generator, n)
    features = reward.encode(conditioning.prompts)
    return [
        method.run(
            Request(
                generator,
                conditioning.rows([i]),
                noise[i : i + 1],
                SEEDS[i : i + 1],
                reward=reward,
                features=features.rows([i]),
            )
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


@pytest.mark.parametrize("form", [True, "per_layer", "in_place"])
def test_merged_hypernoise_draws_what_the_adapter_draws(
    generator: Generator, form: bool | str
) -> None:
    network = NoiseNetwork(generator, 4, 8.0)
    stir(network.adapter, 0.05)
    expected = run(HyperNoise(network), generator, steps=2)
    before = {name: weight.clone() for name, weight in generator.backbone.named_parameters()}
    merged = HyperNoise(network, merged=form)
    generated = run(merged, generator, steps=2)
    moved = expected.noise - noise_for(generator, 3)
    assert moved.abs().max() > 0.01
    # Merging adds before it multiplies: other rounding, same numbers.
    torch.testing.assert_close(generated.noise, expected.noise, rtol=0, atol=2e-4)
    torch.testing.assert_close(generated.images, expected.images, rtol=0, atol=1e-3)
    assert_plain_again(generator, before)


def test_merged_fine_tuning_draws_what_the_adapter_draws(generator: Generator) -> None:
    tuner = FineTuner(generator, 4, 8.0)
    stir(tuner.adapter, 0.05)
    expected = run(LoraFinetune(tuner), generator, steps=2)
    plain = run(Base(), generator, steps=2)
    assert (expected.images - plain.images).abs().max() > 0.01
    before = {name: weight.clone() for name, weight in generator.backbone.named_parameters()}
    generated = run(LoraFinetune(tuner, merged=True), generator, steps=2)
    # As above: other rounding, same numbers.
    torch.testing.assert_close(generated.images, expected.images, rtol=0, atol=1e-3)
    assert torch.equal(generated.noise, expected.noise)
    assert generated.spent == expected.spent
    assert_plain_again(generator, before)


def assert_plain_again(generator: Generator, before: Mapping[str, Tensor]) -> None:
    """The backbone is the frozen one that it was before, without any LoRA in it."""
    plain = dict(generator.backbone.named_parameters())
    assert not any("lora" in name for name in plain)
    assert all(
        torch.equal(weight, before[_lora_name(name, before)]) for name, weight in plain.items()
    )
    assert torch.equal(run(Base(), generator).images, sampled(generator, noise_for(generator, 3)))


def test_an_unknown_form_of_merging_is_refused(network: NoiseNetwork) -> None:
    with pytest.raises(
        ValueError, match=r"unknown value of merged 'per_model'.*in_place.*per_layer"
    ):
        HyperNoise(network, merged="per_model")


def test_fine_tuning_is_merged_or_not(tuner: FineTuner) -> None:
    with pytest.raises(ValueError, match=r"merged must be true or false .*, got 'per_layer'"):
        LoraFinetune(tuner, merged="per_layer")  # type: ignore[arg-type]


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


def test_noise_network_and_fine_tuning_have_matched_parameters(generator: Generator) -> None:
    network, tuner = NoiseNetwork(generator, 3, 6.0), FineTuner(generator, 3, 6.0)
    assert network.n_parameters == tuner.n_parameters > 0
    tuner.adapter.remove()
    network.adapter.remove()


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


class Visited(NamedTuple):
    """One image of an iteration: its noise, image and reward."""

    noise: Tensor
    image: Tensor
    reward: float


def transcribed_reno(
    generator: Generator, reward: ToyReward, row: int, n: int, lr: float, steps: int = 1
) -> list[Visited]:
    """ReNO of one image in plain formulas, without an optimizer, written from the publication.

    Regulariser 0.01 (1/2 |z|^2 - (d - 1) log |z|), gradient clipped to a norm of 0.1, Nesterov
    momentum 0.9, the sampler's generator seeded anew in every iteration, n - 1 updates.
    """
    conditioning = encode(generator, 3).rows([row])
    features = reward.encode(conditioning.prompts)
    z = noise_for(generator, 3)[row : row + 1].clone()
    velocity = torch.zeros_like(z)
    visited = []
    for iteration in range(n):
        z = z.detach().requires_grad_(True)
        d = z.numel()
        images = generator.sample(z, conditioning, steps, SEEDS[row : row + 1])
        value = reward.score(images, features)[0]
        visited.append(Visited(z.detach(), images.detach()[0], value.item()))
        if iteration == n - 1:
            break
        norm = z.square().sum().sqrt()
        (value - 0.01 * (0.5 * norm**2 - (d - 1) * torch.log(norm))).backward()
        assert z.grad is not None
        ascent = z.grad
        length = ascent.square().sum().sqrt()
        if length > 0.1:
            ascent = ascent * 0.1 / length
        with torch.no_grad():
            velocity = 0.9 * velocity + ascent
            z = z + lr * (ascent + 0.9 * velocity)
    return visited


@pytest.mark.parametrize(("steps", "method", "lr"), [(1, Reno(5), 5.0), (2, Reno(5, 0.5), 0.5)])
def test_reno_follows_its_formulas_step_by_step(
    generator: Generator, toy_reward: ToyReward, steps: int, method: Reno, lr: float
) -> None:
    spy = Spy(generator)
    generated = run(method, spy, toy_reward, steps=steps)
    assert len(spy.noises) == 5
    assert generated.trajectory is not None
    for row in range(3):
        expected = transcribed_reno(generator, toy_reward, row, 5, lr, steps)
        for iteration, visited in enumerate(expected):
            found = spy.noises[iteration][row : row + 1]
            torch.testing.assert_close(found, visited.noise, rtol=0, atol=1e-5)
        rewards = torch.tensor([visited.reward for visited in expected])
        torch.testing.assert_close(generated.trajectory[row], rewards, rtol=0, atol=1e-5)
        best = expected[int(rewards.argmax())]
        torch.testing.assert_close(generated.images[row], best.image, rtol=0, atol=1e-4)
    assert (spy.noises[-1] - spy.noises[0]).abs().max() > 1e-3
    assert all(seeds == SEEDS for seeds in spy.seeds)


def test_the_preset_of_reno_is_the_published_one() -> None:
    preset = Reno()
    assert (preset.iterations, preset.learning_rate, preset.momentum) == (50, 5.0, 0.9)
    assert (preset.grad_clip, preset.regularization, preset.white_gradient) == (0.1, 0.01, False)


def test_half_precision_noise_gives_reno_a_finite_regularizer(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    # Half the squared norm of SD-Turbo's noise, 8192, is fine in float16; that of FLUX is not.
    noise = 30 * noise_for(tiny_sd, 1).half()
    assert not torch.isfinite(0.5 * noise.flatten().square().sum())
    conditioning = encode(tiny_sd, 1)
    features = toy_reward.encode(conditioning.prompts)
    method = Reno(iterations=2, learning_rate=0.5)
    made = method.run(Request(tiny_sd, conditioning, noise, SEEDS[:1], 1, toy_reward, features))
    assert made.noise.dtype == torch.float32
    assert torch.isfinite(made.noise).all()


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
    torch.testing.assert_close(generated.trajectory, rewards)
    for i in range(3):
        assert torch.equal(generated.noise[i], spy.noises[int(best[i])][i])
    torch.testing.assert_close(
        generated.images, sampled(tiny_sd, generated.noise), rtol=0, atol=BATCH_TOLERANCE
    )
    assert generated.spent == Spent(nfe=6, reward_calls=6, backward_passes=5)


def test_one_iteration_of_reno_is_the_base_image(
    generator: Generator, toy_reward: ToyReward
) -> None:
    generated = run(Reno(iterations=1), generator, toy_reward)
    assert torch.equal(generated.images, run(Base(), generator).images)
    assert generated.spent == Spent(nfe=1, reward_calls=1, backward_passes=0)


def test_reno_leaves_no_gradient_behind(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    generated = run(Reno(iterations=3, learning_rate=0.5), tiny_sd, toy_reward)
    kept = (generated.images, generated.noise, generated.rewards, generated.trajectory)
    assert not any(tensor.requires_grad for tensor in kept if tensor is not None)
    assert all(p.grad is None for p in tiny_sd.backbone.parameters())


WHITE = Reno(iterations=5, learning_rate=0.5, regularization=0.0, white_gradient=True)
LOCAL = LocalSearch(neighbors=3, rounds=3, batch_size=5)
RESTART = LocalSearch(neighbors=2, rounds=4, restart=True)
SEARCHES: dict[str, Method] = {
    "best_of_n": BestOfN(n=4),
    "reno": Reno(iterations=5, learning_rate=0.5),
    "white_reno": WHITE,
    "zero_order": LOCAL,
    "random_restart": RESTART,
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


class BreaksOn(ToyReward):
    """A toy reward that spoils the scores of one prompt's images."""

    def __init__(self, name: str, prompt: str, spoil: Callable[[Tensor], Tensor]) -> None:
        super().__init__(name)
        self._prompt = prompt
        self._spoil = spoil

    def score(self, images: Tensor, features: Features) -> Tensor:
        pairs = zip(super().score(images, features), features.prompts, strict=True)
        return torch.stack([self._spoil(s) if text == self._prompt else s for s, text in pairs])


@pytest.mark.parametrize("method", SEARCHES.values(), ids=SEARCHES)
def test_a_search_names_the_image_that_a_reward_fails_on(
    method: Method, tiny_sd: Generator
) -> None:
    reward = BreaksOn("sick", PROMPTS[1], lambda scores: scores * torch.inf)
    with pytest.raises(ValueError, match=f"'sick' returned -inf for .*prompt '{PROMPTS[1]}'"):
        run(method, tiny_sd, reward)


@pytest.mark.parametrize("white", [False, True])
def test_reno_refuses_a_reward_without_a_gradient(tiny_sd: Generator, white: bool) -> None:
    counting = NamedReward("counting", lambda images, _: (images > 0.5).float().mean((1, 2, 3)))
    with pytest.raises(ValueError, match="'counting' has no gradient with regard to the images"):
        run(Reno(iterations=2, white_gradient=white), tiny_sd, counting)


def test_reno_names_a_reward_and_image_whose_gradient_is_no_number(tiny_sd: Generator) -> None:
    # The square root's slope at 0 is infinite, and infinity times 0 is not a number.
    reward = BreaksOn("kinked", PROMPTS[1], lambda scores: scores + (scores * 0).abs().sqrt())
    message = f"gradient of reward 'kinked' is not finite for image 1 .*prompt '{PROMPTS[1]}'"
    with pytest.raises(ValueError, match=message):
        run(Reno(iterations=2), tiny_sd, reward)


def test_white_reno_goes_along_the_white_noise_nearest_to_the_rewards_gradient(
    generator: Generator, toy_reward: ToyReward
) -> None:
    spy = Spy(generator)
    method = Reno(2, 2.0, grad_clip=0.3, regularization=0.0, white_gradient=True)
    run(method, spy, toy_reward)
    noise = noise_for(generator, 3).requires_grad_(True)
    conditioning = encode(generator, 3)
    images = generator.sample(noise, conditioning, 1, SEEDS)
    rewards = toy_reward.score(images, toy_reward.encode(conditioning.prompts))
    (gradient,) = torch.autograd.grad(rewards.sum(), noise)
    white = nearest_white_noise(gradient).flatten(1)
    moved = (spy.noises[1] - spy.noises[0]).flatten(1)
    expected = 2.0 * 1.9 * 0.3 * white / white.norm(dim=1, keepdim=True)
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)
    # Else this would not tell it from the gradient.
    assert (torch.cosine_similarity(gradient.flatten(1), white) < 0.999).all()


@pytest.mark.parametrize("white", [False, True])
def test_reno_waits_for_the_device_once(
    tiny_sd: Generator, monkeypatch: pytest.MonkeyPatch, white: bool
) -> None:
    # As CLIP-like rewards see images.
    reward = NamedReward("seen", lambda im, scores: scores + normalized(im).mean(dim=(1, 2, 3)))
    own = ("methods/reno.py", "rewards/protocol.py", "rewards/preprocessing.py")
    calls = noted_waits(monkeypatch, *own, "hypernoise/noise.py", "hypernoise/methods/whitening.py")
    generated = run(Reno(iterations=4, learning_rate=0.5, white_gradient=white), tiny_sd, reward)
    monkeypatch.undo()
    assert generated.spent.reward_calls == 4
    assert calls == ["tolist"]


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
