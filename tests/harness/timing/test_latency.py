"""What methods cost: whose time a stage is, who takes turns, and what an interval covers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import harness_toys
import numpy as np
import pandas as pd
import pytest
import torch
from harness_toys import BENCHMARK, METHOD, MODEL, REWARD, ToyGenerator
from paths import REPOSITORY
from torch import nn
from torch._dynamo.exc import FailOnRecompileLimitHit
from toys import PROMPTS, ToyReward, build_generator, encode, noise_for

from harness.__main__ import main
from harness.analysis.latency_table import latency as latency_table
from harness.analysis.statistics import median_interval
from harness.base.import_strings import SpecError
from harness.experiment.component_files import declared, method_variant
from harness.experiment.components import MethodSpec, Registry
from harness.experiment.jobs import LatencyJob
from harness.results import frames
from harness.timing import latency
from harness.timing.live_memory import peak_memory_mib
from harness.timing.meter import REWARD as REWARD_STAGE
from harness.timing.meter import Meter, Spans, watched
from harness.timing.stage_names import (
    BACKBONE,
    BACKWARD,
    END_TO_END,
    GENERATION,
    NOISE_NETWORK,
    STAGES,
    TEXT,
    VAE,
)
from hypernoise import compilation
from hypernoise.compilation import Compiled
from hypernoise.methods.hypernoise import HyperNoise
from hypernoise.methods.reno import Reno
from hypernoise.models.protocol import Generator
from hypernoise.networks.lora_networks import NoiseNetwork

WORKFLOWS = REPOSITORY / "workflows"


@pytest.fixture(autouse=True)
def _counts() -> Iterator[None]:
    threads = torch.get_num_threads()
    harness_toys.reset()
    yield
    harness_toys.reset()
    torch.set_num_threads(threads)


def ticking() -> Meter:
    """A clock that goes on by one whenever it is looked at."""
    ticks = iter(range(10_000))
    return Meter(lambda: next(ticks), lambda start, end: float(end - start))


class Counted(Spans):
    """Spans that count how often each stage was entered."""

    def __init__(self) -> None:
        super().__init__(ticking())
        self.entered: Counter[str] = Counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.entered[name] += not self._is_inside
        with super().stage(name):
            yield


def method(name: str, **changes: Any) -> MethodSpec:
    return dataclasses.replace(METHOD, name=name, arguments={"label": name}, **changes)


def latency_job(folder: Path, *methods: MethodSpec, **changes: Any) -> LatencyJob:
    fields: dict[str, Any] = {
        "model": MODEL,
        "methods": methods,
        "prompts": BENCHMARK.prompts,
        "repeats": 6,
        "out": str(folder / "latencies.parquet"),
    }
    return LatencyJob(**fields | changes)


def test_of_nested_stages_the_outermost_counts() -> None:
    spans = Spans(ticking())
    with spans.whole("all"):
        with spans.stage("a"), spans.stage("b"):
            pass
        with spans.stage("b"):
            pass
    assert spans.take() == {"a": 1.0, "b": 1.0, "all": 5.0}
    assert spans.take() == {}


def test_watching_leaves_everything_as_it_was(tiny_sd: Generator, toy_reward: ToyReward) -> None:
    owners = [tiny_sd, tiny_sd.backbone, tiny_sd.pipeline.vae, toy_reward, torch.autograd]
    before = [dict(vars(owner)) for owner in owners]
    with (
        pytest.raises(KeyError, match="stop"),
        watched(Spans(ticking()), tiny_sd, toy_reward),
    ):
        assert vars(tiny_sd.backbone).keys() != before[1].keys()
        raise KeyError("stop")
    assert [dict(vars(owner)) for owner in owners] == before


def test_reno_encodes_texts_once_and_has_a_stage_for_all_of_a_step(
    tiny_sd: Generator, toy_reward: ToyReward
) -> None:
    spans = Counted()
    with watched(spans, tiny_sd, toy_reward):
        conditioning = encode(tiny_sd)
        features = toy_reward.encode(conditioning.prompts)
        Reno(4).run(
            tiny_sd, toy_reward, conditioning, features, noise_for(tiny_sd, 2), seeds=[1, 2]
        )
    # Text: the generator's once, the reward's once.
    assert spans.entered == {TEXT: 2, BACKBONE: 4, VAE: 4, REWARD_STAGE: 4, BACKWARD: 3}


@pytest.mark.parametrize("form", [False, True, "per_layer", "in_place"])
def test_a_noise_networks_pass_is_its_own_stage_and_encodes_no_text(
    tiny_sd: Generator, form: bool | str
) -> None:
    network = NoiseNetwork(tiny_sd, 2, 2.0)
    spans = Counted()
    conditioning = encode(tiny_sd)
    with watched(spans, tiny_sd):
        HyperNoise(network, form).run(
            tiny_sd, None, conditioning, None, noise_for(tiny_sd, 2), [1, 2], steps=2
        )
    if form is False:
        network.adapter.remove()
    assert spans.entered == {NOISE_NETWORK: 1, BACKBONE: 2, VAE: 1}


def test_rows_say_what_every_stage_of_every_call_took(tmp_path: Path) -> None:
    job = latency_job(
        tmp_path, method("a"), method("b", needs_reward=True), reward=REWARD, batch_sizes=(3, 1)
    )
    latency.run(job)
    rows = frames.read(job.out, "latencies")
    assert set(zip(rows["method"], rows["reward"], strict=True)) == {
        ("a", ""),
        ("b", "toy_redness"),
    }
    assert set(rows["stage"]) == {TEXT, GENERATION, END_TO_END}
    assert rows.groupby(["method", "batch_size", "stage"]).size().min() >= 3
    whole = rows[rows["stage"] == END_TO_END]
    for _, same in whole.groupby("batch_size"):
        assert sorted(same["turn"]) == list(range(len(same)))
    wide = rows.pivot(index=["batch_size", "turn"], columns="stage", values="latency_ms")
    assert (wide[TEXT] + wide[GENERATION] <= wide[END_TO_END]).all()
    assert (rows["latency_ms"] > 0).all()
    assert set(rows["nfe"]) == {3.0}
    spec = frames.read_provenance(job.out)["spec"]
    assert spec["job"]["batch_sizes"] == [3, 1]
    assert [set(state) >= {"time", "load_1min", "gpus"} for state in spec["machine"]] == [True] * 2


def test_operations_are_counted_per_image_and_stage(tmp_path: Path) -> None:
    registry = declared(WORKFLOWS)
    job = latency_job(
        tmp_path,
        *(method_variant(registry, text) for text in ("base", "hypernoise:merged=true")),
        model=registry.models["tiny_sd"],
        prompts=registry.benchmarks["shapeworld"].prompts,
        batch_sizes=(1, 2),
        repeats=3,
        rank=2,
    )
    latency.run(job)
    rows = frames.read(job.out, "latencies").drop_duplicates(["method", "batch_size", "stage"])
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
    contender = latency.Contender(
        method("reno"), "eager", Reno(3), generator, reward, Compiled(None, "eager"), 1.0, "cpu"
    )
    costs = latency.costs_of(contender, latency.Task(PROMPTS[:1], (("a", 0),), 1))
    assert costs.nfe == 3
    # Two gradients for three passes; each repeats at least the forward pass's operations.
    forward = costs.gflops[BACKBONE] + costs.gflops[VAE]
    assert costs.gflops[BACKWARD] >= 0.6 * forward > 0


def test_methods_in_place_get_a_backbone_of_their_own_and_share_the_rest(
    tmp_path: Path,
) -> None:
    registry = declared(WORKFLOWS)
    texts = ("base", "hypernoise", "hypernoise:merged=true")
    job = latency_job(
        tmp_path,
        *(method_variant(registry, text) for text in texts),
        model=registry.models["tiny_sd"],
    )
    base, in_place, merged = latency.contenders_of(job, job.model)
    assert merged.generator is base.generator
    assert in_place.generator is not base.generator
    assert in_place.generator.pipeline.vae is base.generator.pipeline.vae
    assert in_place.generator.pipeline.unet is in_place.generator.backbone
    assert not any("lora" in name for name, _ in base.generator.backbone.named_parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ()}, "methods are empty"),
        ({"batch_sizes": (0,)}, "batch_sizes must be at least 1, got 0"),
        ({"sampling_steps": (0,)}, "steps must be at least 1, got 0"),
        ({"repeats": 2}, "repeats must be at least 3, got 2"),
        ({"modes": ("fast",)}, "unknown mode 'fast'.*compiled"),
        ({"device": "cuda:1"}, "unknown device 'cuda:1'; there are cpu, cuda; .*CUDA_VISIBLE"),
        ({"precisions": ("float8",)}, "unknown dtype 'float8'"),
        ({"methods": (method("b", needs_reward=True),)}, "'b' searches for a reward; name one"),
    ],
)
def test_a_job_that_cannot_be_carried_out_loads_nothing(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    job = dataclasses.replace(latency_job(tmp_path, method("a")), **changes)
    with pytest.raises(ValueError, match=message):
        latency.run(job)
    assert ToyGenerator.built == 0


def test_peak_memory_is_what_a_call_holds_at_a_time() -> None:
    def call() -> None:
        for _ in range(3):
            torch.ones(2 * 2**18)
        torch.ones(2**18)

    assert peak_memory_mib(call, "cpu") == pytest.approx(2.0, abs=0.01)


def test_the_medians_interval_is_the_textbooks_order_statistics() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, 21.0))
    assert median_interval(values)[:3] == (10.5, 6.0, 15.0)
    assert median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])[:3] == (3.5, 1.0, 6.0)
    assert np.isnan(median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).low)


def test_the_medians_interval_covers_the_median_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).exponential(size=(4000, 15))
    covered = [low <= np.log(2) <= high for _, low, high, *_ in map(median_interval, draws)]
    # 96.5 % at 15 values, the next narrower pair would have 88 %.
    assert 0.955 < np.mean(covered) < 0.975


def test_ratios_are_paired_so_that_drift_cancels_and_the_budget_is_counted() -> None:
    drift = np.linspace(1.0, 3.0, 32)
    table = latency_table(calls(drift))
    base, noise = (table[table["method"] == name].iloc[0] for name in ("base", "hypernoise"))
    assert table["method"].tolist() == ["base", "hypernoise"]
    assert base["ratio_to_base"] == 1.0
    # Neighbours in time differ by a thirtieth of the drift at most; unpaired, .5 and 4.5 occur.
    for name in ("ratio_to_base", "ratio_to_base_ci_low", "ratio_to_base_ci_high"):
        assert noise[name] == pytest.approx(1.5, rel=0.07)
    # Base 10, its pass 4, and a fifth more operations at the pass's own speed: 14.8.
    assert noise["ratio_to_budget"] == pytest.approx(15 / 14.8, rel=0.1)
    assert np.isnan(base["ratio_to_budget"])
    assert noise["noise_network_ms"] == pytest.approx(5 * np.median(drift[1::2]))
    assert noise["images_per_s"] == pytest.approx(1000 / noise["latency_ms"])


def test_the_papers_seconds_stand_beside_the_models_random_twin() -> None:
    rows = calls(np.ones(12)).replace({"model": {"m": "sd_turbo_random"}})
    rows = rows.replace({"method": {"hypernoise": "hypernoise:merged=per_layer"}})
    table = latency_table(rows).set_index("method")
    assert table["paper_ms"].to_dict() == {"base": 200.0, "hypernoise:merged=per_layer": 300.0}
    assert any("another GPU" in note for note in table.attrs["notes"])
    assert latency_table(calls(np.ones(12)))["paper_ms"].isna().all()


def calls(drift: Any) -> pd.DataFrame:
    """Base and hypernoise in turns on a machine that gets slower."""
    stages = {
        "base": {BACKBONE: (4.0, 1.0), END_TO_END: (10.0, 1.5)},
        "hypernoise": {
            BACKBONE: (4.0, 1.0),
            NOISE_NETWORK: (5.0, 1.2),
            END_TO_END: (15.0, 2.7),
        },
    }
    constant = {"model": "m", "reward": "", "steps": 1, "batch_size": 1, "size_px": 32}
    constant |= {"precision": "float32", "mode": "eager", "device": "cpu", "threads": 1}
    constant |= {"nfe": 1.0, "params_m": 2.0, "peak_memory_mib": 3.0}
    rows = []
    for turn, slow in enumerate(drift):
        name = ("base", "hypernoise")[turn % 2]
        for stage, (ms, gflops) in stages[name].items():
            own = {"method": name, "stage": stage, "repeat": turn // 2, "turn": turn}
            rows.append(constant | own | {"latency_ms": ms * slow, "gflops": gflops})
    return frames.check(pd.DataFrame(rows), "latencies", "a test")


def test_component_files_are_read_without_snakemake(tmp_path: Path) -> None:
    folder = tmp_path / "rewards"
    folder.mkdir()
    text = 'add_reward("red", target="harness_toys:Redness", version=1)\n\nrule weights:\n    x'
    (folder / "red.smk").write_text(text)
    assert set(declared(tmp_path).rewards) == {"red"}
    (folder / "red.smk").write_text('add_reward("red", target="harness_toys:Rednes", version=1)')
    with pytest.raises(SpecError, match=r"red\.smk.*Rednes.*Redness"):
        declared(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        declared(tmp_path / "nowhere")


def test_a_method_can_be_named_with_its_arguments() -> None:
    registry = Registry()
    registry.add_method("reno", target="hypernoise.methods.reno:Reno", version=1, iterations=50)
    spec = method_variant(registry, "reno:iterations=2,learning_rate=0.5")
    assert spec.name == "reno:iterations=2,learning_rate=0.5"
    assert spec.arguments == {"iterations": 2, "learning_rate": 0.5}
    with pytest.raises(SpecError, match="unknown method 'ren'; did you mean 'reno'"):
        method_variant(registry, "ren:iterations=2")
    with pytest.raises(SpecError, match="'iterations' is not 'argument=value'"):
        method_variant(registry, "reno:iterations")


def test_a_user_profiles_a_model_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(WORKFLOWS.parent)
    options = ["--methods", "base", "hypernoise", "--repeats", "3", "--out", str(tmp_path)]
    assert main(["profile", "--model", "tiny_sd", *options]) == 0
    printed = capsys.readouterr().out
    assert "ratio_to_base" in printed
    rows = frames.read(tmp_path / "tiny_sd.parquet", "latencies")
    assert set(rows["method"]) == {"base", "hypernoise"}
    assert main(["profile", "--model", "tiny_ds", *options]) == 2
    assert "did you mean 'tiny_sd'" in capsys.readouterr().err
    assert main(["profile"]) == 2
    assert "name a model" in capsys.readouterr().err


def toy_pipeline() -> Any:
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(4, 4), nn.SiLU())
    unet = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    return SimpleNamespace(unet=unet, vae=SimpleNamespace(decoder=decoder))


def test_compiled_networks_give_the_same_values_and_gradients_and_only_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Captures graphs and their gradients like the real one, without minutes of a C++ compiler.
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, mode, dynamic: real(f, backend="aot_eager", dynamic=dynamic)
    )
    pipeline, reward = toy_pipeline(), ToyReward()
    noise = torch.randn(3, 4, requires_grad=True)

    def values() -> tuple[torch.Tensor, torch.Tensor]:
        out = pipeline.vae.decoder(pipeline.unet(noise))
        return out, torch.autograd.grad(out.square().sum(), noise)[0]

    compiled, eager = Compiled(pipeline, "compiled", reward), values()
    with compiled.active():
        assert {"forward"} <= vars(pipeline.unet).keys()
        assert "score" in vars(reward)
        # Fused operations round otherwise.
        torch.testing.assert_close(values(), eager, rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            decoded = pipeline.vae.decoder(noise)
    torch.testing.assert_close(decoded, pipeline.vae.decoder(noise), rtol=1e-5, atol=1e-6)
    assert "forward" not in vars(pipeline.unet)
    assert "score" not in vars(reward)


def test_what_is_compiled_again_and_again_is_an_error_and_not_an_eager_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, mode, dynamic: real(f, backend="eager", dynamic=dynamic)
    )
    monkeypatch.setattr(compilation, "_RECOMPILATIONS", 3)
    pipeline = toy_pipeline()
    with pytest.raises(FailOnRecompileLimitHit), Compiled(pipeline, "compiled").active():
        for batch in range(2, 9):
            pipeline.unet(torch.randn(batch, 4))


def test_eager_runs_what_is_there_and_cuda_graphs_need_a_gpu() -> None:
    pipeline = toy_pipeline()
    with Compiled(pipeline, "eager").active():
        assert "forward" not in vars(pipeline.unet)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="cuda_graphs needs a GPU"):
            Compiled(pipeline, "cuda_graphs")


def test_a_pipeline_that_runs_compiled_cannot_be_measured_as_eager(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", lambda f, mode, dynamic: lambda *inputs: f(*inputs))
    pipeline = toy_pipeline()
    Compiled(pipeline, "compiled").install()
    for mode in ("eager", "compiled"):
        with pytest.raises(ValueError, match="runs compiled already"):
            Compiled(pipeline, mode)
