"""Memory that a training step of a published model takes at least, from counts that are recorded.

``memory_peaks.csv`` was counted by :mod:`tools.step_memory` for a GPU: rank 128, bfloat16 autocast,
SGD with momentum, a noise network, redness. ``python -m tools.step_memory`` counts it again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from harness.experiment.components import ModelSpec
from hypernoise.training.options import NoiseNetworkOptions, TrainingOptions

FILE = Path(__file__).with_name("memory_peaks.csv")
#: What the recorded trainings have in common.
RECORDED = NoiseNetworkOptions(
    steps=1, optimizer="sgd", rank=128, alpha=256, l2_reduction="mean", precision="bf16"
)
TRAINS = "hypernoise"
_TRUE = "true"
GIB = 2**30


@dataclass(frozen=True)
class StepPeak:
    """One row of the file.

    Attributes:
        model: name of a model with random weights.
        size_px: its image size.
        vae_savings: its ``vae_savings``, with blanks between them.
        gradient_checkpointing: the option.
        networks_gib: backbone and VAE.
        trained_gib: LoRA, its momentum, and of its gradients those that exist at the peak.
        first_gib: all else, for one image.
        next_gib: for each further image.
    """

    model: str
    size_px: int
    vae_savings: str
    gradient_checkpointing: bool
    networks_gib: float
    trained_gib: float
    first_gib: float
    next_gib: float

    def gib(self, n_images: int, rank: int = RECORDED.rank) -> float:
        """The step's peak for that many images in a process."""
        trained = self.trained_gib * rank / RECORDED.rank
        return self.networks_gib + trained + self.first_gib + self.next_gib * (n_images - 1)

    def n_images(self, room_gib: float, rank: int) -> int:
        """How many images there is room for; 0 where there is for none."""
        left = room_gib - self.gib(1, rank)
        return 0 if left < 0 else 1 + int(left / self.next_gib)


def recorded() -> Iterator[StepPeak]:
    """The rows of the file."""
    with FILE.open(encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            yield StepPeak(
                model=row["model"],
                size_px=int(row["size_px"]),
                vae_savings=row["vae_savings"],
                gradient_checkpointing=row["gradient_checkpointing"] == _TRUE,
                **{name: float(row[name]) for name in row if name.endswith("_gib")},
            )


def write(peaks: Sequence[StepPeak], file: Path = FILE) -> None:
    """Write the file."""
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(field.name for field in fields(StepPeak))
        for peak in peaks:
            row: list[object] = []
            for value in vars(peak).values():
                if isinstance(value, bool):
                    row.append(str(value).lower())
                else:
                    row.append(f"{value:.3f}" if isinstance(value, float) else value)
            writer.writerow(row)


def check_step(
    model: ModelSpec, options: TrainingOptions, n_processes: int, free_bytes: int
) -> None:
    """Check that a GPU has room for a training step, where that is recorded.

    Args:
        model: a published model, or its twin with random weights.
        options: of the training; only those of noise networks are recorded.
        n_processes: how many share a batch, each with a GPU.
        free_bytes: free memory of a GPU.

    Raises:
        ValueError: it has not; says what helps.
    """
    if not isinstance(options, NoiseNetworkOptions):
        return
    peak = find(model, options)
    n_images = -(-options.batch_size // n_processes)
    free_gib = free_bytes / GIB
    if peak is None or peak.gib(n_images, options.rank) <= free_gib:
        return
    n_fitting = peak.n_images(free_gib, options.rank)
    ways = []
    if n_fitting:
        ways.append(
            f"there is room for {n_fitting}, so make batch_size smaller and accumulation larger, "
            "or take more processes"
        )
    if not options.gradient_checkpointing:
        ways.append("set gradient_checkpointing: true")
    if not peak.vae_savings:
        ways.append('declare the model with vae_savings=["slicing"] or ["tiling"]')
    ways.append("or take a GPU with more memory")
    raise ValueError(
        f"a training step of {model.name!r} with {n_images} images in a process takes "
        f"{peak.gib(n_images, options.rank):.1f} GiB at least, and the GPU has {free_gib:.1f} GiB "
        f"free: {'; '.join(ways)}"
    )


def savings_of(model: ModelSpec) -> str:
    """A model's ``vae_savings`` as the file has them."""
    return " ".join(sorted(model.arguments.get("vae_savings", ())))


def find(model: ModelSpec, options: TrainingOptions) -> StepPeak | None:
    """The row of a model as it is declared, with or without its weights."""
    savings = savings_of(model)
    for peak in recorded():
        if (
            peak.model in (model.name, f"{model.name}_random")
            and peak.size_px == model.size_px
            and peak.vae_savings == savings
            and peak.gradient_checkpointing == options.gradient_checkpointing
        ):
            return peak
    return None
