"""Training on a reward: one loop for noise networks and for direct fine-tuning.

What a step draws stands in :mod:`hypernoise.training.draws`, what its loss is in
:mod:`hypernoise.training.losses`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypernoise.networks.protocol import Trainable
from hypernoise.progress import Progress
from hypernoise.rewards.protocol import Reward
from hypernoise.training.averages import Average
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
from hypernoise.training.losses import Losses
from hypernoise.training.measurements import (
    Prompt,
    Row,
    check_finite,
    readable,
)
from hypernoise.training.options import PolicyOptions, SupervisedOptions, TrainingOptions
from hypernoise.training.processes import ALONE, Processes
from hypernoise.training.validation import Validation, Validator


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
            if rows and "reward" in rows[-1].values:
                skipped = f", {run.n_skipped} steps skipped" if run.n_skipped else ""
                bar.note = f"reward {rows[-1].values['reward']:.3f}{skipped}"
            bar.update()
    kept = run.keep()
    if processes.is_first:
        objective.save(training.folder)
    processes.wait()
    return Trained((*run.rows, kept), tuple(checkpoints_in(training.folder).values()))


#: Of a step's measurements, those that spoil the weights where they are not finite.
_FINITE = ("loss", "grad_norm")


class _Unread(NamedTuple):
    """What a step measured, still on the device: one tensor, a value for each name."""

    step: int
    learning_rate: float
    names: tuple[str, ...]
    values: Tensor
    is_skipped: bool


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
        self.n_skipped = 0
        self.parameters = objective.parameters()
        self.average = Average(self.parameters, options.ema_decay) if options.ema_decay else None
        self.optimizer: torch.optim.Optimizer
        if options.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(
                self.parameters, lr=options.learning_rate, momentum=0.9
            )
        else:
            self.optimizer = torch.optim.AdamW(
                self.parameters, lr=options.learning_rate, weight_decay=options.weight_decay
            )
        self._device = self.parameters[0].device
        self._unread: list[_Unread] = []
        self._read_at = time.perf_counter()
        self._fingerprint = fingerprint(objective, training.reward, training.prompts, options)
        if options.warmup_per_process:
            self._fingerprint["processes"] = training.processes.count
        self._losses = Losses(objective, training.reward, training.prompts, options)
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
        rate = options.learning_rate_at(step, processes.count)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        parts = [self._micro_batch(step, part) for part in range(options.accumulation)]
        means = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        processes.sum(list(means.values()))
        processes.sum([p.grad for p in self.parameters if p.grad is not None])
        means["grad_norm"] = nn.utils.clip_grad_norm_(self.parameters, options.grad_clip).float()
        values = torch.stack(list(means.values()))
        is_skipped = self._is_skipped(means)
        self._unread.append(_Unread(step, rate, tuple(means), values, is_skipped))
        if not is_skipped:
            self.optimizer.step()
            if self.average:
                self.average.update(step)
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

    def _is_skipped(self, means: Mapping[str, Tensor]) -> bool:
        """Whether a step is left out, as its loss or gradient is not finite and that is allowed
        for; all processes come to the same answer, from sums that they share."""
        if self.n_skipped >= self.options.max_skipped:
            return False
        # This waits for the device: the optimizer must not see such a gradient.
        is_skipped = not torch.stack([means[name] for name in _FINITE]).isfinite().all().item()
        self.n_skipped += is_skipped
        return is_skipped

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
            timing = {"learning_rate": each.learning_rate, "seconds": seconds}
            if each.is_skipped:
                means = {"skipped": 1.0}
            else:
                after = f" after {self.n_skipped} skipped steps" if self.n_skipped else ""
                must_be_finite = {name: means[name] for name in _FINITE}
                check_finite(must_be_finite, each.step, after, self.checkpoint)
            rows.append(Row("train", each.step, readable(means, n_dimensions) | timing))
            self._add(rows[-1])
        return rows

    def _micro_batch(self, step: int, part: int) -> dict[str, Tensor]:
        """One forward and backward pass of this process.

        Returns:
            What was measured, as this process's share of the mean over the batch: scalars by name.
        """
        options, processes = self.options, self.training.processes
        size = options.batch_size
        positions = processes.share(range(part * size, (part + 1) * size))
        share = len(positions) / size
        measured = self._losses.of(self._losses.draws.part(step, positions))
        loss = measured["loss"] * (share / options.accumulation)
        loss.backward()  # type: ignore[no-untyped-call]
        return {name: value.detach().float() * share for name, value in measured.items()}

    def validate(self) -> None:
        """Measure the objective on the validation prompts.

        Raises:
            TrainingDiverged: a value is not finite, so that no checkpoint could be chosen by it.
        """
        if self._validator:
            with self._averaged():
                values = self._validator.measure()
            check_finite(values, self.step, " of the validation", self.checkpoint)
            self._add(Row("validation", self.step, values))

    def _averaged(self) -> AbstractContextManager[list[Tensor] | None]:
        """In which the weights are their average, if one is taken."""
        return self.average.in_place() if self.average else nullcontext()

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
            steps = sorted(saved.keys() & validated.keys())
            rewards = [validated[step]["reward"] for step in steps]
            step = steps[highest(rewards, self.options.keep_neighbours)]
            self.training.objective.load(saved[step])
        elif self.average:
            self.average.put(self.average.values)
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
            if self._losses.policy:
                state["policy"] = list(self._losses.policy.weights)
            if self._device.type == "cuda":
                state["random_device"] = torch.cuda.get_rng_state(self._device)
            with self._averaged() as raw:
                if raw:
                    state["raw_weights"] = raw
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
        state = read_state(checkpoint, self._fingerprint, self.options)
        if state["step"] > self.options.steps:
            raise ValueError(f"{checkpoint} is beyond the {self.options.steps} steps asked for")
        self.training.objective.load(checkpoint)
        if self.average:
            # What is kept and validated is the average; training goes on from the raw weights.
            self.average.restart()
            self.average.put(state["raw_weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state["random_device"], self._device)
        if self._losses.policy:
            self._losses.policy.weights = state["policy"]
        self.rows = read_rows(checkpoint)
        self.n_skipped = sum("skipped" in row.values for row in self.rows)
        self.step = state["step"]
        self.checkpoint = checkpoint


def highest(values: Sequence[float], neighbours: int = 0) -> int:
    """The place of the highest value, each averaged with so many neighbours on either side first;
    at the ends, with those that there are."""
    near = (values[max(0, i - neighbours) : i + neighbours + 1] for i in range(len(values)))
    means = [math.fsum(each) / len(each) for each in near]
    return means.index(max(means))


def _check(training: Training) -> None:
    objective, options = training.objective, training.options
    asked: dict[str, Any] = {name: getattr(options, name, None) for name in objective.shape}
    if objective.shape != asked:
        raise ValueError(
            f"the network has {_named(objective.shape)}, the options say {_named(asked)}"
        )
    valid = [kind.options for kind in KINDS.values() if kind.makes(objective)]
    moves_noise = hasattr(objective, "delta")
    is_other = isinstance(options, SupervisedOptions | PolicyOptions) and not moves_noise
    if is_other or (valid and not isinstance(options, tuple(valid))):
        names = " or ".join(each.__name__ for each in valid)
        raise ValueError(f"a {objective.kind} network needs {names}")
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
