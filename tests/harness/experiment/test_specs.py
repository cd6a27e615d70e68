"""Declarations and jobs: what is refused, with which words, and what survives JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness_toys import BENCHMARK, METHOD, MODEL, REWARD, generate_job
from paths import REPOSITORY

from harness.base.errors import SpecError
from harness.base.import_strings import resolve
from harness.experiment.components import PromptsSpec, Registry, SimilaritySpec, TableSpec
from harness.experiment.fidelity_job import FidelityJob
from harness.experiment.identity import job_hash
from harness.experiment.jobs import (
    JOBS,
    AuditJob,
    MatchJob,
    OverlapJob,
    PairsJob,
    PretrainJob,
    ScoreJob,
    TableJob,
    Timed,
    TimingJob,
    TrainJob,
    load_job,
)
from harness.experiment.validation import from_json, to_json

ROOT = REPOSITORY
SD = "hypernoise.models.unet:SdTurbo"
RENO = "hypernoise.methods.reno:Reno"


def add_sd(registry: Registry, name: str = "sd", **changes: Any) -> Any:
    keywords = {"target": SD, "weights": "w", "size_px": 32, "version": 1, "file": "sd.smk"}
    return registry.add_model(name, **keywords | changes)


def add_reno(registry: Registry, **changes: Any) -> Any:
    keywords = {"target": RENO, "version": 1, "needs_reward": True, "file": "reno.smk"}
    return registry.add_method("reno", **keywords | changes)


def test_parsing_declarations_and_jobs_does_not_import_torch_or_pandas() -> None:
    code = (
        "import sys; from harness.experiment.components import Registry;"
        "import harness.experiment.jobs;"
        f"Registry().add_model('sd', target='{SD}', weights='w', size_px=32, version=1);"
        "print([name for name in ('torch', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_keywords_that_the_declaration_does_not_know_become_arguments_of_the_target() -> None:
    spec = add_reno(Registry(), learning_rate=0.02, iterations=50)
    assert spec.arguments == {"learning_rate": 0.02, "iterations": 50}
    assert (spec.needs_reward, spec.trains, spec.state) == (True, None, "final")


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda r: add_reno(r, learning_rat=0.1), ["'learning_rat'", "'learning_rate'"]),
        (lambda r: add_reno(r, need_reward=True), ["'need_reward'", "'needs_reward'"]),
        (lambda r: add_sd(r, target="hypernoise.models.unet:SdTurb"), ["'SdTurb'", "'SdTurbo'"]),
        (
            lambda r: add_sd(r, target="hypernoise.models.unett:SdTurbo"),
            ["hypernoise.models.unett"],
        ),
        (lambda r: add_sd(r, target="nowhere.at.all:Thing"), ["nowhere.at.all"]),
        (lambda r: add_sd(r, target="hypernoise.models.unet"), ["'package.module:Attribute'"]),
        (lambda r: add_sd(r, weights="a/b", revision="main"), ["'main'", "40 hexadecimal"]),
        (lambda r: add_sd(r, weights="stabilityai/sd-turbo"), ["no folder", "revision", "commit"]),
        (lambda r: add_sd(r, guidance=1.0), ["'guidance'", "size_px"]),
        (lambda r: add_sd(r, vae_saving=["tiling"]), ["'vae_saving'", "'vae_savings'"]),
        (lambda r: add_sd(r, version=0), ["version", "at least 1"]),
        (lambda r: add_sd(r, steps=0), ["steps", "is 0", "at least 1"]),
        (lambda r: add_sd(r, size_px=32.0), ["size_px", "32.0"]),
        (lambda r: add_sd(r, name="sd/turbo"), ["'sd/turbo'", "letters"]),
        (lambda r: add_sd(r, dtype=object()), ["JSON"]),
        (lambda r: add_reno(r, trains="hypernose"), ["'hypernose'", "'hypernoise'"]),
        (lambda r: add_reno(r, state="match"), ["'match'", "'matched'"]),
        (lambda r: add_reno(r, checkpoint=0), ["'checkpoint' is 0", "at least 1"]),
    ],
)
def test_a_bad_declaration_names_its_file_the_word_and_a_valid_one(
    declare: Callable[[Registry], Any], words: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        declare(Registry())
    message = str(caught.value)
    assert message.startswith(("sd.smk: ", "reno.smk: "))
    assert all(word in message for word in words), message


def test_a_duplicate_name_names_both_files() -> None:
    registry = Registry()
    add_sd(registry, file="first.smk")
    with pytest.raises(SpecError, match=r"second\.smk: model 'sd' .*first\.smk"):
        add_sd(registry, file="second.smk")


def test_the_same_name_serves_a_model_and_a_method() -> None:
    registry = Registry()
    add_sd(registry, name="reno")
    add_reno(registry)
    assert set(registry.models) == set(registry.methods) == {"reno"}


def test_an_unknown_component_names_the_config_and_the_nearest_name() -> None:
    registry = Registry()
    add_sd(registry, name="tiny_sd")
    add_sd(registry, name="tiny_sana")
    with pytest.raises(SpecError, match=r"my\.yaml: unknown model 'tinysd'.*'tiny_sd'.*tiny_sana"):
        registry.find(registry.models, "model", "tinysd", "my.yaml")


def test_arguments_of_a_benchmark_are_checked_against_its_class() -> None:
    keywords: dict[str, Any] = {
        "target": "harness_toys:ToyBenchmark",
        "metric": "number",
        "version": 1,
    }
    spec = Registry().add_benchmark("toy", n=2, offset=1.0, **keywords)
    assert spec.arguments == {"n": 2, "offset": 1.0}
    with pytest.raises(SpecError, match=r"'ofset'.*'offset'"):
        Registry().add_benchmark("toy", ofset=1.0, **keywords)


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = tmp_path / "their_package" / "module.py"
    module.parent.mkdir()
    (module.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    module.write_text(
        "from dataclasses import dataclass\n"
        "from json import dumps\n"
        "@dataclass\nclass Data:\n    width: int = 1\n"
        "class Bare: ...\n"
        "class Child(Data): ...\n"
        "class Stranger(Elsewhere): ...\n"
        "def open_ended(width, **rest): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return module


def test_a_target_in_another_package_is_checked_without_importing_it(other_package: Path) -> None:
    registry = Registry()
    add = {"version": 1, "file": "x.smk"}
    registry.add_reward("data", target="their_package.module:Data", width=2, **add)
    registry.add_reward("child", target="their_package.module:Child", width=2, **add)
    registry.add_reward("stranger", target="their_package.module:Stranger", anything=2, **add)
    registry.add_reward("open", target="their_package.module:open_ended", anything=2, **add)
    registry.add_reward("imported", target="their_package.module:dumps", indent=2, **add)
    with pytest.raises(SpecError, match=r"'widht'.*'width'"):
        registry.add_reward("d", target="their_package.module:Data", widht=2, **add)
    with pytest.raises(SpecError, match=r"'widht'.*'width'"):
        registry.add_reward("d", target="their_package.module:Child", widht=2, **add)
    with pytest.raises(SpecError, match="'width'"):
        registry.add_reward("d", target="their_package.module:Bare", width=2, **add)
    assert "their_package" not in sys.modules


def test_resolve_imports_the_attribute_and_names_what_is_missing() -> None:
    assert resolve("harness.experiment.components:Registry") is Registry
    with pytest.raises(SpecError, match=r"'Regstry'.*'Registry'"):
        resolve("harness.experiment.components:Regstry")
    with pytest.raises(SpecError, match=r"no module 'harness\.spec'"):
        resolve("harness.spec:Registry")


def jobs(folder: Path) -> dict[str, Any]:
    trained = dataclasses.replace(METHOD, trains="hypernoise", arguments={"label": "x"})
    prompts = PromptsSpec("harness_toys:prompts", {"n": 2})
    table = TableJob(
        TableSpec("table1", "harness.analysis.tables:table1", 1), {"scores": ("a", "b")}, "t/table1"
    )
    return {
        "pretrain": PretrainJob("matcher", "matcher", "o", 2, {"stem": [1, 2]}, (MODEL, MODEL)),
        "train": TrainJob(
            MODEL, trained, REWARD, prompts, prompts, {"steps": 3}, "o", "w", {"judge": REWARD}
        ),
        "match": MatchJob("a", "b", "toy_reward", "c"),
        "audit": AuditJob(
            MODEL, trained, "toy_reward", "t", prompts, 2, 0, 3, "o", "w", {"probes": 4}
        ),
        "generate": generate_job(folder, reward=REWARD, adapter="somewhere"),
        "score": ScoreJob(BENCHMARK, {"judge_reward": REWARD}, ("a", "b"), "o"),
        "pairs": PairsJob({"a_distance": SimilaritySpec("a:B", {"n": 2})}, ("a",), "o"),
        "fidelity": FidelityJob({"a": SimilaritySpec("a:B")}, ("a",), ("b",), "o", "w"),
        "overlap": OverlapJob({"t": prompts}, {"b": prompts}),
        "profile": TimingJob(
            model=MODEL,
            methods=(Timed(METHOD), Timed(trained, "a")),
            benchmark=BENCHMARK,
            out="o",
            reward=REWARD,
            batch_sizes=(1, 8),
            precisions=("float32",),
        ),
        "table": table,
        "figure": table,
        "gallery": table,
        "origins": table,
    }


@pytest.mark.parametrize("verb", sorted(JOBS))
def test_every_job_survives_json(verb: str, tmp_path: Path) -> None:
    job = jobs(tmp_path)[verb]
    assert from_json(to_json(job), type(job)) == load_job(verb, to_json(job)) == job


def changed(job: Any, path: str, value: Any) -> str:
    data = json.loads(to_json(job))
    *parents, last = path.split(".")
    inner = data
    for key in parents:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.size", 3, "unknown GenerateJob key 'size' in 'model'.*'size_px'"),
        ("seed", ..., "GenerateJob lacks 'seed'"),
        ("benchmark.target", ..., "GenerateJob lacks 'target' in 'benchmark'"),
        ("steps", 0, "key 'steps' is 0, must be at least 1"),
        ("batch_size", 0, "key 'batch_size' is 0, must be at least 1"),
        ("threads", 0, "key 'threads' is 0, must be at least 1"),
        ("steps", "1", "GenerateJob key 'steps' is '1', must be a whole number"),
        ("steps", True, "GenerateJob key 'steps' is True, must be a whole number"),
        ("steps", 1.5, r"GenerateJob key 'steps' is 1\.5, must be a whole number"),
        ("method.trains", "lora", "key 'method.trains': 'lora'.*lora_finetune"),
        ("method.needs_reward", 1, "'method.needs_reward' is 1, must be true or false"),
        ("model", "tiny_sd", "GenerateJob key 'model' is 'tiny_sd', must have keys"),
    ],
)
def test_a_malformed_job_names_the_field(
    path: str, value: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        load_job("generate", changed(generate_job(tmp_path), path, value))


def test_a_job_that_is_no_json_says_so() -> None:
    with pytest.raises(SpecError, match="not JSON"):
        load_job("generate", "{broken")
    with pytest.raises(SpecError, match=r"'generat'.*'generate'"):
        load_job("generat", "{}")


def test_a_rewritten_input_file_changes_what_a_job_is(tmp_path: Path) -> None:
    job = generate_job(tmp_path)
    weights = tmp_path / "weights" / "model.bin"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    first = job_hash(job, [str(weights.parent)])
    assert job_hash(job, [str(weights.parent)]) == first
    os.utime(weights, ns=(1, 1))
    assert job_hash(job, [str(weights.parent)]) != first


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host/v1",
        "http://hunter2@host/v1",
        "https://host/v1?api_key=hunter2",
        "https://host/v1?a=b&access_token=hunter2",
    ],
)
def test_an_address_with_a_password_or_token_is_refused_and_not_shown(url: str) -> None:
    target, given = "hypernoise.methods.llm:endpoint_search", {"url": url, "model": "m"}
    with pytest.raises(SpecError, match="password or token") as caught:
        Registry().add_method("x", target=target, version=1, **given)
    assert "hunter2" not in str(caught.value)
