"""What a method is handed, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeGuard, runtime_checkable

from torch import Tensor, nn

from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.rewards.protocol import Features, Reward


class Spent(NamedTuple):
    """What ONE image cost.

    Attributes:
        nfe: passes through the backbone.
        reward_calls: scored images.
        backward_passes: gradients through generator and reward.
    """

    nfe: int
    reward_calls: int = 0
    backward_passes: int = 0


class Generated(NamedTuple):
    """Images and how they came about.

    Attributes:
        images: [B, 3, H, W] in [0, 1].
        noise: [B, *noise_shape], what the generator started from in the end.
        spent: cost of one image, of the dearest where they differ.
        rewards: [B] of the images, or None where the method asks no reward.
        trajectory: [B, n] reward of each scored image in the order of scoring, or None; NaN where
            an attempt gave no image to score.
        prompts: B lists of the n texts that the scored images were drawn for, or None where that
            is the given prompt throughout; empty where an attempt gave no image.
        each: cost of each of the B images, or None where all cost the same.
    """

    images: Tensor
    noise: Tensor
    spent: Spent
    rewards: Tensor | None = None
    trajectory: Tensor | None = None
    prompts: Sequence[Sequence[str]] | None = None
    each: Sequence[Spent] | None = None


@dataclass(frozen=True)
class Request:
    """What a method is asked for: one image for each of B starting noises.

    Attributes:
        generator: the frozen generator.
        conditioning: B prompts as the generator encodes them, with their texts; a method that
            changes a prompt lets the generator encode the new one.
        noise: [B, *noise_shape] starting noise, float32, unit variance.
        seeds: one per image, for whatever further randomness the method or sampler needs.
        steps: sampling steps.
        reward: what to search for; None for a method that does not search.
        features: the B given prompts as the reward encodes them, or None.
    """

    generator: Generator
    conditioning: Conditioning
    noise: Tensor
    seeds: Sequence[int]
    steps: int = 1
    reward: Reward | None = None
    features: Features | None = None

    def sample(self, noise: Tensor) -> Tensor:
        """The generator's images [B, 3, H, W] of the prompts from other noise than the given."""
        return self.generator.sample(noise, self.conditioning, self.steps, self.seeds)

    def searched(self, method: str) -> tuple[Reward, Features]:
        """Reward and features for a method that cannot do without, by its name for messages.

        Raises:
            ValueError: either is None.
        """
        if self.reward is None or self.features is None:
            raise ValueError(f"{method} searches for a reward and was given none")
        return self.reward, self.features


class Method(Protocol):
    """A way from noise and prompts to images; each image is treated on its own.

    Attributes:
        words_prompts: whether it lets the generator encode prompts of its own wording, so that
            the text encoders must stay in memory.

    A class that asks for the reward's gradient says ``follows_gradient = True``.
    """

    words_prompts: ClassVar[bool]

    def run(self, request: Request) -> Generated:
        """Make one image for each starting noise.

        Raises:
            ValueError: steps < 1, a missing reward, or a reward of wrong shape, not finite, or
                without the gradient that the method follows.
        """
        ...


def images_of(method: Method, request: Request) -> Generated:
    """What a method makes of a request, checked but for the values, which would take time.

    Raises:
        ValueError: it gives something else than images, noise and costs of the B images; also as
            :meth:`Method.run`.
    """
    made: object = method.run(request)
    n, name = len(request.noise), type(method).__name__
    if not isinstance(made, Generated):
        raise ValueError(f"{name}.run gives a {type(made).__name__}, must give a Generated")
    n_scored = made.trajectory.shape[-1] if _has(made.trajectory, n, None) else 0
    any_size = [None] * (request.noise.ndim - 1)
    is_right = {
        f"images, must be a tensor [{n}, 3, H, W]": _has(made.images, n, 3, None, None),
        f"noise, must be a tensor [{n}, ...]": _has(made.noise, n, *any_size),
        "spent, must be a Spent": isinstance(made.spent, Spent),
        f"rewards, must be a tensor [{n}] or None": made.rewards is None or _has(made.rewards, n),
        f"trajectory, must be a tensor [{n}, scored images] or None": made.trajectory is None
        or _has(made.trajectory, n, None),
        f"prompts, must be {n} lists of {n_scored} texts, one per scored image, or None": (
            made.prompts is None or [len(texts) for texts in made.prompts] == [n_scored] * n
        ),
        f"each, must be {n} Spent or None": made.each is None
        or [type(spent) for spent in made.each] == [Spent] * n,
    }
    if wrong := [what for what, right in is_right.items() if not right]:
        raise ValueError(f"{name}.run gives wrong {'; wrong '.join(wrong)}")
    return made


def _has(value: object, *shape: int | None) -> TypeGuard[Tensor]:
    """Whether a value is a tensor of a shape, of which None is any length."""
    if not isinstance(value, Tensor) or value.ndim != len(shape):
        return False
    return all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))


@runtime_checkable
class Checked(Protocol):
    """A method, or a part of one, that needs more than its arguments tell."""

    def check(self) -> None:
        """Check before any work that what it needs can be had; nothing is loaded.

        Raises:
            ValueError, FileNotFoundError: it cannot.
        """
        ...


@runtime_checkable
class PutsIn(Protocol):
    """A method that brings weights for a generator's backbone."""

    def check_for(self, pipeline_class: Any, backbone: nn.Module) -> None:
        """Check before any work that its weights fit a backbone, which may be without weights.

        Raises:
            ValueError, FileNotFoundError: they do not, or cannot be had.
        """
        ...

    def attach(self, generator: Generator) -> None:
        """Put them into a generator's backbone, switched off but in this method's own passes.

        Raises:
            ValueError, FileNotFoundError: as :meth:`check_for`.
        """
        ...
