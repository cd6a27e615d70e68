"""What a config's run will take: jobs, seconds, disk, downloads, and where each number is from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from experiments import load
from paths import REPOSITORY
from shared_data import SHARED, needs

from harness.base.errors import SpecError
from harness.base.signatures import signature_of
from harness.build import data_files
from harness.build.prompts import load_prompts
from harness.cli import plan
from harness.experiment.component_files import declared
from harness.experiment.components import PromptsSpec
from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.planning import prompt_counts, sizes
from harness.planning.costs import Costs, total
from harness.planning.job_graph import Job, JobGraph
from harness.planning.prompt_counts import counted
from harness.planning.speeds import Source, Speeds, of_paper, of_snapshot
from hypernoise.training.options import NoiseNetworkOptions, PolicyOptions, SupervisedOptions

SANA, FLUX = "sana_sprint_0_6b", "flux_schnell"
ONE_STEP = NoiseNetworkOptions(steps=1)
REWARD = "human_preference"


def experiment(name: str = "paper.yaml", **changes: Any) -> Experiment:
    config = {**load(name), **changes}
    return Experiment(read(config, name), declared(REPOSITORY / "workflows"), name)


def costs(made: Experiment, *sources: Source) -> Costs:
    return Costs(JobGraph(made), Speeds(made, (*sources, of_paper())))


@pytest.fixture(scope="module")
def papers() -> Costs:
    return costs(experiment())


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def test_jobs_stand_after_what_they_wait_for_and_tables_share_them(papers: Costs) -> None:
    seen: set[Job] = set()
    for job, before in papers.graph.needs.items():
        assert seen.issuperset(before), job
        seen.add(job)
    rules = Counter(job.rule for job in papers.graph.needs)
    # What `snakemake -n --configfile workflows/config/paper.yaml` counts.
    said = {"generate": 75, "train": 14, "match": 3, "score": 18, "pairs": 1, "profile": 3}
    assert rules == {**said, "table": 27}
    whole = sum(len(jobs) for jobs in papers.graph.tables.values())
    assert whole > len(papers.graph.needs)
    trained = Job("train", "hypernoise", SANA, REWARD)
    for name in ("table1", "table2", "figure6", "training_curves"):
        assert trained in papers.graph.tables[name]
    assert trained not in papers.graph.tables["figure3"]


def test_images_and_steps_are_those_of_benchmarks_and_options(papers: Costs) -> None:
    drawn = papers.work(Job("generate", "base", SANA, "none", "geneval", 1))
    assert (drawn.images, drawn.parts) == (553 * 4, 553)
    training = papers.work(Job("train", "hypernoise", SANA, REWARD))
    assert (training.steps, training.images) == (32407, 32407 * 18 * 3)
    assert papers.work(Job("pairs", "diversity", SANA)).images == 2 * 553 * 50


def test_seconds_of_the_paper_are_marked_and_say_how_they_were_derived(papers: Costs) -> None:
    image = papers.speeds.image
    assert image(SANA, "base", "none", 1) == (0.2, "paper", "")
    assert image(SANA, "reno", REWARD, 1)[:2] == (30.0, "paper")
    assert image(SANA, "base", "none", 4) == (0.8, "paper", "4/1 of 1 steps, at most")
    fewer = image(SANA, "reno:iterations=10", REWARD, 1)
    assert fewer.seconds == pytest.approx(6.0)
    assert fewer.note == "10 scored images"
    assert image(SANA, "lora_finetune", REWARD, 1) == (0.2, "paper", "as the base")
    many = image(FLUX, "best_of_n", REWARD, 4)
    assert (many.seconds, many.note) == (pytest.approx(35.0), "50 images, without their scores")
    assert image("sd3_5_large_turbo", "base", "none", 4).seconds is None
    # What does not shrink with the steps is not known.
    assert image(FLUX, "base", "none", 1) == (0.7, "paper", "as 4 steps, at most")
    trained = papers.speeds.training_image(SANA, "hypernoise", ONE_STEP)
    assert trained.seconds == pytest.approx(30 / 50 + 0.1)
    assert "an iteration of ReNO and a noise network" in trained.note
    # Of a policy no gradient of the generator is taken; four noises in each of two epochs.
    policy = PolicyOptions(steps=2, policy_samples=4, policy_epochs=2)
    drawn = papers.speeds.training_image(SANA, "noise_policy", policy)
    assert drawn.seconds == pytest.approx(
        2 * papers.speeds.image(SANA, "best_of_n:n=1", REWARD, 1).seconds + 3 * 0.1
    )
    assert "2 scored images" in drawn.note
    pairs = SupervisedOptions(
        steps=10, distil_batches=5, distil_candidates=6, distil_teacher="reno"
    )
    found = papers.speeds.training_image(SANA, "supervised", pairs)
    assert found.seconds == pytest.approx(3 * 30 / 50 + 3 * 0.1)


def snapshot(folder: Path, gpu: str = "nvidia_test") -> Path:
    """A snapshot of one model, as its CSVs."""
    made = folder / gpu
    made.mkdir(parents=True)
    common = {"model": f"{SANA}_random", "steps": 1, "mode": "eager"}
    times = {"base": 100, "hypernoise": 120, "best_of_n:n=1": 200, "best_of_n:n=3": 400}
    times |= {"reno:iterations=1": 300, "reno:iterations=3": 900}
    rows = [
        {**common, "method": method, "batch_size": size, "generation_ms": ms / size}
        for method, ms in times.items()
        for size in (1, 4, 8)
    ]
    rows += [{**rows[0], "mode": "compiled", "generation_ms": 1.0}]
    pd.DataFrame(rows).to_csv(made / "latency.csv", index=False)
    step = {"model": f"{SANA}_random", "method": "hypernoise", "batch_size": 1}
    steps = [{**step, "stage": "step", "ms": 500.0}, {**step, "stage": "backbone", "ms": 9.0}]
    pd.DataFrame(steps).to_csv(made / "training_steps.csv", index=False)
    record = {"spec": {"jobs": [{"reward": {"name": "hpsv2_1_random"}}]}}
    (made / "provenance.json").write_text(json.dumps(record))
    return made


def test_a_snapshot_of_the_gpu_kind_goes_before_the_paper(tmp_path: Path) -> None:
    measured = of_snapshot(snapshot(tmp_path), batch_size=4)
    image = Speeds(experiment(), (measured, of_paper())).image
    assert image(SANA, "base", "none", 1) == (0.025, "snapshot", "")
    # Two more candidates took 200 ms more, in batches of four.
    assert image(SANA, "best_of_n", REWARD, 1).seconds == pytest.approx(50 * 0.1 / 4)
    assert image(SANA, "reno", REWARD, 1).seconds == pytest.approx(50 * 0.3 / 4)
    warm = image(SANA, "hypernoise_reno", REWARD, 1)
    assert warm.seconds == pytest.approx(50 * 0.3 / 4 + 0.03)
    assert image(FLUX, "base", "none", 4)[:2] == (0.7, "paper")
    speeds = Speeds(experiment(), (measured, of_paper()))
    trained = speeds.training_image(SANA, "hypernoise", ONE_STEP)
    assert trained == (0.5, "snapshot", "batch 1, scored by hpsv2_1_random")
    assert "scored by hpsv2_1_random" in image(SANA, "reno", REWARD, 1).note


def test_what_nobody_measured_is_unknown_and_counted_as_such(papers: Costs) -> None:
    scored = papers.work(Job("score", "main", SANA))
    assert scored.speed.seconds is None
    found = total(papers.work(job) for job in papers.graph.needs)
    unknown = [j for j in papers.graph.needs if papers.work(j).speed.seconds is None]
    assert found["unknown"] == len(unknown) > 0
    assert found["gpu_hours"] > 1000


def test_encodings_and_images_take_what_their_numbers_take(papers: Costs) -> None:
    models = papers.experiment.registry.models
    per_prompt = {name: sizes.encoding_bytes(models[name]) for name in (SANA, FLUX, "sd_turbo")}
    assert per_prompt[SANA] == 300 * 2304 * 2
    assert per_prompt[FLUX] == (256 * 4096 + 768) * 2
    assert per_prompt["sd_turbo"] == 77 * 1024 * 2
    assert sizes.encoding_bytes(models["tiny_sd"]) == 0
    assert sizes.encoding_bytes(replace(models[SANA], architecture="other")) is None
    found = papers.disk()
    # GenEval's prompts for each model, and its whole benchmarks' and validations' for SANA-Sprint;
    # the 70,000 training prompts, which would be 255 GB, are kept nowhere.
    evaluated = 553 * sum(per_prompt.values()) + (900 + 1065) * per_prompt[SANA]
    assert evaluated < found["encodings"].size_bytes < 3 * evaluated < 20e9
    assert sizes.image_bytes(1024) == 3 * 1024**2
    # The paper's networks of rank 128 add 0.3 billion parameters to SANA-Sprint.
    assert sizes.adapter_bytes(SANA, 128) == pytest.approx(1.2e9)
    assert sizes.adapter_bytes(SANA, 64) == pytest.approx(0.6e9)
    assert sizes.adapter_bytes("pixart_alpha_dmd", 64) is None


def test_downloads_are_those_that_jobs_need_with_what_is_known_of_each(papers: Costs) -> None:
    found = {each.place: each for each in papers.downloads()}
    flux = found["black-forest-labs/FLUX.1-schnell"]
    assert (flux.size, flux.licence, flux.access) == ("33.7 GB", "Apache-2.0", "gated")
    assert found["Qwen/Qwen2.5-VL-7B-Instruct"].size == "unknown"
    assert found["facebook/mask2former-swin-small-coco-instance"].lacks == ("commit",)
    assert any("alexnet" in place for place in found)
    assert any(place.endswith("773b2ba/ABC-6K.txt") for place in found)
    assert found["pick_a_pic/prompts.txt"].size_bytes is None
    # No job of the paper's uses these.
    assert not [place for place in found if "sdxl" in place or "Llama" in place]
    few = costs(experiment(tables=["figure3"]))
    assert not [each for each in few.downloads() if "FLUX" in each.place or "alexnet" in each.place]


@needs("benchmarks")
def test_prompts_are_counted_as_they_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(SHARED / "benchmarks"))
    compared = 0
    for key, fact in prompt_counts.facts().items():
        target, _, argument = key.partition(" ")
        arguments = dict([argument.split("=")]) if argument else {}
        if target.endswith(":GenEval"):
            target, arguments = "harness.benchmarks.build:prompts_of", {"benchmark": target}
        names = {*data_files.places(), "dpg_bench/dpg_bench.csv", "pick_a_pic/prompts.txt"}
        assert names.issuperset(fact["files"])
        if all((SHARED / "benchmarks" / file).is_file() for file in fact["files"]):
            spec = PromptsSpec(target, arguments)
            assert counted(spec) == (fact["n"], tuple(fact["files"]))
            assert len(load_prompts(spec)) == fact["n"], key
            compared += 1
    assert compared == 6


def test_lists_without_facts_are_counted_by_loading_them() -> None:
    made = experiment()
    printed = made.registry.benchmarks["figure6_prompts"].prompts
    assert counted(printed).n == len(load_prompts(printed))
    few = PromptsSpec("harness.benchmarks.prompts:subset",
                      {"of": "harness.benchmarks.geneval_coco:prompts", "n": 30})  # fmt: skip
    assert counted(few) == (30, ("geneval/evaluation_metadata.jsonl",))
    assert counted(PromptsSpec("harness.no_module:prompts", {})).n is None


def test_the_plan_says_where_its_numbers_are_from_and_the_price_if_asked(tmp_path: Path) -> None:
    file = Path("workflows/config/paper.yaml")
    text = "\n".join(plan.lines(file, price=2.0))
    assert "Seconds are the PAPER'S" in text
    for heading in ("Jobs and GPU hours", "From start to end", "Disk", "Downloads"):
        assert f"## {heading}" in text
    assert "| price |" in text
    assert "| 64 |" in text
    assert "| price |" not in "\n".join(plan.lines(file))
    snapshot(tmp_path)
    text = "\n".join(plan.lines(file, gpu="nvidia_test", snapshots=tmp_path))
    assert "the snapshot of nvidia_test" in text
    assert "| generate | snapshot |" in text
    assert "| generate | paper |" in text


def test_an_unknown_gpu_kind_or_a_negative_price_is_refused(tmp_path: Path) -> None:
    snapshot(tmp_path)
    file = Path("workflows/config/paper.yaml")
    with pytest.raises(SpecError, match=r"nvidia_tset.*nvidia_test"):
        list(plan.lines(file, gpu="nvidia_tset", snapshots=tmp_path))
    with pytest.raises(SpecError, match="--price is -1"):
        list(plan.lines(file, price=-1))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"latency\.csv is missing"):
        list(plan.lines(file, gpu="empty", snapshots=tmp_path))


def needs_several_steps(target: str) -> bool:
    signature = signature_of(target)
    return signature is not None and signature.needs_several_steps


def test_every_model_and_method_can_be_planned(tmp_path: Path) -> None:
    registry = declared(REPOSITORY / "workflows")
    models = [name for name, m in registry.models.items() if m.encodings and not m.is_random]
    # Models of one step are among them.
    fitting = [n for n, m in registry.methods.items() if not needs_several_steps(m.target)]
    assert "fk_steering" not in fitting
    config: Mapping[str, Any] = {"extends": "paper.yaml", "models": models, "methods": fitting}
    file = tmp_path / "all.yaml"
    for name in ("paper.yaml", "tiny.yaml"):
        (tmp_path / name).write_text((REPOSITORY / "workflows/config" / name).read_text())
    file.write_text(yaml.safe_dump(json.loads(json.dumps(config))))
    text = "\n".join(plan.lines(file))
    assert all(f"on {model}" in text or model in text for model in models)
