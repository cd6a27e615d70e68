"""Training on a reward: one loop for noise networks and for direct fine-tuning.

Loss of a noise network, per image (arXiv 2508.09968, equation 12):
half the squared norm of f(x0, c), minus the reward of g(x0 + f(x0, c), c) over the temperature.
Direct fine-tuning has no such penalty, and only the second term.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from hypernoise.choices import check_choice
from hypernoise.identity import SPEED_ONLY
from hypernoise.mendable import Mendable
from hypernoise.models.protocol import Encoded, Generator, encode_in_chunks
from hypernoise.networks.protocol import Trainable
from hypernoise.noise import (
    REDUCTIONS,
    Reduction,
    batch_noise,
    clip_each,
    image_seed,
    reduced,
    squared_norm,
)
from hypernoise.progress import Progress
from hypernoise.rewards.protocol import Features, Reward, differentiable_score, shaped_score
from hypernoise.training.gradient_checkpointing import check_repeatable, gradient_checkpointing
from hypernoise.training.processes import ALONE, Processes
from hypernoise.transfers import on_device

OPTIMIZERS = ("adamw", "sgd")
DECAYS = ("none", "linear")
KEEPS = ("last", "best")
PRECISIONS = ("fp32", "bf16")
CHECKPOINTS = "checkpoints"
#: Ends the name of a validation value's standard error.
STANDARD_ERROR = "_se"
_STATE_FILE = "training_state.pt"
_ROWS_FILE = "rows.json"
#: Options that only one kind of network or the other has.
_SIZES = ("rank", "alpha", "frequencies", "width", "depth")
#: Measured for ``delta_rms``, which is not a mean over images.
_HALF_SQUARED_NORM = "half_squared_norm"

Prompt = tuple[str, str]


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        steps: optimizer steps.
        batch_size: images per forward pass, of all processes together.
        accumulation: forward passes per optimizer step.
        learning_rate: after the warm-up.
        decay: ``"none"`` keeps that rate; ``"linear"`` lets it fall to nothing after the last step.
        optimizer: ``"adamw"`` or ``"sgd"``, the latter with momentum 0.9.
        warmup_steps: steps over which the learning rate grows linearly.
        grad_clip: largest gradient norm.
        image_grad_clip: largest norm, per image, of the gradient of its own loss with regard to its
            displacement, None for no limit. Where a generator amplifies some noises far more than
            others, those few would otherwise make up the whole gradient. Noise networks only.
        rank: LoRA rank.
        alpha: LoRA alpha.
        frequencies: per axis, that a low-frequency network moves.
        width: of a low-frequency network's hidden layers.
        depth: residual blocks of a low-frequency network.
        l2_reduction: ``"sum"`` over the noise dimensions (the paper) or ``"mean"`` (its code).
        temperature: alpha of the paper's tilted law; the reward is divided by it.
        precision: ``"fp32"``, or ``"bf16"`` autocast; LoRA weights and penalty stay float32.
        gradient_checkpointing: compute activations of backbone and VAE again in the backward pass
            rather than keep them: less memory, about a third more time, the same gradients.
        sampling_steps: the generator's steps during training.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations.
        sync_every: steps between waits for the device: until then what was measured stays there,
            unlogged, and a loss that is not finite goes unnoticed. Before a validation and a
            checkpoint there is always one.
        keep: what becomes the result, the ``"last"`` checkpoint or the one of ``"best"`` validation
            reward.
        seed: seed of prompts' order, of noise and of the LoRA's initial weights.
    """

    steps: int
    batch_size: int = 32
    accumulation: int = 1
    learning_rate: float = 1e-3
    decay: Literal["none", "linear"] = "none"
    optimizer: Literal["adamw", "sgd"] = "adamw"
    warmup_steps: int = 0
    grad_clip: float = 1.0
    image_grad_clip: float | None = None
    rank: int = 8
    alpha: float = 16.0
    frequencies: int = 4
    width: int = 256
    depth: int = 2
    l2_reduction: Reduction = "sum"
    temperature: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: Annotated[bool, SPEED_ONLY] = False
    sampling_steps: int = 1
    checkpoint_every: int = 50
    validate_every: int = 50
    sync_every: Annotated[int, SPEED_ONLY] = 10
    keep: Literal["last", "best"] = "last"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("decay", self.decay, DECAYS)
        check_choice("checkpoint to keep", self.keep, KEEPS)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("L2 reduction", self.l2_reduction, REDUCTIONS)
        check_choice("precision", self.precision, PRECISIONS)
        counts = ("steps", "batch_size", "accumulation", "rank", "sampling_steps")
        sizes = ("frequencies", "width", "depth")
        for name in (*counts, *sizes, "checkpoint_every", "validate_every", "sync_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "grad_clip", "alpha", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.image_grad_clip is not None and not self.image_grad_clip > 0:
            raise ValueError(f"image_grad_clip must be positive, got {self.image_grad_clip}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {self.warmup_steps}")

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimizer step 1, 2, …"""
        rate = self.learning_rate * min(1.0, step / max(1, self.warmup_steps))
        return rate * (1 - (step - 1) / self.steps) if self.decay == "linear" else rate


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


class Row(NamedTuple):
    """Measurements after ``step`` optimizer steps.

    ``kind`` is ``"train"`` (loss, reward, penalty, kl_nats, delta_rms, grad_norm, learning_rate,
    seconds), ``"validation"`` (reward, one value per judge, kl_nats, delta_rms) or, once at the
    end, ``"kept"``: the step that became the result, with its validation. Values are means over the
    images; those of rewards in a validation have a standard error besides (``reward_se``, ...),
    with the prompt as what was sampled. ``grad_norm`` is taken before clipping, and ``seconds`` are
    a mean over the steps between two waits for the device. Fine-tuning has no penalty, kl_nats and
    delta_rms.
    """

    kind: str
    step: int
    values: dict[str, float]


class Trained(NamedTuple):
    """What a training gave: every row since step 0, and the folders of its checkpoints."""

    rows: tuple[Row, ...]
    checkpoints: tuple[Path, ...]


class TrainingDiverged(Mendable):
    """A loss or gradient was not finite.

    Attributes:
        step: the optimizer step whose loss or gradient it was.
        checkpoint: the last good checkpoint, or None.
    """

    def __init__(self, step: int, what: str, checkpoint: Path | None) -> None:
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint yet"
        super().__init__(f"{what} at step {step}; {kept}. A smaller learning rate may help.")
        self.step = step
        self.checkpoint = checkpoint


def train(
    objective: Trainable,
    generator: Generator,
    reward: Reward,
    prompts: Sequence[Prompt],
    options: TrainingOptions,
    folder: Path,
    validation: Validation | None = None,
    on_row: Callable[[Row], None] | None = None,
    progress: str = "",
    processes: Processes = ALONE,
) -> Trained:
    """Train a noise network or a fine-tuner, or continue where a killed training stopped.

    Everything random in step k is a function of (seed, step, position), so a training that was
    killed and continued ends with exactly the weights of one that was not.

    Args:
        objective: what is trained, freshly built with the options' sizes.
        generator: the frozen generator that ``objective`` was built on.
        reward: what to raise.
        prompts: (prompt_id, text); each is encoded once.
        options: how to train.
        folder: gets the final adapter and ``checkpoints/step_…/``.
        validation: what to measure at step 0, every ``options.validate_every`` and at the end.
        on_row: called with every new measurement; rows restored from a checkpoint, and the kept
            one, are only returned.
        progress: what its lines of progress call this training, e.g. its model and method;
            nothing is printed without it.
        processes: those that train together, on a file system that all of them see. Each calls this
            with the same arguments, draws its share of every batch, and returns the same rows;
            weights are those of one process up to the order of sums. The first writes the files.

    Raises:
        ValueError: no prompts, fewer images in a batch than processes, another generator, the best
            checkpoint is to be kept and there is no validation, the generator does not support
            gradient checkpointing, or ``folder`` holds a training with other options.
        TrainingDiverged: a loss or gradient is not finite.
    """
    run = Run(objective, generator, reward, prompts, options, folder, validation, on_row, processes)
    run.restore()
    if run.step == 0 and not run.rows:
        run.validate()
    silent = not (progress and processes.is_first)
    bar = Progress(progress, options.steps, "steps", run.step, silent=silent)
    with run.recomputed(), bar:
        while run.step < options.steps:
            rows = run.advance()
            if rows:
                bar.note = f"reward {rows[-1].values['reward']:.3f}"
            bar.update()
    kept = run.keep()
    if processes.is_first:
        objective.save(folder)
    processes.wait()
    return Trained((*run.rows, kept), tuple(checkpoints_in(folder).values()))


class _Prompts(NamedTuple):
    conditioning: Encoded
    features: Features


class _Unread(NamedTuple):
    """What a step measured, still on the device: one tensor, a value for each name."""

    step: int
    learning_rate: float
    names: tuple[str, ...]
    values: Tensor


class Run:
    """A training between two steps, with the arguments of :func:`train`, which takes them all."""

    def __init__(
        self,
        objective: Trainable,
        generator: Generator,
        reward: Reward,
        prompts: Sequence[Prompt],
        options: TrainingOptions,
        folder: Path,
        validation: Validation | None,
        on_row: Callable[[Row], None] | None,
        processes: Processes,
    ) -> None:
        _check_objective(objective, generator, options)
        if options.keep == "best" and validation is None:
            raise ValueError("keep 'best' compares validations, and no validation is given")
        self.objective = objective
        self.generator = generator
        self.reward = reward
        self.options = options
        self.folder = folder
        self.on_row = on_row
        self.processes = processes
        self.step = 0
        self.rows: list[Row] = []
        self.unread: list[_Unread] = []
        self.read_at = time.perf_counter()
        self.checkpoint: Path | None = None
        self.fingerprint = _fingerprint(objective, reward, prompts, options)
        self.parameters = objective.parameters()
        self.optimizer = _optimizer(self.parameters, options)
        self.device = self.parameters[0].device
        self.order = _Order(len(prompts), options.seed)
        texts = _texts(prompts, "training")
        self.prompts = _Prompts(
            encode_all(generator, texts), encode_in_chunks(reward.encode, texts)
        )
        self.validator = None
        if validation:
            self.validator = _Validator(validation, generator, reward, options, processes)

    def recomputed(self) -> AbstractContextManager[None]:
        """In which steps are taken: with gradient checkpointing, where the options say so."""
        if self.options.gradient_checkpointing:
            return gradient_checkpointing(self.generator)
        return nullcontext()

    def advance(self) -> list[Row]:
        """Take one optimizer step; then validate and save where it is time.

        Returns:
            The train rows of this and earlier steps that have been read from the device.
        """
        if not self.unread:
            self.read_at = time.perf_counter()
        options, step = self.options, self.step + 1
        rate = options.learning_rate_at(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        parts = [self._micro_batch(step, part) for part in range(options.accumulation)]
        means = _mean_of(parts)
        self.processes.sum(list(means.values()))
        self.processes.sum([p.grad for p in self.parameters if p.grad is not None])
        means["grad_norm"] = nn.utils.clip_grad_norm_(self.parameters, options.grad_clip).float()
        self.unread.append(_Unread(step, rate, tuple(means), torch.stack(list(means.values()))))
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
        unread, self.unread = self.unread, []
        measured = torch.stack([each.values for each in unread]).tolist()
        seconds = (time.perf_counter() - self.read_at) / len(unread)
        rows = []
        for each, values in zip(unread, measured, strict=True):
            named = self._with_rms(dict(zip(each.names, values, strict=True)))
            for name in ("loss", "grad_norm"):
                if not math.isfinite(named[name]):
                    raise TrainingDiverged(each.step, f"{name} is {named[name]}", self.checkpoint)
            named |= {"learning_rate": each.learning_rate, "seconds": seconds}
            rows.append(Row("train", each.step, named))
            self._add(rows[-1])
        return rows

    def _micro_batch(self, step: int, part: int) -> dict[str, Tensor]:
        options = self.options
        size = options.batch_size
        positions = self.processes.share(range(part * size, (part + 1) * size))
        share = len(positions) / size
        images = [(f"step {step}", position) for position in positions]
        noise = batch_noise(options.seed, images, self.generator.noise_shape, "training")
        seeds = [image_seed(options.seed, *image, "training sampler") for image in images]
        per_step = size * options.accumulation
        rows = self.order.rows(((step - 1) * per_step + position) for position in positions)
        with _precision(options, self.device):
            drawn = self.objective.draw(
                on_device(noise, self.device),
                # Once: both the noise network and the generator ask for it on their device.
                self.prompts.conditioning.rows(rows).to(self.device),
                options.sampling_steps,
                seeds,
            )
            features = self.prompts.features.rows(rows)
            rewards = differentiable_score(self.reward, drawn.images, features)
        loss = -rewards.mean() / options.temperature
        measured = {"reward": rewards.mean()}
        if drawn.delta is not None:
            if options.image_grad_clip is not None:
                limit = options.image_grad_clip / per_step
                drawn.delta.register_hook(  # type: ignore[no-untyped-call]
                    lambda gradient: clip_each(gradient, limit)
                )
            nats = _nats(drawn.delta, drawn.kl)
            kl = nats["kl_nats"]
            penalty = reduced(kl, drawn.delta[0].numel(), options.l2_reduction).mean()
            loss = loss + penalty
            measured |= {"penalty": penalty, **{name: each.mean() for name, each in nats.items()}}
        (loss * (share / options.accumulation)).backward()  # type: ignore[no-untyped-call]
        return {
            n: value.detach().float() * share for n, value in {"loss": loss, **measured}.items()
        }

    def _with_rms(self, values: dict[str, float]) -> dict[str, float]:
        if _HALF_SQUARED_NORM not in values:
            return values
        n_dimensions = math.prod(self.generator.noise_shape)
        rest = {name: value for name, value in values.items() if name != _HALF_SQUARED_NORM}
        return {**rest, "delta_rms": math.sqrt(2 * values[_HALF_SQUARED_NORM] / n_dimensions)}

    def validate(self) -> None:
        """Measure the objective on the validation prompts.

        Raises:
            TrainingDiverged: a value is not finite, so that no checkpoint could be chosen by it.
        """
        if self.validator:
            values = self.validator.measure(self.objective)
            for name, value in values.items():
                if not math.isfinite(value):
                    what = f"{name} of the validation is {value}"
                    raise TrainingDiverged(self.step, what, self.checkpoint)
            self._add(Row("validation", self.step, self._with_rms(values)))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        if self.on_row:
            self.on_row(row)

    def keep(self) -> Row:
        """Load the checkpoint that becomes the result; returns its ``"kept"`` row."""
        validated = {row.step: row.values for row in self.rows if row.kind == "validation"}
        step = self.step
        if self.options.keep == "best":
            saved = checkpoints_in(self.folder)
            step = max(saved.keys() & validated.keys(), key=lambda s: validated[s]["reward"])
            self.objective.load(saved[step])
        return Row("kept", step, validated.get(step, {}))

    def save(self) -> None:
        """Write a checkpoint that appears whole or not at all."""
        folder = self.folder / CHECKPOINTS / f"step_{self.step:06d}"
        if self.processes.is_first:
            self._write(folder)
        self.processes.wait()
        self.checkpoint = folder

    def _write(self, folder: Path) -> None:
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        self.objective.save(partial)
        (partial / _ROWS_FILE).write_text(json.dumps(self.rows))
        state = {
            "step": self.step,
            "fingerprint": self.fingerprint,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["random_device"] = torch.cuda.get_rng_state(self.device)
        torch.save(state, partial / _STATE_FILE)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        # Only the newest is continued from; older ones keep their adapter.
        for older in checkpoints_in(self.folder).values():
            if older != folder:
                (older / _STATE_FILE).unlink(missing_ok=True)
                (older / _ROWS_FILE).unlink(missing_ok=True)

    def restore(self) -> None:
        """Continue from the newest checkpoint, if there is one.

        Raises:
            ValueError: it belongs to a training with other options, prompts or reward.
        """
        newest_first = reversed(checkpoints_in(self.folder).values())
        folder = next((folder for folder in newest_first if _is_whole(folder)), None)
        if folder is None:
            return
        state = torch.load(folder / _STATE_FILE, weights_only=True)
        _check_same_training(state["fingerprint"], self.fingerprint, folder)
        if state["step"] > self.options.steps:
            raise ValueError(f"{folder} is beyond the {self.options.steps} steps asked for")
        self.objective.load(folder)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_device"], self.device)
        self.rows = [Row(*row) for row in json.loads((folder / _ROWS_FILE).read_text())]
        self.step = state["step"]
        self.checkpoint = folder


class _Validator:
    """Validation prompts, encoded once, and their fixed noise."""

    def __init__(
        self,
        validation: Validation,
        generator: Generator,
        reward: Reward,
        options: TrainingOptions,
        processes: Processes,
    ) -> None:
        if "reward" in validation.judges:
            raise ValueError("a judge cannot be called 'reward': that is the training reward")
        self.options = options
        self.processes = processes
        self.batch_size = validation.batch_size
        self.rewards = {"reward": reward, **validation.judges}
        texts = _texts(validation.prompts, "validation")
        self.conditioning = encode_all(generator, texts)
        self.features = {
            name: encode_in_chunks(each.encode, texts) for name, each in self.rewards.items()
        }
        indices = range(validation.images_per_prompt)
        images = [(prompt_id, index) for prompt_id, _ in validation.prompts for index in indices]
        self.n_prompts, self.n_images = len(texts), len(images)
        images = list(processes.share(images))
        self.rows = list(processes.share([row for row in range(len(texts)) for _ in indices]))
        self.noise = batch_noise(options.seed, images, generator.noise_shape, "validation")
        self.seeds = [image_seed(options.seed, *image, "validation sampler") for image in images]

    @torch.no_grad()
    def measure(self, objective: Trainable) -> dict[str, float]:
        device = objective.parameters()[0].device
        collected: dict[str, list[Tensor]] = {}
        for start in range(0, len(self.rows), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            rows = self.rows[chosen]
            with _precision(self.options, device):
                drawn = objective.draw(
                    on_device(self.noise[chosen], device),
                    self.conditioning.rows(rows).to(device),
                    self.options.sampling_steps,
                    self.seeds[chosen],
                )
                for name, reward in self.rewards.items():
                    features = self.features[name].rows(rows)
                    scores = shaped_score(reward, drawn.images, features)
                    collected.setdefault(name, []).append(scores)
            if drawn.delta is not None:
                for name, each in _nats(drawn.delta, drawn.kl).items():
                    collected.setdefault(name, []).append(each)
        sums = {name: self._by_prompt(torch.cat(values)) for name, values in collected.items()}
        self.processes.sum(list(sums.values()))
        means = {name: value.sum().item() / self.n_images for name, value in sums.items()}
        return means | {
            f"{name}{STANDARD_ERROR}": _standard_error(sums[name]) / self.n_images
            for name in self.rewards
            if self.n_prompts > 1
        }

    def _by_prompt(self, values: Tensor) -> Tensor:
        """Values of this process's images, summed over those of each prompt: [prompts]."""
        sums = torch.zeros(self.n_prompts, device=values.device)
        return sums.index_add_(0, torch.tensor(self.rows, device=values.device), values.float())


def _standard_error(sums: Tensor) -> float:
    """Of the sum over prompts, which are what was sampled: all have equally many images."""
    n = len(sums)
    return math.sqrt(n / (n - 1) * float((sums - sums.mean()).double().square().sum()))


class _Order:
    """The order in which prompts are drawn: a new permutation for every pass over them."""

    def __init__(self, n_prompts: int, seed: int) -> None:
        self._n = n_prompts
        self._seed = seed
        self._epoch = -1
        self._permutation: list[int] = []

    def rows(self, draws: Any) -> list[int]:
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


def encode_all(generator: Generator, texts: Sequence[str]) -> Encoded:
    """Encode many prompts once: in memory, or where the generator keeps them (``on_disk``)."""
    on_disk: Callable[[Sequence[str]], Encoded] | None = getattr(generator, "on_disk", None)
    return on_disk(texts) if on_disk else encode_in_chunks(generator.encode, texts)


def _nats(delta: Tensor, kl: Tensor | None) -> dict[str, Tensor]:
    """Per image the KL that is penalised, and half the squared norm, which stands for it."""
    half_squared_norm = squared_norm(delta)
    kl_nats = half_squared_norm if kl is None else kl
    return {"kl_nats": kl_nats, _HALF_SQUARED_NORM: half_squared_norm}


def _mean_of(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


def _precision(options: TrainingOptions, device: torch.device) -> torch.autocast:
    enabled = options.precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _optimizer(
    parameters: Sequence[nn.Parameter], options: TrainingOptions
) -> torch.optim.Optimizer:
    if options.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=options.learning_rate, momentum=0.9)
    return torch.optim.AdamW(parameters, lr=options.learning_rate)


def _texts(prompts: Sequence[Prompt], what: str) -> list[str]:
    if not prompts:
        raise ValueError(f"the list of {what} prompts is empty")
    return [text for _, text in prompts]


def _check_objective(objective: Trainable, generator: Generator, options: TrainingOptions) -> None:
    if objective.generator is not generator:
        raise ValueError("what is trained belongs to another generator")
    asked = {name: getattr(options, name) for name in objective.shape}
    if objective.shape != asked:
        raise ValueError(
            f"the network has {_named(objective.shape)}, the options say {_named(asked)}"
        )
    if options.gradient_checkpointing:
        check_repeatable(generator)
    elif getattr(generator.backbone, "is_gradient_checkpointing", False):
        raise ValueError(
            "gradient checkpointing that was enabled on the backbone repeats passes when the "
            "adapter has been switched off again, and would give wrong gradients; disable it there "
            "and set the option gradient_checkpointing"
        )


def _named(shape: Mapping[str, float]) -> str:
    return " and ".join(f"{name} {value:g}" for name, value in shape.items())


def _fingerprint(
    objective: Trainable, reward: Reward, prompts: Sequence[Prompt], options: TrainingOptions
) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps([list(prompt) for prompt in prompts]).encode())
    own = {"kind": objective.kind, "reward": reward.name, "prompts": digest.hexdigest()}
    # More steps, other checkpoints, or less memory are the same training; sizes that the network
    # does not have change nothing.
    free = {"checkpoint_every", "keep", "gradient_checkpointing", "sync_every"}
    free |= {*_SIZES} - {*objective.shape}
    if options.decay == "none":
        # A decay knows where it ends.
        free.add("steps")
    return own | {name: value for name, value in asdict(options).items() if name not in free}


def _check_same_training(saved: dict[str, Any], asked: dict[str, Any], folder: Path) -> None:
    for name in saved.keys() | asked.keys():
        if saved.get(name) != asked.get(name):
            raise ValueError(
                f"{folder} belongs to another training: its {name} is {saved.get(name)!r}, "
                f"not {asked.get(name)!r}. Choose another folder or remove that one."
            )


def checkpoints_in(folder: Path) -> dict[int, Path]:
    """The finished checkpoints of a training's folder by their optimizer step, in its order."""
    found = (folder / CHECKPOINTS).glob("step_*")
    finished = sorted(path for path in found if path.is_dir() and path.suffix != ".partial")
    return {int(path.name.removeprefix("step_")): path for path in finished}


def _is_whole(checkpoint: Path) -> bool:
    return (checkpoint / _STATE_FILE).is_file() and (checkpoint / _ROWS_FILE).is_file()
