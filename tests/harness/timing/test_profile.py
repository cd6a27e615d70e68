"""Timing: who is timed, how often, and what a number means."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import harness_toys
import numpy as np
import pandas as pd
import pytest
import torch
from harness_toys import BENCHMARK, METHOD, MODEL, PROMPTS, REWARD, ToyGenerator, ToyMethod
from paths import REPOSITORY
from toys import ToyReward, build_generator

from harness.cli.command_line import main
from harness.experiment.component_files import declared
from harness.experiment.components import MethodSpec, ModelSpec
from harness.experiment.jobs import Timed, TimingJob
from harness.experiment.methods import method_variant
from harness.results import frames
from harness.results.stage_names import (
    BACKBONE,
    BACKWARD,
    END_TO_END,
    GENERATION,
    NOISE_NETWORK,
    STAGES,
    TEXT,
    VAE,
)
from harness.timing import contenders, machine_speed, profile
from harness.timing.machine_speed import MachineSpeed
from harness.timing.meter import Meter
from hypernoise.compilation import Compiled
from hypernoise.methods.reno import Reno
from hypernoise.networks.noise_network import NoiseNetwork

WORKFLOWS = REPOSITORY / "workflows"


@pytest.fixture(autouse=True)
def _counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Whatever else this machine does: calls are counted here.
    steady = MachineSpeed("cpu", lambda: 1.0)
    monkeypatch.setattr(machine_speed, "of", lambda device, threads: steady)
    threads = torch.get_num_threads()
    harness_toys.reset()
    yield
    harness_toys.reset()
    torch.set_num_threads(threads)


def method(name: str, wait_s: float = 0.0, **changes: Any) -> MethodSpec:
    arguments = {"label": name, "wait_s": wait_s}
    return dataclasses.replace(METHOD, name=name, arguments=arguments, **changes)


def timing_job(folder: Path, *methods: MethodSpec, **changes: Any) -> TimingJob:
    fields: dict[str, Any] = {
        "model": MODEL,
        "methods": tuple(Timed(spec) for spec in methods),
        "reward": REWARD,
        "benchmark": BENCHMARK,
        "batch_sizes": (1, 4),
        "repeats": 5,
        "operations": False,
        "peak_memory": False,
        "out": str(folder / "timings.parquet"),
    }
    return TimingJob(**fields | changes)


def declared_job(folder: Path, *methods: str, **changes: Any) -> TimingJob:
    """A job of tiny_sd and methods that the repository declares, their networks untrained."""
    registry = declared(WORKFLOWS)
    given = {"model": registry.models["tiny_sd"], "benchmark": registry.benchmarks["shapeworld"]}
    specs = [method_variant(registry, text) for text in methods]
    return timing_job(folder, *specs, **given, rank=2, repeats=3, **changes)


def timed(folder: Path, *methods: MethodSpec, **changes: Any) -> pd.DataFrame:
    job = timing_job(folder, *methods, **changes)
    profile.run(job)
    return frames.read(job.out, "timings")


def test_methods_take_turns(tmp_path: Path) -> None:
    timed(tmp_path, method("a", 0.02), method("b", 0.02))
    labels = [label for label, _ in ToyMethod.calls]
    assert "".join(labels).count("ababababab") == 2


def test_a_method_that_words_prompts_is_timed_with_the_text_encoders_in_place(
    tmp_path: Path,
) -> None:
    model = dataclasses.replace(MODEL, encodings=str(tmp_path / "encodings"))
    rewording = MethodSpec(
        "prompt_search",
        "hypernoise.methods.rewording:grammar_search",
        version=1,
        arguments={"proposals": 1, "rounds": 1},
        needs_reward=True,
    )
    table = timed(tmp_path, rewording, model=model, batch_sizes=(2,), repeats=3)
    assert set(table["nfe"]) == {2.0}


def test_generation_is_the_wall_time_of_a_call_divided_by_its_images(tmp_path: Path) -> None:
    table = timed(tmp_path, method("slow", 0.02))
    table = table[table["stage"] == GENERATION]
    large = table[table["batch_size"] == 4]["ms"]
    single = table[table["batch_size"] == 1]["ms"]
    assert len(large) == len(single) == 5
    assert large.min() >= 5
    assert single.min() >= 20
    # Equal calls, a quarter of the images; the bounds leave room for a busy machine.
    assert 2 < single.median() / large.median() < 8


def test_one_row_per_timing_says_who_and_on_how_many_threads(tmp_path: Path) -> None:
    searching = method("b", 0.01, needs_reward=True)
    table = timed(tmp_path, method("a", 0.01), searching, threads=2, sampling_steps=(2,))
    assert set(table["threads"]) == {2}
    assert set(table["steps"]) == {2}
    assert set(table["nfe"]) == {6.0}
    assert set(zip(table["method"], table["reward"], strict=True)) == {
        ("a", ""),
        ("b", "toy_reward"),
    }
    of_one = table[(table["method"] == "a") & (table["batch_size"] == 4)]
    assert set(of_one["stage"]) == {TEXT, GENERATION, END_TO_END}
    for _, calls in of_one.groupby("stage"):
        assert calls["repeat"].tolist() == list(range(5))
    params = 4 * 4 + 4 + 2 * 3
    assert set(table["params_m"]) == {params / 1e6}


def test_batches_larger_than_the_benchmark_repeat_its_prompts_with_new_noise() -> None:
    task = contenders.task_of(harness_toys.prompts(), 7, 1)
    assert [(item.row, item.image_index) for item in task.items] == [
        (0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)
    ]  # fmt: skip
    assert task.texts == PROMPTS[:3]


def test_every_call_encodes_its_texts_whatever_is_on_disk(tmp_path: Path) -> None:
    model = dataclasses.replace(MODEL, encodings=str(tmp_path / "encodings"))
    timed(tmp_path, method("a"), model=model, batch_sizes=(4,))
    # Three prompts in each call but the first, which makes one image.
    n_calls = len(ToyMethod.calls)
    assert ToyGenerator.encoded == [PROMPTS[0], *(n_calls - 1) * PROMPTS[:3]]
    assert not (tmp_path / "encodings").exists()


def test_a_warm_up_call_is_no_timing_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        labels = [label for label, _ in ToyMethod.calls]
        # Cold: the one image that every method makes first, and its first call on the task.
        now += seconds * (100 if labels.count(labels[-1]) <= 2 else 1)

    clock = Meter(lambda: now, lambda start, end: max(end - start, 1e-9))
    monkeypatch.setattr(contenders, "stopwatch", lambda device: clock)
    monkeypatch.setattr(harness_toys, "time", SimpleNamespace(sleep=sleep))
    both = method("slow", 3.0), method("fast", 0.01)
    table = timed(tmp_path, *both, repeats=3, batch_sizes=(2,))
    whole = table[table["stage"] == GENERATION].set_index("method")
    # Of the slow one, the only warm-up call takes 300 s.
    assert whole.loc["slow", "ms"].tolist() == pytest.approx([1500.0] * 3)
    assert whole.loc["fast", "ms"].tolist() == pytest.approx([5.0] * 3)
    assert [n for label, n in ToyMethod.calls if label == "slow"] == [1, 2, 2, 2, 2]
    assert whole.loc["slow", "repeat"].tolist() == [0, 1, 2]
    assert sorted(whole["turn"]) == list(range(6))


def test_a_trained_method_has_its_own_generator_and_its_adapter_counts_as_parameters(
    tmp_path: Path,
) -> None:
    generator: Any = build_generator("tiny_sd")
    generator.pipeline.save_pretrained(tmp_path / "tiny_sd")
    network = NoiseNetwork(generator, rank=2, alpha=4.0)
    network.save(tmp_path / "adapter")
    target = "hypernoise.models.unet:SdTurbo"
    base = MethodSpec("base", "hypernoise.methods.base:Base", version=1)
    noise = MethodSpec(
        "hypernoise", "hypernoise.methods.hypernoise:HyperNoise", version=1, trains="hypernoise"
    )
    table = timed(
        tmp_path,
        model=ModelSpec(
            "tiny_sd", target, weights=str(tmp_path / "tiny_sd"), size_px=32, version=1
        ),
        methods=(Timed(noise, str(tmp_path / "adapter")), Timed(base)),
        repeats=3,
        batch_sizes=(2,),
    )
    inputs = frames.read_provenance(tmp_path / "timings.parquet")["inputs"]
    assert set(inputs) == {str(path) for path in (tmp_path / "adapter").iterdir()}
    of = table.groupby("method")
    params = of["params_m"].first()
    assert params["hypernoise"] - params["base"] == pytest.approx(network.n_parameters / 1e6)
    backbone = of["backbone_params_m"].first()
    own = sum(p.numel() for p in build_generator("tiny_sd").backbone.parameters()) / 1e6
    assert backbone["base"] == pytest.approx(own)
    assert backbone["base"] < params["base"]
    assert backbone["hypernoise"] - backbone["base"] == pytest.approx(network.n_parameters / 1e6)
    assert of["nfe"].first().to_dict() == {"base": 1.0, "hypernoise": 2.0}
    assert of["reward"].first().to_dict() == {"base": "", "hypernoise": "toy_reward"}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": ()}, ValueError, "methods are empty"),
        ({"repeats": 2}, ValueError, "repeats must be at least 3, got 2"),
        ({"sampling_steps": (0,)}, ValueError, "steps must be at least 1, got 0"),
        ({"batch_sizes": (0,)}, ValueError, "batch_sizes must be at least 1, got 0"),
        ({"modes": ("fast",)}, ValueError, "unknown mode 'fast'.*compiled"),
        ({"device": "cuda:1"}, ValueError, "unknown device 'cuda:1'; there are cpu, cuda; .*CUDA"),
        ({"precisions": ("float8",)}, ValueError, "unknown dtype 'float8'"),
        (
            {"methods": (Timed(method("b", needs_reward=True)),), "reward": None},
            ValueError,
            "'b' searches for a reward; name one",
        ),
        (
            {"methods": (Timed(dataclasses.replace(METHOD, trains="hypernoise"), "lost"),)},
            FileNotFoundError,
            "adapter folder lost of method 'toy_method' is missing",
        ),
        (
            {"model": dataclasses.replace(MODEL, weights="a/b/c")},
            FileNotFoundError,
            "no folder a/b/c",
        ),
    ],
)
def test_a_job_that_cannot_be_carried_out_stops_before_anything_is_loaded(
    changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        timed(tmp_path, method("a"), **changes)
    assert ToyGenerator.built == 0


def test_a_method_that_fails_does_so_before_the_others_are_timed(tmp_path: Path) -> None:
    searching = MethodSpec(
        "reno", "hypernoise.methods.reno:Reno", version=1, arguments={"iterations": 2}
    )
    with pytest.raises(ValueError, match="ReNO searches for a reward"):
        timed(tmp_path, method("a"), searching)
    assert len(ToyMethod.calls) == 1


def test_peak_memory_is_measured_where_that_is_asked_for(tmp_path: Path) -> None:
    held = timed(tmp_path, method("a"), peak_memory=True)
    assert (held["peak_memory_mib"] > 0).all()
    assert timed(tmp_path, method("a"))["peak_memory_mib"].isna().all()


def test_rows_say_what_every_stage_of_every_call_took(tmp_path: Path) -> None:
    both = method("a"), method("b", needs_reward=True)
    rows = timed(tmp_path, *both, repeats=6, batch_sizes=(3, 1))
    assert rows.groupby(["method", "batch_size", "stage"]).size().min() >= 3
    whole = rows[rows["stage"] == END_TO_END]
    for _, same in whole.groupby("batch_size"):
        assert sorted(same["turn"]) == list(range(len(same)))
    wide = rows.pivot(index=["batch_size", "turn"], columns="stage", values="ms")
    assert (wide[TEXT] + wide[GENERATION] <= wide[END_TO_END]).all()
    assert (rows["ms"] > 0).all()
    assert rows["gflops"].isna().all()
    assert set(rows["slowdown"]) == {0.0}
    made = frames.read_provenance(tmp_path / "timings.parquet")
    assert made["spec"]["batch_sizes"] == [3, 1]
    assert [set(state) >= {"time", "load_1min", "gpus"} for state in made["machine"]] == [True] * 2


def test_operations_are_counted_per_image_and_stage(tmp_path: Path) -> None:
    texts = ("base", "hypernoise:merged=true")
    job = declared_job(tmp_path, *texts, batch_sizes=(1, 2), operations=True, peak_memory=True)
    profile.run(job)
    rows = frames.read(job.out, "timings").drop_duplicates(["method", "batch_size", "stage"])
    gflops = rows.pivot(index=["method", "batch_size"], columns="stage", values="gflops")
    # Per image, whatever the batch.
    for _, same in gflops.groupby("method"):
        assert np.allclose(same.iloc[0], same.iloc[1], equal_nan=True, rtol=1e-6)
    base, noise = (gflops.loc[(name, 1)] for name in ("base", "hypernoise:merged=true"))
    assert np.isnan(base[NOISE_NETWORK])
    # Merged, the noise network is a pass through the backbone and nothing else.
    assert noise[NOISE_NETWORK] == pytest.approx(base[BACKBONE])
    parts = [stage for stage in STAGES if stage in gflops]
    assert noise[parts].sum() == pytest.approx(noise[END_TO_END], rel=0.01)
    params = rows.groupby("method")["params_m"].first()
    assert params["hypernoise:merged=true"] > params["base"]
    assert (rows["peak_memory_mib"] > 0).all()


@pytest.mark.parametrize("family", ["tiny_sd", "tiny_flux"])
def test_the_operations_of_a_search_with_gradients_are_counted(family: str) -> None:
    # tiny_flux hands the noise itself to its first layer.
    generator, reward = build_generator(family), ToyReward()
    eager = Compiled(None, "eager")
    contender = contenders.Contender(
        method("reno"), "eager", Reno(3), generator, reward, eager, 1.0, "cpu"
    )
    gflops = contender.gflops(contenders.task_of(harness_toys.prompts(1), 1, 1))
    # Two gradients for three passes; each repeats at least the forward pass's operations.
    forward = gflops[BACKBONE] + gflops[VAE]
    assert gflops[BACKWARD] >= 0.6 * forward > 0


def test_methods_in_place_get_a_backbone_of_their_own_and_share_the_rest(
    tmp_path: Path,
) -> None:
    job = declared_job(tmp_path, "base", "hypernoise", "hypernoise:merged=true")
    base, in_place, merged = contenders.contenders_of(job, job.model)
    assert merged.generator is base.generator
    assert in_place.generator is not base.generator
    assert in_place.generator.pipeline.vae is base.generator.pipeline.vae
    assert in_place.generator.pipeline.unet is in_place.generator.backbone
    assert not any("lora" in name for name, _ in base.generator.backbone.named_parameters())


def test_a_user_profiles_a_model_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(WORKFLOWS.parent)
    options = ["--methods", "base", "hypernoise", "--repeats", "3", "--out", str(tmp_path)]
    assert main(["profile", "--model", "tiny_sd", *options]) == 0
    printed = capsys.readouterr().out
    assert "ratio_to_base" in printed
    rows = frames.read(tmp_path / "tiny_sd.parquet", "timings")
    assert set(rows["method"]) == {"base", "hypernoise"}
    assert main(["profile", "--model", "tiny_ds", *options]) == 2
    assert "did you mean 'tiny_sd'" in capsys.readouterr().err
    assert main(["profile"]) == 2
    assert "name a model" in capsys.readouterr().err
