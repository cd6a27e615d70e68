"""Adapters and images of other people in every table and figure, not only where gains stand."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from experiments import MICRO_BENCHMARK, few, load
from foreign_loras import save_peft
from micro_runs import CONFIG, MODEL, REWARD, prepared
from toys import build_generator

from harness.cli.geneval_folder import export
from harness.experiment.component_files import declared
from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.report import make
from harness.stages import audit, compare_images, generate, score, train
from harness.timing import profile

ADAPTER = "hypernoise.methods.given_adapter:GivenAdapter"
IMAGES = "harness.benchmarks.given_images:GivenImages"
THEIRS = ["their_images", "their_lora"]
METHODS = [
    "base",
    "hypernoise",
    "lora_finetune_final",
    "best_of_n",
    "hypernoise_best_of_n",
    *THEIRS,
]
#: Sets that have more than the methods.
SETS: dict[str, dict[str, Any]] = {
    "audit": {"methods": ["hypernoise"]},
    "controls": {
        "swapped": {"methods": ["hypernoise"], "reward": "redness", "prompts": "within_task"}
    },
    "few_steps": {"steps": [1, 2]},
    "more_steps": {"steps": [1, 2]},
    "latency": {"timing": {"operations": True}},
}
#: Made of other benchmarks' metrics, of settings of one network, or of trials.
OTHERS = ("table5", "table6", "hpsv2_styles", "tuning", "tuning_chosen")


def declare(folder: Path, name: str, target: str, **given: str) -> None:
    said = "".join(f", {key}={value!r}" for key, value in given.items())
    text = f"add_method({name!r}, target={target!r}{said}, version=1)\n"
    (folder / "workflows" / "methods" / f"{name}.smk").write_text(text, encoding="utf-8")


def experiment_of(registry: Registry) -> Experiment:
    """All tables' sets, of the micro benchmark with the same methods."""
    named = {name for table in registry.tables.values() for name in table.sets} - {"main", "tuning"}
    sets = {name: SETS.get(name, {}) for name in sorted(named)}
    shipped = load("tiny.yaml")
    shipped["audit"] |= {"prompts": few("validation", 1), "n_images": 1, "checkpoints": 1}
    shipped["training"] = {**CONFIG["training"]}
    asked = {
        "methods": METHODS,
        "image_sets": sets,
        "tuning": None,
        "arguments": {"best_of_n": {"n": 3}, "hypernoise_best_of_n": {"n": 2}},
    }
    config = shipped | CONFIG | asked
    return Experiment(
        read({k: v for k, v in config.items() if v is not None}, "m.yaml"), registry, "m.yaml"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything that tables and figures are made of, but for these."""
    folder = tmp_path_factory.mktemp("run")
    prepared(folder)
    # Two prompts of each task, which intervals need.
    more = MICRO_BENCHMARK.replace("n=6", "n=12")
    (folder / "workflows" / "benchmarks" / "micro.smk").write_text(more)
    save_peft(build_generator(MODEL), folder / "theirs" / "lora")
    declare(folder, "their_lora", ADAPTER, weights="theirs/lora")
    declare(folder, "their_images", IMAGES, images="theirs/images")
    with chdir(folder):
        experiment = experiment_of(declared(Path("workflows")))
        planned = Planned(experiment)
        trainings = {t for name in ("main", "controls") for t in experiment.trainings(name)}
        for training in sorted(trainings):
            train.run(planned.train(*training))
        first = experiment.runs("main", MODEL)[0]
        generate.run(planned.generate(**first._asdict()))
        made = next(Path("results/images/micro", MODEL, "base").rglob("images.parquet"))
        export(made, Path("theirs/images"))
        runs = {run for name in ("main", *SETS) for run in experiment.runs(name, MODEL)}
        for wanted in sorted(runs - {first}, key=str):
            generate.run(planned.generate(**wanted._asdict()))
        for name in ("main", "few_steps", "controls"):
            score.run(planned.score(name, MODEL))
        compare_images.run(planned.pairs("main", MODEL))
        audit.run(planned.audit_network(MODEL, REWARD, "hypernoise"))
        for name in ("main", "latency"):
            profile.run(planned.profile(name, MODEL))
    return folder


def made(folder: Path, name: str) -> Any:
    """What a table's job makes, of the frames that its sets share."""
    with chdir(folder):
        experiment = experiment_of(declared(Path("workflows")))
        table = Table(
            experiment,
            experiment.registry.tables[name],
            MODEL if experiment.registry.tables[name].per_model else "",
        )
        job = table.job()
        for kind in ("scores", "pairs", "timings"):
            for file in map(Path, job.inputs.get(kind, ())):
                if not file.is_file():
                    of = "few_steps" if file.parent.name == "more_steps" else "main"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file.parents[1] / of / file.name, file)
        make.run(job)
        return job


ALL = sorted(declared(Path(__file__).parents[3] / "workflows").tables)


@pytest.mark.parametrize("name", [name for name in ALL if name not in OTHERS])
def test_x(folder: Path, name: str) -> None:
    made(folder, name)
