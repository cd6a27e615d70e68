"""What a training measures on prompts that it does not see."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hypernoise.models.protocol import encode_all, encode_in_chunks
from hypernoise.networks.protocol import Trainable
from hypernoise.noise import batch_noise, image_seed
from hypernoise.rewards.protocol import Reward, shaped_score
from hypernoise.training.measurements import (
    STANDARD_ERROR,
    Moved,
    Prompt,
    precision,
    readable,
    texts_of,
)
from hypernoise.training.options import TrainingOptions
from hypernoise.training.processes import Processes
from hypernoise.transfers import on_device


@dataclass(frozen=True)
class Validation:
    """What is measured on the way, always from the same noise.

    Attributes:
        prompts: (prompt_id, text) that training does not see.
        images_per_prompt: images per prompt.
        judges: further rewards by the name that their values get.
        batch_size: images drawn together.
    """

    prompts: Sequence[Prompt]
    images_per_prompt: int = 1
    judges: Mapping[str, Reward] = field(default_factory=dict)
    batch_size: int = 64


class Validator:
    """Validation prompts, encoded once, and their fixed noise.

    Args:
        validation: what to measure.
        objective: the network.
        reward: the training reward.
        options: of the training.
        processes: those that train together; each draws its share of the images.

    Raises:
        ValueError: there are no prompts, fewer images than processes, or a judge is called
            ``"reward"``.
    """

    def __init__(
        self,
        validation: Validation,
        objective: Trainable,
        reward: Reward,
        options: TrainingOptions,
        processes: Processes,
    ) -> None:
        if "reward" in validation.judges:
            raise ValueError("a judge cannot be called 'reward': that is the training reward")
        generator = objective.generator
        self._objective = objective
        self._options = options
        self._processes = processes
        self._batch_size = validation.batch_size
        self._rewards = {"reward": reward, **validation.judges}
        texts = texts_of(validation.prompts, "validation")
        self._conditioning = encode_all(generator, texts)
        self._features = {
            name: encode_in_chunks(each.encode, texts) for name, each in self._rewards.items()
        }
        indices = range(validation.images_per_prompt)
        images = [(prompt_id, index) for prompt_id, _ in validation.prompts for index in indices]
        self._n_prompts, self._n_images = len(texts), len(images)
        images = list(processes.share(images))
        self._rows = list(processes.share([row for row in range(len(texts)) for _ in indices]))
        self._noise = batch_noise(options.seed, images, generator.noise_shape, "validation")
        self._seeds = [image_seed(options.seed, *image, "validation sampler") for image in images]

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """The values of a ``"validation"`` row (:class:`hypernoise.training.measurements.Row`)."""
        device = self._objective.parameters()[0].device
        collected: dict[str, list[Tensor]] = {}
        for start in range(0, len(self._rows), self._batch_size):
            for name, each in self._batch(slice(start, start + self._batch_size), device).items():
                collected.setdefault(name, []).append(each)
        sums = {name: self._by_prompt(torch.cat(values)) for name, values in collected.items()}
        self._processes.sum(list(sums.values()))
        means = {name: value.sum().item() / self._n_images for name, value in sums.items()}
        n, errors = self._n_prompts, {}
        if n > 1:
            # Of the sum over prompts, which are what was sampled.
            for name in self._rewards:
                squares = (sums[name] - sums[name].mean()).double().square()
                error = math.sqrt(n / (n - 1) * float(squares.sum()))
                errors[f"{name}{STANDARD_ERROR}"] = error / self._n_images
        n_dimensions = math.prod(self._objective.generator.noise_shape)
        return readable(means | errors, n_dimensions)

    def _batch(self, chosen: slice, device: torch.device) -> dict[str, Tensor]:
        """Values of some of this process's images by their names."""
        rows = self._rows[chosen]
        with precision(self._options, device):
            drawn = self._objective.draw(
                on_device(self._noise[chosen], device),
                self._conditioning.rows(rows).to(device),
                self._options.sampling_steps,
                self._seeds[chosen],
            )
            values = {
                name: shaped_score(reward, drawn.images, self._features[name].rows(rows))
                for name, reward in self._rewards.items()
            }
        if drawn.delta is not None:
            values |= Moved.by(drawn.delta, drawn.kl).named()
        return values

    def _by_prompt(self, values: Tensor) -> Tensor:
        """Values of this process's images, summed over those of each prompt: [prompts]."""
        sums = torch.zeros(self._n_prompts, device=values.device)
        return sums.index_add_(0, torch.tensor(self._rows, device=values.device), values.float())
