"""Every reward of the workflow, as it is declared. Nothing here is downloaded."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks import geneval_coco
from harness.components import check_reward_weights
from harness.specs import WEIGHT_ARGUMENTS, Registry, RewardSpec, SpecError, resolve

FOLDER = Path(__file__).parents[1] / "workflows" / "rewards"


def declared() -> Registry:
    """The registry as the workflow's files fill it."""
    made = Registry()
    for path in sorted(FOLDER.glob("*.smk")):
        add = functools.partial(made.add_reward, file=path.name)
        exec(compile(path.read_text(encoding="utf-8"), path, "exec"), {"add_reward": add})
    return made


REGISTRY = declared()
REWARDS = [REGISTRY.reward(name) for name in sorted(REGISTRY.rewards)]


def downloads(reward: RewardSpec) -> list[str]:
    files = [str(reward.arguments.get(name, "")) for name in WEIGHT_ARGUMENTS]
    return [file for file in files if file.startswith(("hf://", "https://"))]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a contract test reached for the network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("hypernoise.hub.check_file", lambda *_: None)
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
        check_reward_weights([reward])
    else:
        with pytest.raises(SpecError, match=r"\.smk: weights of reward '.*no '#sha256='"):
            check_reward_weights([reward])


def test_human_preference_has_the_papers_weights() -> None:
    assert REGISTRY.rewards["human_preference"].weights_of == {
        "hpsv2_1": 5.0,
        "imagereward": 1.0,
        "pickscore": 0.05,
        "clip_score": 0.01,
    }


def test_genevals_colours_are_seen_by_the_clip_of_aesthetic() -> None:
    assert REGISTRY.rewards["aesthetic"].arguments["weights"] == geneval_coco.CLIP
