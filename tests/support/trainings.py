"""Small training jobs, and the model that they train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toys import build_generator

from harness.experiment.components import MethodSpec, ModelSpec, PromptsSpec, RewardSpec
from harness.experiment.jobs import TrainJob

HYPERNOISE = MethodSpec(
    "hypernoise", "hypernoise.methods.hypernoise:HyperNoise", version=1, trains="hypernoise"
)


FINETUNE = MethodSpec(
    "finetune", "hypernoise.methods.lora_finetune:LoraFinetune", version=1, trains="lora_finetune"
)


REDNESS = RewardSpec(
    "red", "hypernoise.rewards.redness:Redness", version=1, arguments={"scale": 100.0}
)


OPTIONS = {
    "steps": 4,
    "batch_size": 2,
    "rank": 2,
    "alpha": 4.0,
    "checkpoint_every": 2,
    "validate_every": 2,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = tmp_path_factory.mktemp("weights") / "tiny_sd"
    generator: Any = build_generator("tiny_sd")
    generator.pipeline.save_pretrained(folder)
    return ModelSpec(
        "tiny_sd", "hypernoise.models.unet:SdTurbo", weights=str(folder), size_px=32, version=1
    )


def train_job(folder: Path, model: ModelSpec, **changes: Any) -> TrainJob:
    fields: dict[str, Any] = {
        "model": model,
        "method": HYPERNOISE,
        "reward": REDNESS,
        "extra_rewards": {"judge": REDNESS},
        "train_prompts": PromptsSpec("harness_toys:prompts", {"n": 5}),
        "validation_prompts": PromptsSpec("harness_toys:prompts", {"n": 3}),
        "options": OPTIONS,
        "out": str(folder / "out"),
        "work": str(folder / "work"),
    }
    return TrainJob(**fields | changes)
