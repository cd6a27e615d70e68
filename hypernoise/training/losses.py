"""What a training step draws, and the loss of it.

Loss of a noise network, per image (arXiv 2508.09968, equation 12):
half the squared norm of f(x0, c), minus the reward of g(x0 + f(x0, c), c) over the temperature.
Direct fine-tuning has no such penalty, and only the second term.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hypernoise.models.protocol import Conditioning, encode_all, encode_in_chunks
from hypernoise.networks.protocol import Trainable
from hypernoise.noise import (
    batch_noise,
    clip_each,
    half_squared_norm,
    image_seed,
    reduced,
    seeded_generator,
)
from hypernoise.rewards.protocol import Features, Reward, differentiable_score, shaped_score
from hypernoise.training.measurements import Moved, Prompt, precision, texts_of
from hypernoise.training.options import DisplacementOptions, NoiseNetworkOptions, TrainingOptions
from hypernoise.transfers import on_device


class Part(NamedTuple):
    """Images of one forward pass: B of them, the share of this process.

    Attributes:
        step: optimizer step, from 1.
        positions: their places in the step's batch.
        noise: [B, *noise_shape], x0 on the device.
        seeds: one per image, for the sampler.
        conditioning, features: of their prompts, as the generator and the reward encode them.
    """

    step: int
    positions: Sequence[int]
    noise: Tensor
    seeds: list[int]
    conditioning: Conditioning
    features: Features


class Losses:
    """Training prompts, encoded once, and the loss on images of them.

    Args:
        objective: what is trained.
        reward: what to raise.
        prompts: (prompt_id, text).
        options: of the network's kind.

    Raises:
        ValueError: there are no prompts.
    """

    def __init__(
        self,
        objective: Trainable,
        reward: Reward,
        prompts: Sequence[Prompt],
        options: TrainingOptions,
    ) -> None:
        self._objective, self._reward, self._options = objective, reward, options
        self._device = objective.parameters()[0].device
        self._order = _Order(len(prompts), options.seed)
        texts = texts_of(prompts, "training")
        self._conditioning = encode_all(objective.generator, texts)
        self._features = encode_in_chunks(reward.encode, texts)

    def part(self, step: int, positions: Sequence[int]) -> Part:
        """What the images of a step at some positions of its batch are drawn from."""
        options, shape = self._options, self._objective.generator.noise_shape
        images = [(f"step {step}", position) for position in positions]
        # Whose noise an image has: its own, its step's first one, or the training's first one.
        owners = {"image": images, "step": [(f"step {step}", 0)], "training": [("step 1", 0)]}
        noise = batch_noise(options.seed, owners[options.noise], shape, "training")
        first = (step - 1) * options.batch_size * options.accumulation
        rows = self._order.rows(first + position for position in positions)
        return Part(
            step,
            positions,
            on_device(noise.expand(len(images), *shape).contiguous(), self._device),
            [image_seed(options.seed, *image, "training sampler") for image in images],
            # Once: both the noise network and the generator ask for it on their device.
            self._conditioning.rows(rows).to(self._device),
            self._features.rows(rows),
        )

    def of(self, part: Part) -> dict[str, Tensor]:
        """The loss of a part and what else is measured: scalars by name."""
        options = self._options
        if isinstance(options, NoiseNetworkOptions) and part.step <= options.distil_steps:
            return self._distillation(part, options)
        with precision(options, self._device):
            drawn = self._objective.draw(
                part.noise, part.conditioning, options.sampling_steps, part.seeds
            )
            rewards = differentiable_score(self._reward, drawn.images, part.features)
        loss = -rewards.mean() / options.temperature
        measured = {"reward": rewards.mean()}
        if drawn.delta is not None:
            moved = Moved.by(drawn.delta, drawn.kl)
            penalty = self._penalty(drawn.delta, moved)
            loss = loss + penalty
            named = {name: each.mean() for name, each in moved.named().items()}
            measured |= {"penalty": penalty, **named}
        return {"loss": loss, **measured}

    def _penalty(self, delta: Tensor, moved: Moved) -> Tensor:
        """The loss's second term, a scalar; each image's gradient at ``delta`` is clipped."""
        options = self._options
        assert isinstance(options, DisplacementOptions)  # as its kind says
        if options.image_grad_clip is not None:
            limit = options.image_grad_clip / (options.batch_size * options.accumulation)
            delta.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: clip_each(gradient, limit)
            )
        return reduced(moved.penalised, delta[0].numel(), options.l2_reduction).mean()

    def _distillation(self, part: Part, options: NoiseNetworkOptions) -> dict[str, Tensor]:
        """The loss of a warm start: half the squared distance of x0 + f(x0, c) from the best of
        some noises, by the training reward of the frozen generator's images."""
        network: Any = self._objective  # of a kind that moves noise, as its options say
        with precision(options, self._device):
            best, rewards = self._best_of(part, options)
            delta = network.delta(part.noise, part.conditioning)
        distance = half_squared_norm(delta - (best - part.noise))
        moved = {name: each.mean() for name, each in Moved.by(delta, None).named().items()}
        loss = reduced(distance, delta[0].numel(), options.l2_reduction).mean()
        return {"loss": loss, "distance_nats": distance.mean(), "best_reward": rewards, **moved}

    @torch.no_grad()
    def _best_of(self, part: Part, options: NoiseNetworkOptions) -> tuple[Tensor, Tensor]:
        """The best noise of each image [B, *noise_shape], and the mean reward of these."""
        generator, best = self._objective.generator, part.noise
        rewards = torch.full((len(best),), -math.inf, device=best.device)
        near = options.distil_similarity
        for candidate in range(options.distil_candidates):
            noise = part.noise
            if candidate:
                names = [(f"step {part.step} image {i}", candidate) for i in part.positions]
                shape = generator.noise_shape
                other = batch_noise(options.seed, names, shape, "training candidates")
                other = on_device(other, noise.device)
                noise = near * noise + math.sqrt(1 - near**2) * other
            images = generator.sample(noise, part.conditioning, options.sampling_steps, part.seeds)
            scores = shaped_score(self._reward, images, part.features)
            is_better = scores > rewards
            rewards = torch.where(is_better, scores, rewards)
            best = torch.where(is_better.view(-1, *[1] * (noise.ndim - 1)), noise, best)
        return best, rewards.mean()


class _Order:
    """The order in which prompts are drawn: a new permutation for every pass over them."""

    def __init__(self, n_prompts: int, seed: int) -> None:
        self._n = n_prompts
        self._seed = seed
        self._epoch = -1
        self._permutation: list[int] = []

    def rows(self, draws: Iterable[int]) -> list[int]:
        """The prompt of each draw, counted from the training's start."""
        return [self._row(draw) for draw in draws]

    def _row(self, draw: int) -> int:
        epoch, position = divmod(draw, self._n)
        if epoch != self._epoch:
            seed = image_seed(self._seed, "order", epoch, "training")
            shuffle = seeded_generator(seed)
            self._permutation = torch.randperm(self._n, generator=shuffle).tolist()
            self._epoch = epoch
        return self._permutation[position]
