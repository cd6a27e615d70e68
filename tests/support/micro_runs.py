"""A whole results folder with hardly any work in it, made by the real jobs in one process."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path

from experiments import MICRO_BENCHMARK, few, load
from paths import REPOSITORY

from harness.experiment.component_files import declared
from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.report import front_page, make
from harness.stages import audit, compare_images, generate, score, stop_at_reward, train
from harness.timing import profile

MODEL, REWARD = "tiny_sana", "matcher"
CONFIG = {
    "models": [MODEL],
    "benchmark": "micro",
    "batch_size": 6,
    "training": {
        "default": {"steps": 3, "batch_size": 2, "checkpoint_every": 1, "validate_every": 1},
    },
    "validation_images": 1,
    "prompts": {"default": {"train": few("train"), "validation": few("validation")}},
    "arguments": {"best_of_n": {"n": 3}},
    "methods": ["base", "hypernoise", "lora_finetune", "best_of_n"],
    "image_sets": {"diversity": {}, "audit": {"methods": ["hypernoise"]}},
    "timing": {"benchmark": "micro", "batch_sizes": [1], "repeats": 3, "threads": 1},
    "tables": ["table1", "pareto", "provenance", "gallery"],
}


def prepared(folder: Path) -> Registry:
    """Make a folder in which jobs can run; gives what is declared in it."""
    shutil.copytree(REPOSITORY / "workflows", folder / "workflows")
    (folder / "hypernoise").symlink_to(REPOSITORY / "hypernoise")
    (folder / "workflows" / "benchmarks" / "micro.smk").write_text(MICRO_BENCHMARK)
    return declared(folder / "workflows")


def run(folder: Path) -> Registry:
    """Everything that :data:`CONFIG` asks for, below ``folder / "results"``."""
    registry = prepared(folder)
    with chdir(folder):
        shipped = load("tiny.yaml")
        shipped["audit"] |= {"prompts": few("validation", 1), "n_images": 1, "checkpoints": 1}
        experiment = Experiment(read(shipped | CONFIG, "micro.yaml"), registry, "micro.yaml")
        planned = Planned(experiment)
        for training in experiment.trainings():
            train.run(planned.train(*training))
        stop_at_reward.run(planned.match(MODEL, REWARD, "lora_finetune"))
        for wanted in experiment.runs("main", MODEL):
            generate.run(planned.generate(**wanted._asdict()))
        score.run(planned.score("main", MODEL))
        compare_images.run(planned.pairs("diversity", MODEL))
        audit.run(planned.audit_network(MODEL, REWARD, "hypernoise"))
        profile.run(planned.profile("main", MODEL))
        for name in CONFIG["tables"]:
            make.run(Table(experiment, registry.tables[str(name)]).job())
        front_page.run("results")
    return registry
