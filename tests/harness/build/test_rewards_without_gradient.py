"""Rewards without a gradient: a benchmark's verdict, and what may follow one."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from paths import REPOSITORY
from trainings import REDNESS, model, train_job

from harness.base.errors import SpecError
from harness.base.import_strings import resolve
from harness.benchmarks import verdict
from harness.benchmarks.shapeworld import ShapeWorld
from harness.benchmarks.verdict import Verdict
from harness.build.methods import check_method
from harness.build.rewards import build_reward, check_gradient, check_reward_of
from harness.experiment.component_files import declared
from harness.experiment.components import MethodSpec, ModelSpec, PromptsSpec, RewardSpec
from harness.stages import train
from hypernoise.shapeworld.captions import captions
from hypernoise.shapeworld.scenes import SIZE_PX

__all__ = ["model"]

REGISTRY = declared(REPOSITORY / "workflows")
VERDICT = REGISTRY.reward("shapeworld_verdict")
TRAINED = {"n": 6, "of": "hypernoise.shapeworld.captions:captions", "split": "train"}
PROMPTS = PromptsSpec("harness.benchmarks.prompts:subset", TRAINED)
OPTIONS: dict[str, Any] = {
    "steps": 2,
    "batch_size": 2,
    "rank": 2,
    "alpha": 4.0,
    "checkpoint_every": 2,
    "validate_every": 2,
}


def searching(name: str) -> MethodSpec:
    return REGISTRY.methods[name]


def sum_with_the_verdict() -> RewardSpec:
    weights = {"red": 1.0, "shapeworld_verdict": 0.5}
    target = "hypernoise.rewards.ensemble:Ensemble"
    parts = {"red": REDNESS, "shapeworld_verdict": VERDICT}
    return RewardSpec("both", target, version=1, weights_of=weights, parts=parts)


def test_the_verdict_is_the_benchmarks_own_on_the_bytes_of_a_png() -> None:
    reward = build_reward(VERDICT, "cpu")
    assert reward.name == "shapeworld_verdict"
    world = ShapeWorld("validation")
    prompts = world.prompts()[:12]
    source = torch.Generator().manual_seed(0)
    images = torch.rand(len(prompts), 3, SIZE_PX, SIZE_PX, generator=source)
    rounded = (images * 255).round().numpy().astype(np.float32) / np.float32(255)
    expected = [score["geneval_correct"].value for score in world.score(rounded, prompts)]
    scores = reward.score(images, reward.encode([prompt.text for prompt in prompts]))
    assert scores.tolist() == expected
    assert not scores.requires_grad


def test_captions_of_every_split_are_judged_and_others_refused() -> None:
    reward = build_reward(VERDICT, "cpu")
    for split in ("train", "validation", "evaluation"):
        reward.encode([caption.text for caption in captions(split)[:5]])
    with pytest.raises(SpecError, match="'a photo of a unicorn' is none of them; add the list"):
        reward.encode(["a photo of a unicorn"])


def test_a_metric_that_the_benchmark_lacks_is_refused() -> None:
    benchmark = {"target": "harness.benchmarks.shapeworld:ShapeWorld"}
    with pytest.raises(SpecError, match=r"'corect'.*geneval_correct"):
        Verdict(benchmark, [], metric="corect")


def test_a_verdict_of_one_image_size_refuses_models_of_another(model: ModelSpec) -> None:
    check_reward_of(VERDICT, model)
    large = ModelSpec("large", model.target, weights=model.weights, size_px=64, version=1)
    with pytest.raises(SpecError, match="'shapeworld_verdict' takes images of 32 px alone"):
        check_reward_of(VERDICT, large)


@pytest.mark.parametrize("name", ["reno", "white_reno"])
def test_a_search_along_a_gradient_refuses_a_reward_without_one(name: str) -> None:
    wanted = f"method '{name}' follows the gradient of its reward, and reward 'shapeworld_verdict'"
    with pytest.raises(SpecError, match=wanted):
        check_method(searching(name), VERDICT)
    with pytest.raises(SpecError, match=wanted):
        check_method(searching(name), sum_with_the_verdict())
    check_method(searching(name), REDNESS)


@pytest.mark.parametrize("name", ["best_of_n", "zero_order", "random_restart"])
def test_a_search_without_gradients_takes_any_reward(name: str) -> None:
    check_method(searching(name), VERDICT)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("hypernoise", {}),
        ("lora_finetune_final", {}),
        ("low_frequency", {}),
        ("supervised", {"distil_teacher": "reno"}),
    ],
)
def test_a_training_along_a_gradient_is_refused_before_any_work(
    tmp_path: Path, model: ModelSpec, name: str, more: dict[str, str]
) -> None:
    lacking = () if name != "low_frequency" else ("rank", "alpha")
    options = {key: value for key, value in (OPTIONS | more).items() if key not in lacking}
    job = train_job(
        tmp_path, model, method=searching(name), reward=VERDICT, extra_rewards={}, options=options
    )
    with pytest.raises(SpecError, match=f"training '{name}' follows the gradient.*noise_policy"):
        train.check(job)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["noise_policy", "supervised"])
def test_a_training_without_gradients_takes_the_verdict(
    tmp_path: Path, model: ModelSpec, name: str
) -> None:
    job = train_job(
        tmp_path,
        model,
        method=searching(name),
        reward=VERDICT,
        train_prompts=PROMPTS,
        validation_prompts=PROMPTS,
        extra_rewards={"judge": REDNESS},
        options=OPTIONS,
    )
    train.run(job)
    rows = pd.read_parquet(Path(job.out, "steps.parquet"))
    assert set(rows["method"]) == {name}
    validated = rows[(rows["kind"] == "validation") & (rows["name"] == "reward")]["value"]
    assert validated.between(0, 1).all()


def test_a_reward_says_nothing_where_it_has_a_gradient() -> None:
    for name in ("matcher", "matcher_judge", "redness"):
        check_gradient(REGISTRY.reward(name), "a test")


def test_every_method_that_asks_for_a_gradient_says_so() -> None:
    for spec in REGISTRY.methods.values():
        target = resolve(spec.target)
        asks = "differentiable_score" in Path(inspect.getfile(target)).read_text(encoding="utf-8")
        assert asks == getattr(target, "follows_gradient", False), spec.name


def test_a_text_that_is_judged_in_two_ways_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ShapeWorld("validation").prompts()[0]
    other = replace(first, metadata={**first.metadata, "tag": "another"})
    monkeypatch.setattr(verdict, "declared_prompts", lambda _: [first, other])
    with pytest.raises(SpecError, match="two metadata"):
        build_reward(VERDICT, "cpu")
