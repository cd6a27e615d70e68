"""What a training step holds: the count itself, and the recorded ones of published models.

The recorded ones are left out unless asked for (``pytest -m full_size -k memory`` counts them).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published import SIZE_PX, registered, small_generator, small_parts

from harness.build import generators, memory_peaks
from harness.build.memory_peaks import GIB, RECORDED, StepPeak, check_step, find, recorded
from harness.cli import preflight
from harness.experiment.components import MethodSpec, PromptsSpec
from harness.experiment.jobs import TrainJob
from harness.stages import train
from harness.timing.live_memory import BACKWARD, FORWARD, NETWORKS, LiveMemory, without_values
from hypernoise.models import random_weights
from hypernoise.rewards.redness import Redness
from hypernoise.training.kinds import KINDS
from hypernoise.training.options import LowFrequencyOptions, NoiseNetworkOptions, TrainingOptions
from tools.step_memory import REDNESS, Peak, count, recorded_peak, step_peak

OPTIONS = NoiseNetworkOptions(steps=1, batch_size=2, rank=4, alpha=8.0, optimizer="sgd")


def counted(name: str, options: TrainingOptions, gpu: bool = False) -> Peak:
    spec = replace(registered().models[f"{name}_random"], size_px=SIZE_PX)
    # Small generators decode whole batches.
    changes = {"dtype": "float32", "vae_savings": []}
    spec = replace(spec, arguments={**spec.arguments, **changes})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(random_weights, "parts_of", small_parts)
        return count(spec, REDNESS, "hypernoise", options, gpu)


def really_held(name: str, options: TrainingOptions) -> Peak:
    generator = small_generator(registered().models[name], torch.float32)
    objective = KINDS["hypernoise"].build(generator, options)
    memory = LiveMemory()
    with memory:
        return step_peak(memory, objective, generator, Redness(), options)


def test_storages_count_once_and_as_long_as_they_live() -> None:
    memory = LiveMemory()
    with memory:
        first = torch.zeros(256)
        second = first + 1
        view = first[:8]
        del first
        assert memory.peak[FORWARD] == 2 * 1024
        del view, second
        memory.forget_peak()
        assert memory.peak[FORWARD] == 0
        third = torch.zeros(512, requires_grad=True)
        memory.assign([third], NETWORKS)
        third.sin().sum().backward()
    assert memory.peak[NETWORKS] == 2048
    # The gradient of the sum is a view of one number; the sine's has the sine's size.
    assert 2048 <= memory.peak[BACKWARD] <= 2 * 2048


def test_tensors_without_values_allocate_nothing_and_schedules_keep_theirs() -> None:
    memory = LiveMemory()
    layer = torch.nn.Linear(2**20, 2**20, bias=False, device="meta")
    with without_values(), memory:
        layer.to_empty(device="cpu")
        moved = layer(torch.ones(1, 2**20))
        steps = torch.linspace(0, 1, 3).tolist()
    assert moved.shape == (1, 2**20)
    assert steps == [0.0, 0.5, 1.0]
    # The step's three numbers are real, and counted too.
    assert memory.peak[FORWARD] == 4 * (2**40 + 2 * 2**20 + 3)


@pytest.mark.parametrize(
    ("name", "recompute"),
    [("sd_turbo", True), ("sana_sprint_0_6b", False), ("flux_schnell", True)],
)
def test_a_count_without_values_is_that_of_a_real_step(name: str, recompute: bool) -> None:
    options = OPTIONS.changed(gradient_checkpointing=recompute)
    without, real = counted(name, options), really_held(name, options)
    assert without._replace(forward=0) == real._replace(forward=0)
    # A real text encoder leaves a few kilobytes more behind.
    assert without.forward == pytest.approx(real.forward, rel=0.05)


def test_a_gpu_rounds_less_to_bfloat16_and_keeps_more() -> None:
    options = OPTIONS.changed(precision="bf16", gradient_checkpointing=True)
    cpu, gpu = (counted("pixart_alpha_dmd", options, gpu) for gpu in (False, True))
    assert sum(gpu) > sum(cpu)
    assert gpu.networks == cpu.networks


def test_moments_count_as_what_is_trained() -> None:
    sgd, adamw = (
        counted("flux_schnell", OPTIONS.changed(optimizer=name)) for name in ("sgd", "adamw")
    )
    # Most is held where the backward pass begins, before there are gradients: LoRA and momentum.
    assert sgd.trained == pytest.approx(2 * (adamw.trained - sgd.trained), rel=0.02)


@pytest.mark.full_size
@pytest.mark.parametrize("peak", list(recorded()), ids=str)
def test_the_recorded_peaks_are_what_is_counted(peak: StepPeak) -> None:
    model = registered().models[peak.model]
    savings = {"vae_savings": peak.vae_savings.split()}
    model = replace(model, arguments={**model.arguments, **savings})
    again = recorded_peak(model, peak.gradient_checkpointing)
    assert again.gib(1) == pytest.approx(peak.gib(1), rel=0.01)
    assert again.next_gib == pytest.approx(peak.next_gib, rel=0.01)


@pytest.fixture
def sana_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[StepPeak]:
    """Two rows that are recorded instead: with gradient checkpointing and without."""
    rows = [
        StepPeak(
            "sana_sprint_0_6b_random", 1024, "slicing", recompute, 2.0, 1.0, first, first - 0.5
        )
        for recompute, first in ((True, 8.0), (False, 25.0))
    ]
    memory_peaks.write(rows, tmp_path / "peaks.csv")
    monkeypatch.setattr(memory_peaks, "FILE", tmp_path / "peaks.csv")
    return rows


def test_recorded_rows_are_read_as_they_were_written(sana_rows: list[StepPeak]) -> None:
    assert list(recorded()) == sana_rows
    assert sana_rows[0].gib(3) == 2 + 1 + 8 + 2 * 7.5
    assert sana_rows[0].gib(3, rank=64) == 2 + 0.5 + 8 + 2 * 7.5


@pytest.mark.usefixtures("sana_rows")
def test_a_gpu_that_is_too_small_for_a_step_is_told_what_fits() -> None:
    model = registered().models["sana_sprint_0_6b"]
    options = RECORDED.changed(batch_size=18, gradient_checkpointing=True)
    with pytest.raises(ValueError, match=r"'sana_sprint_0_6b' with 18 images .*room for 3, so"):
        check_step(model, options, 1, 30 * GIB)
    check_step(model, options, 6, 30 * GIB)
    kept = options.changed(gradient_checkpointing=False)
    with pytest.raises(ValueError, match="set gradient_checkpointing: true"):
        check_step(model, kept, 6, 30 * GIB)


@pytest.mark.usefixtures("sana_rows")
def test_a_training_whose_peak_nobody_counted_is_let_through() -> None:
    model = registered().models["sana_sprint_0_6b"]
    tiled = replace(model, arguments={**model.arguments, "vae_savings": ["tiling", "slicing"]})
    assert find(tiled, RECORDED) is None
    check_step(tiled, RECORDED, 1, 0)
    check_step(model, LowFrequencyOptions(steps=1), 1, 0)


@pytest.mark.usefixtures("sana_rows")
def test_a_training_that_does_not_fit_the_gpu_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = TrainJob(
        model=registered().models["sana_sprint_0_6b_random"],
        method=MethodSpec("hypernoise", "a:B", version=1, trains="hypernoise"),
        reward=REDNESS,
        train_prompts=PromptsSpec("harness_toys:prompts"),
        validation_prompts=PromptsSpec("harness_toys:prompts"),
        options={"steps": 1, "batch_size": 18, "gradient_checkpointing": True, "rank": 128},
        out="out",
        work="work",
    )
    monkeypatch.setattr(generators, "free_memory_bytes", lambda device: 2**40)
    monkeypatch.setattr(train, "default_device", lambda: "cuda")
    # Its text encoder, which stays in memory, takes 4.9 GiB of these.
    monkeypatch.setattr(train, "free_memory_bytes", lambda device: 35 * GIB)
    with pytest.raises(ValueError, match=r"18 images in a process takes 138\.5 GiB"):
        preflight.check(job)
    preflight.check(job, n_processes=6)
