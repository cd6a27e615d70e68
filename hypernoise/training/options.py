"""How a network is trained. A kind of network adds the options that it alone knows.

Every option stands in one place (:mod:`hypernoise.options` says how it is read), and a kind that
does not know an option refuses it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from hypernoise.identity import KEPT_ONLY, SPEED_ONLY
from hypernoise.options import Count, Natural, Options, Positive


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
    warmup_steps: Natural = 0
    """Optimizer steps over which the learning rate grows linearly."""
    grad_clip: Positive = 1.0
    """Largest norm of the gradient of all trained weights."""
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
    seed: Natural = 0
    """Seed of the prompts' order, of noise and of the network's initial weights."""

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimizer step 1, 2, …"""
        rate = self.learning_rate * min(1.0, step / max(1, self.warmup_steps))
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


class NoiseNetworkOptions(LoraOptions, DisplacementOptions):
    """Options of noise networks on the backbone."""


class LowFrequencyOptions(DisplacementOptions):
    """Options of networks that move low frequencies."""

    frequencies: Count = 4
    """Frequencies per axis that the network moves."""
    width: Count = 256
    """Width of the hidden layers."""
    depth: Count = 2
    """Residual blocks."""
