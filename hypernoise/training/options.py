"""How a network is trained. A kind of network adds the options that it alone knows.

Every option stands in one place (:mod:`hypernoise.options` says how it is read), and a kind that
does not know an option refuses it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hypernoise.identity import KEPT_ONLY, SPEED_ONLY
from hypernoise.options import Count, Natural, NotNegative, Options, Positive


class TrainingOptions(Options):
    """What every training can be told."""

    steps: Count
    """Optimizer steps."""
    batch_size: Count = 32
    """Images per forward pass, of all processes together."""
    accumulation: Count = 1
    """Forward passes per optimizer step."""
    learning_rate: Positive = 1e-3
    """The learning rate after the warm-up."""
    decay: Literal["none", "linear"] = "none"
    """``none`` keeps the learning rate; ``linear`` lets it fall to nothing after the last step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """The optimizer; ``sgd`` has a momentum of 0.9."""
    weight_decay: NotNegative = 0.01
    """Weight decay of ``adamw``; ``sgd`` has none."""
    warmup_steps: Natural = 0
    """Optimizer steps over which the learning rate grows linearly."""
    warmup_from_zero: bool = False
    """Begin the warm-up with a learning rate of 0, as the schedules of diffusers do, and not with
    the first of its steps."""
    warmup_per_process: bool = False
    """Take the warm-up as many times longer as there are processes; their number then changes
    results by more than rounding."""
    grad_clip: Positive = 1.0
    """Largest norm of the gradient of all trained weights."""
    max_skipped: Natural = 0
    """Optimizer steps, in all of a training, that may be left out because their loss or gradient is
    not finite; the next such one stops it. If any may, every step waits for the device."""
    noise: Literal["image", "step", "training"] = "image"
    """Whether each image has a noise of its own, or all images of an optimizer step the same one,
    or all images of the training."""
    temperature: Positive = 1.0
    """The reward is divided by it: alpha of the paper's tilted law."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """``fp32``, or ``bf16`` autocast; trained weights and the penalty stay in float32."""
    gradient_checkpointing: Annotated[bool, SPEED_ONLY] = False
    """Compute the activations of backbone and VAE again in the backward pass rather than keep
    them: less memory, about a third more time, the same gradients."""
    sampling_steps: Count = 1
    """The generator's sampling steps during training."""
    checkpoint_every: Annotated[Count, KEPT_ONLY] = 50
    """Optimizer steps between checkpoints."""
    validate_every: Count = 50
    """Optimizer steps between validations."""
    sync_every: Annotated[Count, SPEED_ONLY] = 10
    """Optimizer steps between waits for the device. Until then what was measured stays there
    unlogged, and a loss that is not finite goes unnoticed. Each validation and checkpoint waits."""
    keep: Annotated[Literal["last", "best"], KEPT_ONLY] = "last"
    """What becomes the result: the last checkpoint, or the one of the best validation reward."""
    keep_neighbours: Annotated[Natural, KEPT_ONLY] = 0
    """Where the best is kept: validated checkpoints on either side whose rewards are averaged with
    a checkpoint's own before they are compared. One that was lucky on the validation noise then
    counts less."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per optimizer step of an exponential moving average of the trained weights, which is
    validated and kept in their place; null for none."""
    seed: Natural = 0
    """Seed of the prompts' order, of noise and of the network's initial weights."""

    @property
    def follows_gradient(self) -> bool:
        """Whether a training needs the reward's gradient with regard to the images."""
        return True

    @property
    def scored_images(self) -> float:
        """Images that are drawn and scored for each image of a batch, on average."""
        return 1.0

    def drawn_at(self, step: int) -> tuple[int, int]:
        """The step whose images an optimizer step uses, and how many steps have used them."""
        return step, 0

    def learning_rate_at(self, step: int, n_processes: int = 1) -> float:
        """The learning rate of optimizer step 1, 2, …, of a training in so many processes."""
        warmup = self.warmup_steps * (n_processes if self.warmup_per_process else 1)
        done = step - 1 if self.warmup_from_zero else step
        rate = self.learning_rate * (min(1.0, done / warmup) if warmup else 1.0)
        return rate * (1 - (step - 1) / self.steps) if self.decay == "linear" else rate


class LoraOptions(TrainingOptions):
    """Options of networks that are LoRA on the generator's backbone."""

    rank: Count = 8
    """LoRA rank."""
    alpha: Positive = 16.0
    """LoRA alpha; the branch is scaled by alpha / rank."""


