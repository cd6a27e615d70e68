"""Small experiments, for tests of what a config asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from paths import REPOSITORY

from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.config_files import extended
from harness.experiment.plan import Experiment

CONFIG_FOLDER = REPOSITORY / "workflows" / "config"
FILE = "some.yaml"
#: Training options that every config has to give.
STEPS = {"steps": 4, "checkpoint_every": 2, "validate_every": 2}
SWAPPED = {"methods": ["hypernoise"], "reward": "redness", "prompts": "within_task"}
WARM: dict[str, Any] = {
    "target": "hypernoise.methods.warm_start:WarmStart",
    "trains": "hypernoise",
    "needs_reward": True,
    "version": 1,
    "file": "warm.smk",
}


#: A benchmark with two images of one prompt per task.
MICRO_BENCHMARK = """
add_benchmark(
    "micro", target="harness.benchmarks.shapeworld:ShapeWorld", split="evaluation", n=6,
    metric="geneval_correct", n_images=2, version=1,
)
"""


def few(split: str, n: int = 4) -> dict[str, Any]:
    """A few prompts of a split of the embedded world, as configs name them."""
    arguments = {"of": "hypernoise.shapeworld.captions:captions", "n": n, "split": split}
    return {"target": "harness.benchmarks.prompts:subset", "arguments": arguments}


#: A run of the benchmark `micro` with hardly any work in it; models and methods are a test's own.
LEAST: dict[str, Any] = {
    "benchmark": "micro",
    "judges": {},
    "batch_size": 6,
    "training": {
        "default": {"steps": 2, "batch_size": 2, "checkpoint_every": 1, "validate_every": 1},
    },
    "validation_images": 1,
    "prompts": {"default": {"train": few("train"), "validation": few("validation")}},
    "arguments": {},
    "timing": {"benchmark": "micro", "batch_sizes": [1], "repeats": 3, "threads": 1},
    "tables": ["table1"],
}


def load_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def load(name: str) -> dict[str, Any]:
    """A shipped config, with the keys of the one that it extends."""
    return extended(load_yaml(CONFIG_FOLDER / name), CONFIG_FOLDER)


def make_registry() -> Registry:
    """Two models, three rewards, five methods, two benchmarks and a table."""
    made = Registry()
    for model, target in (("tiny_sd", "unet:SdTurbo"), ("tiny_sana", "sana:SanaSprint")):
        target = f"hypernoise.models.{target}"
        made.add_model(model, target=target, weights=f"a/b/{model}", size_px=32, version=1)
    for reward in ("matcher", "matcher_judge", "redness"):
        made.add_reward(reward, target="hypernoise.rewards.redness:Redness", version=1)
    finetune = "hypernoise.methods.lora_finetune:LoraFinetune"
    made.add_method("base", target="hypernoise.methods.base:Base", version=1)
    made.add_method("reno", target="hypernoise.methods.reno:Reno", needs_reward=True, version=1)
    noise = "hypernoise.methods.hypernoise:HyperNoise"
    made.add_method("hypernoise", target=noise, trains="hypernoise", version=1)
    for name, state in (("lora_finetune", "matched"), ("lora_finetune_final", "final")):
        made.add_method(name, target=finetune, trains="lora_finetune", state=state, version=1)
    for benchmark, split in (("shapeworld", "evaluation"), ("shapeworld_validation", "validation")):
        target = "hypernoise.shapeworld.captions:captions"
        made.add_benchmark(benchmark, target=target, split=split, version=1)
    made.add_table("table1", target="harness.analysis.tables:table1", version=1)
    return made


def small(**changes: Any) -> dict[str, Any]:
    """The default config on :func:`make_registry`'s components, with changes."""
    config = load("tiny.yaml")
    own = {
        "models": ["tiny_sd", "tiny_sana"],
        "methods": ["base", "hypernoise", "lora_finetune", "lora_finetune_final", "reno"],
        "tables": ["table1"],
        "image_sets": {},
        "training": {"default": STEPS},
        "arguments": {},
        "tuning": {**config["tuning"], "searches": {}},
        "pretrain": {**config["pretrain"], "generators": ["tiny_sd"]},
    }
    return {**config, **own, **changes}


def experiment(registry: Registry, **changes: Any) -> Experiment:
    """The experiment of :func:`small`, of which names are yet to be checked."""
    return Experiment(read(small(**changes), FILE), registry, FILE)
