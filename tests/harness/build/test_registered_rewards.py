"""Every reward of the workflow and of the examples, as declared. Nothing is downloaded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parity.small import OPEN_CLIP

from examples import with_examples
from harness.base.errors import SpecError
from harness.base.import_strings import resolve
from harness.benchmarks import geneval_coco
from harness.build.rewards import check_reward
from harness.experiment.components import WEIGHT_ARGUMENTS, RewardSpec

REGISTRY = with_examples()
RANDOM = REGISTRY.rewards["hpsv2_1_random"]
REWARDS = [REGISTRY.reward(name) for name in sorted(REGISTRY.rewards)]


def downloads(reward: RewardSpec) -> list[str]:
    files = [str(reward.arguments.get(name, "")) for name in WEIGHT_ARGUMENTS]
    return [file for file in files if file.startswith(("hf://", "https://"))]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a contract test reached for the network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("hypernoise.weights.hub.check_file", lambda *_: None)
    monkeypatch.setattr("harness.benchmarks.vlm.check_network", lambda *_: None)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: reward.name)
def test_its_parts_exist_and_its_target_is_a_reward(reward: RewardSpec) -> None:
    target = resolve(reward.target)
    assert callable(target.encode)
    assert callable(target.score)
    assert set(reward.parts) == set(reward.weights_of)


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: reward.name)
def test_its_files_are_checked_before_any_work_without_a_download(reward: RewardSpec) -> None:
    files = [file for single in reward.singles() for file in downloads(single)]
    if all("#sha256=" in file for file in files):
        check_reward(reward)
    else:
        with pytest.raises(SpecError, match=r"\.smk: weights of reward '.*no '#sha256='"):
            check_reward(reward)


def test_human_preference_has_the_papers_weights() -> None:
    assert REGISTRY.rewards["human_preference"].weights_of == {
        "hpsv2_1": 5.0,
        "imagereward": 1.0,
        "pickscore": 0.05,
        "clip_score": 0.01,
    }


def test_the_twin_with_random_weights_is_hpsv2_1_but_for_them() -> None:
    real, twin = REGISTRY.rewards["hpsv2_1"], REGISTRY.rewards["hpsv2_1_random"]
    assert twin.is_random and not real.is_random
    assert twin.target == real.target
    assert {**twin.arguments, "weights": real.arguments["weights"]} == real.arguments


def test_random_weights_are_never_a_fallback() -> None:
    target, made = "hypernoise.rewards.hpsv2:HPSv2", with_examples()
    with pytest.raises(SpecError, match="'sound': random ones need a reward name"):
        made.add_reward("sound", target=target, weights="random", version=1)
    summed = {"target": "hypernoise.rewards.ensemble:Ensemble", "version": 1}
    made.add_reward("summed", parts={"hpsv2_1_random": 1.0, "redness": 1.0}, **summed)
    with pytest.raises(SpecError, match="'summed': random ones need a reward name"):
        made.reward("summed")


def test_random_weights_score_by_the_seed_and_need_no_file() -> None:
    small = {"architecture": OPEN_CLIP, "device": "cpu"}
    first, second = (resolve(RANDOM.target)(**RANDOM.arguments, **small) for _ in range(2))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images.requires_grad_(True)
    before = torch.get_rng_state()
    scores = first.score(images, first.encode(["a red cube"] * 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(scores, second.score(images, second.encode(["a red cube"] * 3)))
    assert torch.isfinite(scores).all() and scores.std() > 0
    (slope,) = torch.autograd.grad(scores.sum(), images)
    assert slope.flatten(1).norm(dim=1).min() > 0
    assert not any(p.requires_grad for p in first.clip.network.parameters())


def test_genevals_colours_are_seen_by_the_clip_of_aesthetic() -> None:
    assert REGISTRY.rewards["aesthetic"].arguments["weights"] == geneval_coco.CLIP