class DisplacementOptions(TrainingOptions):
    """Options of networks that move noise, and are penalised for how far they move it."""

    l2_reduction: Literal["sum", "mean"] = "sum"
    """The penalty as the sum over noise dimensions (the paper) or as the mean (its code)."""
    image_grad_clip: Positive | None = None
    """Largest norm, per image, of the gradient of its own loss with regard to its displacement;
    null for no limit. Where a generator amplifies some noises far more than others, those few
    would otherwise make up the whole gradient."""


class PairOptions(LoraOptions, DisplacementOptions):
    """Options of noise networks that learn from pairs of a noise and a better one, which a search
    finds from it over the training prompts."""

    distil_candidates: Annotated[int, Field(ge=2)] = 8
    """Noises that the better one is chosen from, the image's own among them: candidates of
    Best-of-N, or ReNO's iterations."""
    distil_similarity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Correlation of Best-of-N's other noises with the image's own. At 0 they are those of
    Best-of-N, which say nothing of the image's own: a network can learn their mean alone. Near 1
    the best one shows where the reward rises."""
    distil_teacher: Literal["best_of_n", "reno"] = "best_of_n"
    """The search: the best of seeded noises, or ReNO from the image's own noise, which needs the
    reward's gradient."""
    distil_learning_rate: Positive = 5.0
    """ReNO's step size; its other settings are the published ones."""
    distil_batches: Count | None = None
    """Batches of pairs that are searched for once and then come again and again; null for new pairs
    at every step. A training that is continued searches for them again."""

    def learns_from_pairs(self, step: int) -> bool:
        """Whether an optimizer step learns from pairs."""
        return True

    def drawn_at(self, step: int) -> tuple[int, int]:
        n = self.distil_batches if self.learns_from_pairs(step) else None
        return (step, 0) if n is None else ((step - 1) % n + 1, (step - 1) // n)


class NoiseNetworkOptions(PairOptions):
    """Options of noise networks that raise the reward along its gradient."""

    distil_steps: Natural = 0
    """Optimizer steps at the start in which the network learns from pairs of a noise and a better
    one, as a supervised network does, and does not raise the reward itself."""

    def learns_from_pairs(self, step: int) -> bool:
        return step <= self.distil_steps


class SupervisedOptions(PairOptions):
    """Options of noise networks that learn from pairs alone; their loss has no temperature."""

    @property
    def follows_gradient(self) -> bool:
        return self.distil_teacher == "reno"

    @property
    def scored_images(self) -> float:
        searched = min(self.distil_batches or self.steps, self.steps)
        return self.distil_candidates * searched / self.steps


class PolicyOptions(LoraOptions, DisplacementOptions):
    """Options of noise networks that are trained as a policy, on rewards without a gradient."""

    policy_samples: Annotated[int, Field(ge=2)] = 8
    """Noises that the policy draws for each image of a batch; their rewards are compared with one
    another."""
    policy_sigma: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Standard deviation of the policy. At 1 it does not depend on the image's own noise but
    through the network."""
    policy_update: Literal["clipped", "weighted"] = "clipped"
    """The policy gradient with clipped ratios, or the regression on the drawn noises with weights
    of the tilted law."""
    policy_advantage: Literal["leave_one_out", "normalised"] = "leave_one_out"
    """Of clipped updates: a reward minus the mean of the image's other ones, whose gradient is
    unbiased; or minus the mean of all and divided by their standard deviation."""
    policy_epochs: Count = 1
    """Optimizer steps that use the same drawn noises."""
    policy_clip: Positive = 0.2
    """How far the ratio of new to old density may be from 1 before it gives no gradient."""

    @property
    def follows_gradient(self) -> bool:
        return False

    @property
    def scored_images(self) -> float:
        return self.policy_samples / self.policy_epochs

    def drawn_at(self, step: int) -> tuple[int, int]:
        return (step - 1) // self.policy_epochs + 1, (step - 1) % self.policy_epochs


class LowFrequencyOptions(DisplacementOptions):
    """Options of networks that move low frequencies."""

    frequencies: Count = 4
    """Frequencies per axis that the network moves."""
    width: Count = 256
    """Width of the hidden layers."""
    depth: Count = 2
    """Residual blocks."""
