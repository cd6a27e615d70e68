"""The recipes of README, which are the files of ``examples``: each runs as it is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from experiments import LEAST, MICRO_BENCHMARK, load, load_yaml
from paths import REPOSITORY
from snakemake_runs import run_snakemake

from harness.base.errors import SpecError
from harness.benchmarks.build import build_benchmark, check_benchmark
from harness.build.generators import build_generator
from harness.build.rewards import build_reward
from harness.cli.command_line import main
from harness.experiment.checks import check, check_tables
from harness.experiment.component_files import KINDS, declared
from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.config_files import extended
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.report import make
from harness.stages import generate, score, train
from harness.timing import profile
from hypernoise.noise import seeded_noise
from hypernoise.rewards.protocol import differentiable_score
from tools import component_pages

EXAMPLES = REPOSITORY / "examples"
MICRO: dict[str, Any] = LEAST | {"models": ["tiny_sd"], "methods": ["base"], "image_sets": {}}
#: Kind of component -> what a config says that uses the one of ``examples``.
RECIPES: Mapping[str, dict[str, Any]] = {
    "models": {"models": ["my_model"]},
    "rewards": {
        "reward": "my_reward",
        "methods": ["base", "hypernoise"],
        "tables": ["table1", "training_curves"],
    },
    "methods": {"methods": ["base", "best_of_8"]},
    "benchmarks": {
        "benchmark": "my_benchmark",
        # The embedded world's own rewards know its captions' words alone.
        "reward": "redness",
        "tables": ["table1", "pareto", "grid", "gallery"],
    },
    "tables": {"tables": ["my_table"]},
}


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders of components are left on no path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    yield


def checkout(folder: Path, kind: str) -> tuple[Experiment, Registry]:
    """A fresh checkout, and outside of it the component of one recipe; both are read."""
    shutil.copytree(REPOSITORY / "workflows", folder / "checkout" / "workflows")
    (folder / "checkout" / "hypernoise").symlink_to(REPOSITORY / "hypernoise")
    (folder / "checkout" / "workflows" / "benchmarks" / "micro.smk").write_text(MICRO_BENCHMARK)
    for name in (kind, "my_package", "report"):
        shutil.copytree(EXAMPLES / name, folder / "own" / name)
    registry = declared(folder / "checkout" / "workflows", folder / "own")
    config = read(load("tiny.yaml") | MICRO | RECIPES[kind], "own.yaml")
    return Experiment(config, registry, "own.yaml"), registry


@pytest.mark.parametrize("kind", RECIPES)
def test_every_recipe_runs_to_a_finished_table(kind: str, tmp_path: Path) -> None:
    with chdir(tmp_path):
        experiment, registry = checkout(tmp_path, kind)
    with chdir(tmp_path / "checkout"):
        check(experiment)
        check_tables(experiment)
        planned, (model,) = Planned(experiment), experiment.config.models
        for training in experiment.trainings():
            train.run(planned.train(*training))
        for wanted in experiment.runs("main", model):
            generate.run(planned.generate(**wanted._asdict()))
        score.run(planned.score("main", model))
        profile.run(planned.profile("main", model))
        for name in experiment.config.tables:
            spec = registry.tables[name]
            for only in experiment.each_of(spec):
                job = Table(experiment, spec, only if spec.per_model else "").job()
                make.run(job)
        first = Path("results", "tables", f"{experiment.config.tables[0]}.parquet")
        table = pd.read_parquet(first)
        assert set(table["method"]) == set(experiment.config.methods)
        if kind == "benchmarks":
            assert table["as_bright_as_asked_mean"].between(0, 1).all()
            assert {"as_bright_as_asked_light", "as_bright_as_asked_dark"} <= set(table)


def test_one_folder_uses_all_of_them_with_a_config_of_its_own() -> None:
    alone = declared(REPOSITORY / "workflows")
    registry = declared(REPOSITORY / "workflows", EXAMPLES)
    own = {kind: set(getattr(registry, kind)) - set(getattr(alone, kind)) for kind in KINDS}
    assert {"my_model"} <= own["models"]
    assert {"my_reward", "my_sum"} <= own["rewards"]
    file = EXAMPLES / "config.yaml"
    config = read(extended(load_yaml(file), EXAMPLES), file.name)
    experiment = Experiment(config, registry, file.name)
    with chdir(REPOSITORY):
        check(experiment)
        check_tables(experiment)
    used = {
        "models": set(config.models) & own["models"],
        "rewards": {config.reward} & own["rewards"],
        "methods": set(config.methods) & own["methods"],
        "benchmarks": {config.benchmark} & own["benchmarks"],
        "tables": set(config.tables) & own["tables"],
    }
    assert [kind for kind in KINDS if not used[kind]] == []


def test_the_model_and_the_rewards_keep_their_contracts() -> None:
    registry = declared(REPOSITORY / "workflows", EXAMPLES)
    with chdir(REPOSITORY):
        generator = build_generator(registry.models["my_model"], "cpu")
        conditioning = generator.encode(["a photo of a red circle"] * 2)
        noise = torch.stack([seeded_noise(seed, generator.noise_shape) for seed in (0, 1)])
        images = generator.sample(noise, conditioning, 1, [0, 1])
        assert images.shape == (2, 3, 32, 32)
        for name in ("my_reward", "my_sum"):
            reward = build_reward(registry.reward(name), "cpu")
            drawn = images.detach().requires_grad_()
            scores = differentiable_score(reward, drawn, reward.encode(conditioning.prompts))
            assert scores.shape == (2,)
            alone = differentiable_score(reward, drawn[:1], reward.encode(conditioning.prompts[:1]))
            assert torch.allclose(scores[:1], alone, atol=1e-5)


def test_the_benchmark_keeps_its_contract() -> None:
    spec = declared(REPOSITORY / "workflows", EXAMPLES).benchmarks["my_benchmark"]
    check_benchmark(spec)
    prompts = build_benchmark(spec).prompts()
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts) == 6


def test_a_project_elsewhere_uses_the_workflow_as_a_module(tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(EXAMPLES, own)
    config = MICRO | {"models": ["my_model"], "benchmark": "my_benchmark", "reward": "my_reward"}
    config |= {"tables": ["my_table"], "extends": "workflows/config/tiny.yaml"}
    config["timing"] = {**config["timing"], "benchmark": "my_benchmark"}
    (own / "config.yaml").write_text(json.dumps(config))
    done = run_snakemake(tmp_path, "--cores", "1", "--snakefile", "own/Snakefile")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Checking \d+ jobs before the first one starts", done.stderr), done.stderr
    table = pd.read_parquet(tmp_path / "results" / "tables" / "my_table.parquet")
    assert {"as_bright_as_asked", "train_reward"} == set(table["metric"])


def test_verbs_name_folders_of_components_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever stands behind them is not taken for another folder."""
    folders = [f"--components={folder}" for folder in (REPOSITORY / "workflows", EXAMPLES)]
    assert main(["list", *folders, "rewards"]) == 0
    assert main(["pin", "--components", str(REPOSITORY / "workflows"), "matcher"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^ *my_reward .*examples/rewards/my_reward\.smk\)$", said, re.MULTILINE)
    assert "these 1 components" in said


def test_a_folder_that_is_none_of_components_is_refused_by_name(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            SpecError, match=f"components folder {folder} .*the folders models, rew"
        ):
            declared(REPOSITORY / "workflows", folder)


def test_the_pages_about_components_are_made_of_their_types() -> None:
    for place, text in component_pages.pages().items():
        written = (REPOSITORY / place).read_text(encoding="utf-8")
        assert written == text, f"{place}: run `make reference`"
        assert "ForwardRef" not in text, place


def test_every_type_that_a_class_may_have_besides_stands_on_a_page() -> None:
    """What is asked with ``isinstance`` of somebody's class, its author has to be able to find."""
    asked = set()
    for package in ("harness", "hypernoise"):
        for file in (REPOSITORY / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            asked |= set(re.findall(r"^@runtime_checkable\nclass (\w+)", text, re.MULTILINE))
    assert {"KnowsLengths", "ReadsFewer", "GivesImages"} <= asked
    pages = component_pages.pages()
    whole = "".join(pages.values())
    assert not {name for name in asked if f"\n## `{name}`\n" not in whole}
    for place, (_, types) in component_pages.PAGES.items():
        members = {name for one in types for name in {**vars(one), **one.__annotations__}}
        public = {name for name in members if not name.startswith("_")}
        assert not {name for name in public if not re.search(rf"\b{name}\b", pages[place])}


def test_recipes_of_pages_are_what_stands_in_the_files() -> None:
    """A block of code on a page that is not made of types is a file, or README's few lines."""
    shown: dict[str, str] = {}
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`(examples/[\w./-]+)`\n```\w+\n(.*?)```", text, re.DOTALL)
        shown |= dict(named)
        if page.parent.name == "docs" and f"docs/{page.name}" not in component_pages.pages():
            blocks = re.findall(r"```(?:python|yaml)\n", text)
            assert len(blocks) == len(named), f"{page.name} has a recipe that is no file"
    assert {Path(name).parent.name for name in shown} >= {*KINDS, "own-scripts"}
    for name, code in shown.items():
        assert code == (REPOSITORY / name).read_text(encoding="utf-8"), name
