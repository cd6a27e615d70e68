from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from method_runs import BATCH_TOLERANCE, SEEDS, BreaksOn, Spy, run, sampled
from torch import Tensor
from toys import PROMPTS, NamedReward, ToyReward, encode, noise_for, noted_waits

from hypernoise.methods.base import Base
from hypernoise.methods.protocol import Request, Spent
from hypernoise.methods.reno import Reno
from hypernoise.methods.whitening import nearest_white_noise
from hypernoise.models.protocol import Generator
from hypernoise.rewards.preprocessing import normalized


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


def test_the_first_version_of_white_reno_projects_the_noise_after_each_update(
    generator: Generator, toy_reward: ToyReward
) -> None:
    spies = {is_white: Spy(generator) for is_white in (False, True)}
    for is_white, spy in spies.items():
        run(Reno(3, 2.0, regularization=0.0, white_noise=is_white), spy, toy_reward)
    given, first, second = spies[True].noises
    assert torch.equal(given, noise_for(generator, 3))
    torch.testing.assert_close(first, nearest_white_noise(spies[False].noises[1]))
    # What is white noise already stays where it is.
    for noise in (first, second):
        torch.testing.assert_close(nearest_white_noise(noise), noise, rtol=0, atol=1e-4)
    assert (second - first).abs().max() > 1e-3
    assert not torch.allclose(first, spies[False].noises[1], atol=1e-3)


@pytest.mark.parametrize("white", [False, True])
def test_reno_waits_for_the_device_once(
    tiny_sd: Generator, monkeypatch: pytest.MonkeyPatch, white: bool
) -> None:
    # As CLIP-like rewards see images.
    reward = NamedReward("seen", lambda im, scores: scores + normalized(im).mean(dim=(1, 2, 3)))
    own = ("methods/reno.py", "rewards/protocol.py", "rewards/preprocessing.py")
    calls = noted_waits(monkeypatch, *own, "hypernoise/noise.py", "hypernoise/methods/whitening.py")
    method = Reno(iterations=4, learning_rate=0.5, white_gradient=white, white_noise=white)
    generated = run(method, tiny_sd, reward)
    monkeypatch.undo()
    assert generated.spent.reward_calls == 4
    assert calls == ["tolist"]
