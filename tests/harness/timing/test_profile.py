"""Timing: who is timed when, how often, and what a number means."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import harness_toys
import pandas as pd
import pytest
import torch
from harness_toys import BENCHMARK, METHOD, MODEL, PROMPTS, REWARD, ToyGenerator, ToyMethod
from toys import build_generator

from harness.experiment.components import MethodSpec, ModelSpec
from harness.experiment.jobs import ProfileJob, Timed
from harness.results import frames
from harness.timing import profile
from hypernoise.networks.lora_networks import NoiseNetwork


@pytest.fixture(autouse=True)
def _counts() -> Iterator[None]:
    threads = torch.get_num_threads()
    harness_toys.reset()
    yield
    harness_toys.reset()
    torch.set_num_threads(threads)


def method(name: str, wait_s: float = 0.0, **changes: Any) -> MethodSpec:
    arguments = {"label": name, "wait_s": wait_s}
    return dataclasses.replace(METHOD, name=name, arguments=arguments, **changes)


def profile_job(folder: Path, *methods: MethodSpec, **changes: Any) -> ProfileJob:
    fields: dict[str, Any] = {
        "model": MODEL,
        "methods": tuple(Timed(spec) for spec in methods),
        "reward": REWARD,
        "benchmark": BENCHMARK,
        "batch_size": 4,
        "repeats": 5,
        "steps": 1,
        "out": str(folder / "timings.parquet"),
    }
    return ProfileJob(**fields | changes)


def timed(folder: Path, *methods: MethodSpec, **changes: Any) -> pd.DataFrame:
    job = profile_job(folder, *methods, **changes)
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
        "hypernoise.shapeworld.rewording:grammar_search",
        version=1,
        arguments={"proposals": 1, "rounds": 1},
        needs_reward=True,
    )
    table = timed(tmp_path, rewording, model=model, batch_size=2, repeats=3)
    assert set(table["nfe"]) == {2.0}


def test_single_images_are_timed_unless_that_is_not_asked_for(tmp_path: Path) -> None:
    both = timed(tmp_path, method("a"))
    assert set(both["batch_size"]) == {1, 4}
    assert set(timed(tmp_path, method("a"), single_images=False)["batch_size"]) == {4}


def test_equal_methods_alternate_and_a_rare_one_is_spread_over_the_rounds() -> None:
    assert profile.interleaved([3, 3]) == [0, 1, 0, 1, 0, 1]
    order = profile.interleaved([12, 3, 12])
    assert [order.count(method) for method in range(3)] == [12, 3, 12]
    rare = [position for position, method in enumerate(order) if method == 1]
    assert all(8 <= later - earlier <= 10 for earlier, later in pairwise(rare))


def test_slow_methods_are_timed_less_often_but_never_less_than_three_times() -> None:
    assert profile.repeats_of([0.1, 0.2, 0.99, 2.0, 50.0], 20) == [20, 20, 20, 10, 3]
    assert profile.repeats_of([0.1, 50.0], 3) == [3, 3]


def test_warm_up_lasts_until_two_calls_agree_or_the_time_is_up() -> None:
    def durations(*seconds: float) -> Any:
        left = list(seconds)
        return (lambda: left.pop(0)), left

    call, left = durations(0.5, 0.2, 0.1, 0.101, 9.0)
    assert profile.warm_up(call) == 0.101
    assert left == [9.0]
    call, left = durations(13.0, 9.0)
    assert profile.warm_up(call) == 13.0
    assert left == [9.0]
    call, left = durations(0.9, 0.6, 0.4, 0.3, 9.0)
    assert profile.warm_up(call) == 0.3
    assert left == [9.0]


def test_latency_is_the_wall_time_of_a_call_divided_by_its_images(tmp_path: Path) -> None:
    table = timed(tmp_path, method("slow", 0.02))
    large = table[table["batch_size"] == 4]["latency_ms"]
    single = table[table["batch_size"] == 1]["latency_ms"]
    assert len(large) == len(single) == 5
    assert large.min() >= 5
    assert single.min() >= 20
    # Equal calls, a quarter of the images; the bounds leave room for a busy machine.
    assert 2 < single.median() / large.median() < 8


def test_one_row_per_timing_says_who_and_on_how_many_threads(tmp_path: Path) -> None:
    searching = method("b", 0.01, needs_reward=True)
    table = timed(tmp_path, method("a", 0.01), searching, threads=2, steps=2)
    assert set(table["threads"]) == {2}
    assert set(table["steps"]) == {2}
    assert set(table["nfe"]) == {6.0}
    assert set(zip(table["method"], table["reward"], strict=True)) == {
        ("a", ""),
        ("b", "toy_reward"),
    }
    repeats = table[(table["method"] == "a") & (table["batch_size"] == 4)]["repeat"]
    assert repeats.tolist() == list(range(5))
    params = 4 * 4 + 4 + 2 * 3
    assert set(table["params_m"]) == {params / 1e6}


def test_batches_larger_than_the_benchmark_repeat_its_prompts_with_new_noise(
    tmp_path: Path,
) -> None:
    items = profile.check(profile_job(tmp_path, method("a"), batch_size=7))
    assert [(item.row, item.image_index) for item in items] == [
        (0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)
    ]  # fmt: skip


def test_text_is_encoded_once_and_not_timed(tmp_path: Path) -> None:
    timed(tmp_path, method("a"), method("b"))
    assert list(PROMPTS[:3]) == ToyGenerator.encoded


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
        model=ModelSpec("tiny_sd", target, str(tmp_path / "tiny_sd"), 32, version=1),
        methods=(Timed(noise, str(tmp_path / "adapter")), Timed(base)),
        repeats=3,
        batch_size=2,
    )
    inputs = frames.read_provenance(tmp_path / "timings.parquet")["inputs"]
    assert set(inputs) == {str(path) for path in (tmp_path / "adapter").iterdir()}
    of = table.groupby("method")
    params = of["params_m"].first()
    assert params["hypernoise"] - params["base"] == pytest.approx(network.n_parameters / 1e6)
    assert of["nfe"].first().to_dict() == {"base": 1.0, "hypernoise": 2.0}
    assert of["reward"].first().to_dict() == {"base": "", "hypernoise": "toy_reward"}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": ()}, ValueError, "no methods to time"),
        ({"repeats": 2}, ValueError, "repeats must be at least 3, got 2"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
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
