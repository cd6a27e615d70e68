"""ReNO: gradient ascent of the reward over one image's noise (arXiv 2406.04312).

Also with a projection to white noise (arXiv 2602.08646): of the reward's gradient, or of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from hypernoise.identity import WORK, depends_on_batch_size
from hypernoise.methods.protocol import Generated, Request, Spent
from hypernoise.methods.whitening import nearest_white_noise
from hypernoise.noise import clip_each
from hypernoise.rewards.protocol import check_values, differentiable_score, shaped_score


@depends_on_batch_size
@dataclass(frozen=True)
class Reno:
    """Optimise the noise of each image with Nesterov SGD and keep the best image on the way.

    Iteration 0 scores the given noise, so ``iterations`` images are scored and the noise is moved
    ``iterations - 1`` times. Clipping and the choice of the best are per image, and the sampler's
    own seeds stay fixed, so that only the starting noise changes. The defaults are the published
    settings.

    The projection of arXiv 2602.08646 has two places in this loop, in place of a regularizer
    (``regularization=0``). Version 1 of the paper (9 February 2026) projects the noise after each
    update: ``white_noise``. Versions 2 and 3 (28 and 30 May 2026) project the reward's gradient
    before the optimizer sees it: ``white_gradient``. From the publication: this, the set that is
    projected on, and its blocks of 16. Ours: the rest of the loop stays ReNO's, where version 2 has
    Adam, so that clipping sets the length of a step; an image's values are one long field, in the
    order in which the generator holds them; the given noise is scored before any projection.

    Args:
        iterations: scored images per image.
        learning_rate: step size; what suits depends much on generator and reward.
        momentum: Nesterov momentum.
        grad_clip: largest gradient norm of one image.
        regularization: weight of the term that keeps the noise's norm typical.
        white_gradient: project the reward's gradient to white noise.
        white_noise: project the noise to white noise after each update.

    Raises:
        ValueError: iterations < 1, or a setting out of its range.
    """

    words_prompts: ClassVar[bool] = False
    follows_gradient: ClassVar[bool] = True
    iterations: Annotated[int, WORK] = 50
    learning_rate: float = 5.0
    momentum: float = 0.9
    grad_clip: float = 0.1
    regularization: float = 0.01
    white_gradient: bool = False
    white_noise: bool = False

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"ReNO needs iterations >= 1, got {self.iterations}")
        are_positive = self.learning_rate > 0 and self.grad_clip > 0
        if not (are_positive and self.regularization >= 0 and 0 < self.momentum < 1):
            raise ValueError(
                "ReNO needs learning_rate > 0, grad_clip > 0, regularization >= 0 and momentum "
                f"in (0, 1), got {self.learning_rate}, {self.grad_clip}, {self.regularization}, "
                f"{self.momentum}"
            )

    def run(self, request: Request) -> Generated:
        reward, features = request.searched("ReNO")
        z = request.noise.detach().float().clone().requires_grad_(True)
        optimizer = torch.optim.SGD(
            [z], lr=self.learning_rate, momentum=self.momentum, nesterov=True
        )
        n = self.iterations
        spent = Spent(nfe=n * request.steps, reward_calls=n, backward_passes=n - 1)
        best: Generated | None = None
        # On the device until the end: a look at a value in between would wait for it.
        trajectory: list[Tensor] = []
        sound: list[Tensor] = []
        for iteration in range(n):
            is_last = iteration == n - 1
            score = shaped_score if is_last else differentiable_score
            with torch.set_grad_enabled(not is_last):
                images = request.sample(z)
                rewards = score(reward, images, features)
            best = _better(best, images.detach(), z.detach(), rewards.detach(), spent)
            trajectory.append(rewards.detach())
            if not is_last:
                gradient = self._gradient(rewards, z)
                sound.append(torch.isfinite(gradient).flatten(1).all(dim=1))
                z.grad = clip_each(gradient, self.grad_clip)
                optimizer.step()
                if self.white_noise:
                    with torch.no_grad():
                        z.copy_(nearest_white_noise(z))
        assert best is not None  # there is at least one iteration
        # All iterations at once: rewards [B] and, but for the last, whether gradients were finite.
        flags = [*(flags.float() for flags in sound), torch.ones_like(trajectory[-1])]
        read = torch.stack([torch.stack(trajectory), torch.stack(flags)], dim=1).tolist()
        for values, are_sound in read:
            check_values(reward.name, values, features.prompts)
            if 0.0 in are_sound:
                first = are_sound.index(0.0)
                raise ValueError(
                    f"the gradient of reward {reward.name!r} is not finite for image {first} of "
                    f"the batch, of the prompt {features.prompts[first]!r}"
                )
        return best._replace(trajectory=torch.stack(trajectory, dim=1))

    def _gradient(self, rewards: Tensor, z: Tensor) -> Tensor:
        penalty = self.regularization * norm_regularizer(z)
        loss = penalty if self.white_gradient else penalty - rewards
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        if self.white_gradient:
            (ascent,) = torch.autograd.grad(rewards.sum(), z)
            gradient = gradient - nearest_white_noise(ascent)
        return gradient


def norm_regularizer(noise: Tensor) -> Tensor:
    """Negative log density of the norm of Gaussian noise, up to a constant (ReNO, equation 6).

    Args:
        noise: [B, ...] with d values per image, float32.

    Returns:
        [B]: half the squared norm minus (d - 1) times the log of the norm.
    """
    norms: Tensor = torch.linalg.vector_norm(noise.flatten(1), dim=1)
    return 0.5 * norms.square() - (noise[0].numel() - 1) * norms.log()


def _better(
    best: Generated | None, images: Tensor, noise: Tensor, rewards: Tensor, spent: Spent
) -> Generated:
    if best is None or best.rewards is None:
        return Generated(images, noise.clone(), spent, rewards)
    improved = rewards > best.rewards

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(improved.view(-1, *[1] * (new.ndim - 1)), new, old)

    return Generated(
        choose(images, best.images), choose(noise, best.noise), spent, choose(rewards, best.rewards)
    )
