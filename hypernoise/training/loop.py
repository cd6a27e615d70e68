"""Training on a reward: one loop for noise networks and for direct fine-tuning.

Loss of a noise network, per image (arXiv 2508.09968, equation 12):
half the squared norm of f(x0, c), minus the reward of g(x0 + f(x0, c), c) over the temperature.
Direct fine-tuning has no such penalty, and only the second term.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypernoise.models.protocol import encode_all, encode_in_chunks
from hypernoise.networks.protocol import Trainable
from hypernoise.noise import batch_noise, clip_each, image_seed, reduced
from hypernoise.progress import Progress
from hypernoise.rewards.protocol import Reward, differentiable_score
from hypernoise.training.checkpoints import (
    checkpoint_folder,
    checkpoints_in,
    fingerprint,
    newest_checkpoint,
    read_rows,
    read_state,
    write_checkpoint,
)
from hypernoise.training.gradient_checkpointing import check_repeatable, gradient_checkpointing
from hypernoise.training.kinds import KINDS
from hypernoise.training.measurements import (
    Moved,
    Prompt,
    Row,
    check_finite,
    precision,
    readable,
    texts_of,
)
from hypernoise.training.options import DisplacementOptions, TrainingOptions
from hypernoise.training.processes import ALONE, Processes
from hypernoise.training.validation import Validation, Validator
from hypernoise.transfers import on_device


@dataclass(frozen=True)
class Training:
    """What is trained, on what, and how.

    Attributes:
        objective: the network, freshly built with the options' sizes.
        reward: what to raise.
        prompts: (prompt_id, text); each is encoded once.
        options: how to train, of the network's kind.
        folder: gets the final network and ``checkpoints/step_…/``.
        validation: what to measure at step 0, every ``options.validate_every`` and at the end.
        on_row: called with every new measurement; rows restored from a checkpoint, and the kept
            one, are only returned.
        processes: those that train together, on a file system that all of them see. Each has the
            same training, draws its share of every batch, and returns the same rows; weights are
            those of one process up to the order of sums. The first writes the files.
    """

    objective: Trainable
    reward: Reward
    prompts: Sequence[Prompt]
    options: TrainingOptions
    folder: Path = Path()
    validation: Validation | None = None
    on_row: Callable[[Row], None] | None = None
    processes: Processes = ALONE


class Trained(NamedTuple):
    """What a training gave: every row since step 0, and the folders of its checkpoints."""

    rows: tuple[Row, ...]
    checkpoints: tuple[Path, ...]


def train(training: Training, progress: str = "") -> Trained:
    """Train a noise network or a fine-tuner, or continue where a killed training stopped.

    Everything random in step k is a function of (seed, step, position), so a training that was
    killed and continued ends with exactly the weights of one that was not.

    Args:
        training: what, on what, and how.
        progress: what its lines of progress call this training, e.g. its model and method; nothing
            is printed without it.

    Raises:
        ValueError: no prompts, fewer images in a batch than processes, options of another kind or
            size than the network's, the best checkpoint is to be kept and there is no validation,
            the generator does not support gradient checkpointing, or the folder holds a training
            with other options.
        TrainingDiverged: a loss or gradient is not finite.
    """
    objective, processes = training.objective, training.processes
    run = Run(training)
    run.restore()
    if run.step == 0 and not run.rows:
        run.validate()
    silent = not (progress and processes.is_first)
    bar = Progress(progress, training.options.steps, "steps", run.step, silent=silent)
    with run.recomputed(), bar:
        while run.step < training.options.steps:
            rows = run.advance()
            if rows:
                bar.note = f"reward {rows[-1].values['reward']:.3f}"
            bar.update()
    kept = run.keep()
    if processes.is_first:
        objective.save(training.folder)
    processes.wait()
    return Trained((*run.rows, kept), tuple(checkpoints_in(training.folder).values()))


class _Unread(NamedTuple):
    """What a step measured, still on the device: one tensor, a value for each name."""

    step: int
    learning_rate: float
    names: tuple[str, ...]
    values: Tensor


class Run:
    """A training between two steps.

    Raises:
        ValueError: as :func:`train`.
    """

    def __init__(self, training: Training) -> None:
        _check(training)
        objective, options = training.objective, training.options
        self.training = training
        self.options = options
        self.step = 0
        self.rows: list[Row] = []
        self.checkpoint: Path | None = None
        self.parameters = objective.parameters()
        self.optimizer: torch.optim.Optimizer
        if options.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(
                self.parameters, lr=options.learning_rate, momentum=0.9
            )
        else:
            self.optimizer = torch.optim.AdamW(self.parameters, lr=options.learning_rate)
        self._device = self.parameters[0].device
        self._unread: list[_Unread] = []
        self._read_at = time.perf_counter()
        self._fingerprint = fingerprint(objective, training.reward, training.prompts, options)
        self._order = _Order(len(training.prompts), options.seed)
        texts = texts_of(training.prompts, "training")
        self._conditioning = encode_all(objective.generator, texts)
        self._features = encode_in_chunks(training.reward.encode, texts)
        self._validator = training.validation and Validator(
            training.validation, objective, training.reward, options, training.processes
        )

    def recomputed(self) -> AbstractContextManager[None]:
        """In which steps are taken: with gradient checkpointing, where the options say so."""
        if self.options.gradient_checkpointing:
            return gradient_checkpointing(self.training.objective.generator)
        return nullcontext()

    def advance(self) -> list[Row]:
        """Take one optimizer step; then validate and save where it is time.

        Returns:
            The train rows of this and earlier steps that have been read from the device.
        """
        if not self._unread:
            self._read_at = time.perf_counter()
        options, step, processes = self.options, self.step + 1, self.training.processes
        rate = options.learning_rate_at(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        parts = [self._micro_batch(step, part) for part in range(options.accumulation)]
        means = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        processes.sum(list(means.values()))
        processes.sum([p.grad for p in self.parameters if p.grad is not None])
        means["grad_norm"] = nn.utils.clip_grad_norm_(self.parameters, options.grad_clip).float()
        self._unread.append(_Unread(step, rate, tuple(means), torch.stack(list(means.values()))))
        self.optimizer.step()
        self.step = step
        is_end = step == options.steps
        validates = is_end or step % options.validate_every == 0
        saves = is_end or step % options.checkpoint_every == 0
        rows = self._read() if validates or saves or step % options.sync_every == 0 else []
        if validates:
            self.validate()
        if saves:
            self.save()
        return rows

    def _read(self) -> list[Row]:
        """Wait for the device and log the steps since the last wait.

        Raises:
            TrainingDiverged: a loss or gradient was not finite.
        """
        unread, self._unread = self._unread, []
        measured = torch.stack([each.values for each in unread]).tolist()
        seconds = (time.perf_counter() - self._read_at) / len(unread)
        n_dimensions = math.prod(self.training.objective.generator.noise_shape)
        rows = []
        for each, values in zip(unread, measured, strict=True):
            means = dict(zip(each.names, values, strict=True))
            must_be_finite = {name: means[name] for name in ("loss", "grad_norm")}
            check_finite(must_be_finite, each.step, checkpoint=self.checkpoint)
            timing = {"learning_rate": each.learning_rate, "seconds": seconds}
            rows.append(Row("train", each.step, readable(means, n_dimensions) | timing))
            self._add(rows[-1])
        return rows

    def _micro_batch(self, step: int, part: int) -> dict[str, Tensor]:
        """One forward and backward pass of this process.

        Returns:
            What was measured, as this process's share of the mean over the batch: scalars by name.
        """
        options, training = self.options, self.training
        size = options.batch_size
        positions = training.processes.share(range(part * size, (part + 1) * size))
        share = len(positions) / size
        images = [(f"step {step}", position) for position in positions]
        noise_shape = training.objective.generator.noise_shape
        noise = batch_noise(options.seed, images, noise_shape, "training")
        seeds = [image_seed(options.seed, *image, "training sampler") for image in images]
        first = (step - 1) * size * options.accumulation
        rows = self._order.rows(first + position for position in positions)
        with precision(options, self._device):
            drawn = training.objective.draw(
                on_device(noise, self._device),
                # Once: both the noise network and the generator ask for it on their device.
                self._conditioning.rows(rows).to(self._device),
                options.sampling_steps,
                seeds,
            )
            features = self._features.rows(rows)
            rewards = differentiable_score(training.reward, drawn.images, features)
        loss = -rewards.mean() / options.temperature
        measured = {"reward": rewards.mean()}
        if drawn.delta is not None:
            moved = Moved.by(drawn.delta, drawn.kl)
            penalty = self._penalty(drawn.delta, moved)
            loss = loss + penalty
            named = {name: each.mean() for name, each in moved.named().items()}
            measured |= {"penalty": penalty, **named}
        (loss * (share / options.accumulation)).backward()  # type: ignore[no-untyped-call]
        return {
            n: value.detach().float() * share for n, value in {"loss": loss, **measured}.items()
        }

    def _penalty(self, delta: Tensor, moved: Moved) -> Tensor:
        """The loss's second term, a scalar; each image's gradient at ``delta`` is clipped."""
        options = self.options
        assert isinstance(options, DisplacementOptions)  # as its kind says
        if options.image_grad_clip is not None:
            limit = options.image_grad_clip / (options.batch_size * options.accumulation)
            delta.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: clip_each(gradient, limit)
            )
        return reduced(moved.kl, delta[0].numel(), options.l2_reduction).mean()

    def validate(self) -> None:
        """Measure the objective on the validation prompts.

        Raises:
            TrainingDiverged: a value is not finite, so that no checkpoint could be chosen by it.
        """
        if self._validator:
            values = self._validator.measure()
            check_finite(values, self.step, " of the validation", self.checkpoint)
            self._add(Row("validation", self.step, values))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        if self.training.on_row:
            self.training.on_row(row)

    def keep(self) -> Row:
        """Load the checkpoint that becomes the result; returns its ``"kept"`` row."""
        validated = {row.step: row.values for row in self.rows if row.kind == "validation"}
        step = self.step
        if self.options.keep == "best":
            saved = checkpoints_in(self.training.folder)
            step = max(saved.keys() & validated.keys(), key=lambda s: validated[s]["reward"])
            self.training.objective.load(saved[step])
        return Row("kept", step, validated.get(step, {}))

    def save(self) -> None:
        """Write a checkpoint."""
        folder = checkpoint_folder(self.training.folder, self.step)
        if self.training.processes.is_first:
            state = {
                "step": self.step,
                "fingerprint": self._fingerprint,
                "optimizer": self.optimizer.state_dict(),
                "random": torch.get_rng_state(),
            }
            if self._device.type == "cuda":
                state["random_device"] = torch.cuda.get_rng_state(self._device)
            write_checkpoint(folder, self.training.objective, self.rows, state)
        self.training.processes.wait()
        self.checkpoint = folder

    def restore(self) -> None:
        """Continue from the newest checkpoint, if there is one.

        Raises:
            ValueError: it belongs to a training with other options, prompts or reward.
        """
        checkpoint = newest_checkpoint(self.training.folder)
        if checkpoint is None:
            return
        state = read_state(checkpoint, self._fingerprint)
        if state["step"] > self.options.steps:
            raise ValueError(f"{checkpoint} is beyond the {self.options.steps} steps asked for")
        self.training.objective.load(checkpoint)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state["random_device"], self._device)
        self.rows = read_rows(checkpoint)
        self.step = state["step"]
        self.checkpoint = checkpoint


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
            shuffle = torch.Generator().manual_seed(seed)
            self._permutation = torch.randperm(self._n, generator=shuffle).tolist()
            self._epoch = epoch
        return self._permutation[position]


def _check(training: Training) -> None:
    objective, options = training.objective, training.options
    asked: dict[str, Any] = {name: getattr(options, name, None) for name in objective.shape}
    if objective.shape != asked:
        raise ValueError(
            f"the network has {_named(objective.shape)}, the options say {_named(asked)}"
        )
    kind = KINDS.get(objective.kind)
    if kind and not isinstance(options, kind.options):
        raise ValueError(f"a {objective.kind} network needs {kind.options.__name__}")
    if options.keep == "best" and training.validation is None:
        raise ValueError("keep 'best' compares validations, and no validation is given")
    generator = objective.generator
    if options.gradient_checkpointing:
        check_repeatable(generator)
    elif getattr(generator.backbone, "is_gradient_checkpointing", False):
        raise ValueError(
            "gradient checkpointing that was enabled on the backbone repeats passes when the "
            "adapter has been switched off again, and would give wrong gradients; disable it there "
            "and set the option gradient_checkpointing"
        )


def _named(shape: Mapping[str, float | None]) -> str:
    values = ("nothing" if value is None else f"{value:g}" for value in shape.values())
    return " and ".join(f"{name} {value}" for name, value in zip(shape, values, strict=True))
