"""What runs on a GPU, as far as it can be looked at without one."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from contextlib import chdir, nullcontext
from pathlib import Path

import fake_device
import micro_runs
import pandas as pd
import pytest
import torch
from experiments import load
from paths import REPOSITORY

from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.stages import compare_images, generate, score, train
from hypernoise.compilation import Compiled

#: Of training, what a device could have to do with.
CHANGED = {
    "gradient_checkpointing": True,
    "optimizer": "sgd",
    "precision": "bf16",
    "accumulation": 2,
}
#: Of torch.cuda what does nothing, or nothing wrong, where there is no GPU.
HARMLESS = {"is_available", "device_count", "empty_cache", "OutOfMemoryError"}
#: What says in a function that the rest of it is about a GPU that is there.
GUARD = re.compile(r'== "cuda"|!= "cuda"|startswith\("cuda|cuda\.is_available\(\)|has_gpu')
#: Arrays of tensors that never were on a device, or were fetched where they are made.
FETCHED = {
    "hypernoise/noise.py": "a generator's state is on the CPU",
    "hypernoise/shapeworld/pretraining.py": "noise features are drawn on the CPU",
    "hypernoise/shapeworld/matching.py": "the renderer's images",
    "harness/benchmarks/mask2former.py": "Instances are on the CPU",
    "harness/benchmarks/clip_colors.py": "masks of Instances",
}


def sources() -> Iterator[tuple[str, str]]:
    for package in ("hypernoise", "harness"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield str(path.relative_to(REPOSITORY)), path.read_text(encoding="utf-8")


def test_calls_of_cuda_stand_where_a_gpu_is_known_to_be() -> None:
    found, unguarded = 0, []
    for name, text in sources():
        # What is defined inside a function or method has that one's guard.
        classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
        for node in [*ast.parse(text).body, *(inner for each in classes for inner in each.body)]:
            if not isinstance(node, ast.FunctionDef):
                continue
            body = ast.get_source_segment(text, node) or ""
            called = set(re.findall(r"\btorch\.cuda\.(\w+)", body)) - HARMLESS
            found += len(called)
            if called and not GUARD.search(body):
                unguarded.append(f"{name}:{node.name} calls {', '.join(sorted(called))}")
    assert found >= 5
    assert not unguarded


def test_no_path_names_a_device_or_fetches_tensors_as_if_there_were_only_cpus() -> None:
    faults = []
    for name, text in sources():
        faults += [
            f"{name}: {call}" for call in re.findall(r"\.cuda\(|\.to\([\"']\w+[\"']\)", text)
        ]
        bare = re.findall(r"(?<!\.cpu\(\))(?<!\w)\.numpy\(\)|(?<!\.cpu\(\))\.numpy\(\)", text)
        if bare and name not in FETCHED:
            faults.append(f"{name}: {len(bare)} times .numpy() of what may be on a device")
    assert not faults


def test_cuda_graphs_are_refused_where_there_is_no_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="cuda_graphs needs a GPU"):
        Compiled(object(), "cuda_graphs")


def test_a_tensor_that_was_left_on_the_cpu_is_a_fault_on_the_fake_device() -> None:
    with fake_device.entered():
        there = torch.ones(2, device=fake_device.DEVICE)
        assert there.device == fake_device.DEVICE != torch.device("cpu")
        assert (there + torch.tensor(1.0)).cpu().numpy().tolist() == [2.0, 2.0]
        with pytest.raises(RuntimeError, match="a tensor on the device and one on cpu"):
            there + torch.ones(2)
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()


def results(
    folder: Path, monkeypatch: pytest.MonkeyPatch, on_device: bool, precision: str
) -> dict[str, pd.DataFrame]:
    """Frames of the stages that compute with a generator, but for seconds, by their place."""
    folder.mkdir()
    registry = micro_runs.prepared(folder)
    default = {**micro_runs.CONFIG["training"]["default"], **CHANGED}  # type: ignore[index]
    config = micro_runs.CONFIG | {
        "methods": ["base", "hypernoise", "best_of_n", "reno"],
        "training": {"default": default | {"precision": precision}},
        "arguments": {"best_of_n": {"n": 2}, "reno": {"iterations": 1}},
    }
    place = fake_device.as_default(monkeypatch) if on_device else nullcontext()
    with chdir(folder), place:
        experiment = Experiment(read(load("tiny.yaml") | config, "micro.yaml"), registry, "micro")
        planned, model = Planned(experiment), micro_runs.MODEL
        for names in experiment.trainings():
            train.run(planned.train(*names))
        for wanted in experiment.runs("main", model):
            generate.run(planned.generate(**wanted._asdict()))
        score.run(planned.score("main", model))
        compare_images.run(planned.pairs("diversity", model))
    found = {}
    for file in sorted((folder / "results").rglob("*.parquet")):
        rows = pd.read_parquet(file)
        kept = rows["name"] != "seconds" if "name" in rows else slice(None)
        found[str(file.relative_to(folder))] = rows[kept]
    return found


def test_every_stage_runs_on_a_device_and_gives_what_it_gives_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cpu = results(tmp_path / "cpu", monkeypatch, on_device=False, precision="fp32")
    on_device = results(tmp_path / "device", monkeypatch, on_device=True, precision="fp32")
    assert list(on_cpu) == list(on_device)
    folders = {file.split("/")[1] for file in on_cpu}
    assert folders == {"images", "pairs", "scores", "training"}
    for file in on_cpu:
        # Fused kernels of the CPU add in another order.
        pd.testing.assert_frame_equal(on_cpu[file], on_device[file], rtol=1e-3, atol=1e-4)


def test_a_training_in_bfloat16_runs_on_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = results(tmp_path / "device", monkeypatch, on_device=True, precision="bf16")
    (rows,) = (rows for file, rows in found.items() if "/training/" in file)
    losses = rows.loc[rows["name"] == "loss", "value"]
    assert len(losses) == 3
    assert losses.map(math.isfinite).all()
