"""The paper's experiments, as ``paper.yaml`` plans them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from experiments import load
from paths import REPOSITORY
from shared_data import SHARED, needs

from harness.benchmarks import paper_prompts
from harness.build import data_files
from harness.build.prompts import load_prompts
from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.stages import overlap

FIGURE_PROMPTS = "paper/figure_prompts.json"
SANA = "sana_sprint_0_6b"
NETWORK = (SANA, "redness", "hypernoise")


def paper(**sets: Mapping[str, Any]) -> Experiment:
    """The paper's experiment, with changes of its image sets."""
    config = load("paper.yaml")
    for name, changes in sets.items():
        config["image_sets"][name] = {**config["image_sets"][name], **changes}
    return Experiment(read(config, "paper.yaml"), declared(REPOSITORY / "workflows"), "paper.yaml")


def texts(experiment: Experiment, benchmark: str) -> list[str]:
    return [p.text for p in load_prompts(experiment.registry.benchmarks[benchmark].prompts)]


@needs(FIGURE_PROMPTS)
def test_prompts_are_the_ones_that_the_paper_prints_whole() -> None:
    facts = json.loads((SHARED / FIGURE_PROMPTS).read_text(encoding="utf-8"))
    facts = {name.removesuffix("_evaluation"): said for name, said in facts.items()}
    facts.pop("source")
    made = paper()
    for place, printed in facts.items():
        assert texts(made, f"{place}_prompts") == printed
        assert made.registry.benchmarks[f"{place}_prompts"].n_images == 1
    with pytest.raises(ValueError, match=r"'figure9'.*figure7"):
        paper_prompts.printed("figure9")


def test_preferences_are_learned_from_as_many_prompts_as_in_the_paper() -> None:
    assert paper().prompts(SANA, "human_preference", "hypernoise")["train"].arguments["n"] == 70_000


@needs("benchmarks/geneval")
def test_redness_is_learned_on_30_prompts_of_geneval_and_measured_on_the_four_named_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(SHARED / "benchmarks"))
    made = paper()
    lists = {name: load_prompts(spec) for name, spec in made.prompts(*NETWORK).items()}
    tasks = [prompt.task for prompt in lists["train"]]
    assert len({prompt.text for prompt in lists["train"]}) == 30
    assert {tasks.count(task) for task in set(tasks)} == {5}
    assert lists["train"] == load_prompts(made.prompts(*NETWORK)["train"])
    named = [f"A photo of a {thing}" for thing in ("parrot", "dolphin", "train", "car")]
    assert [prompt.text for prompt in lists["validation"]] == named
    assert texts(made, "redness_prompts") == named
    assert {made.image_set(name).benchmark for name in ("figure4", "redness")} == {
        "redness_prompts"
    }
    assert list(made.metrics("redness").items()) == [
        ("judge_reward", "imagereward"),
        ("train_reward", "redness"),
    ]


@needs("benchmarks/geneval")
def test_no_network_that_learned_redness_on_geneval_is_measured_on_geneval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(SHARED / "benchmarks"))
    job = Planned(paper()).overlap([NETWORK])
    assert job.measured[f"training {' '.join(NETWORK)}"] == ("redness_prompts",)
    overlap.check(job)
    # Two of the four are prompts of GenEval too, but none of the 30.
    control = (SANA, "redness_control", "hypernoise")
    measured = Planned(paper()).overlap([control]).measured
    assert measured[f"training {' '.join(control)}"] == ("geneval",)
    wrong = paper(
        controls={
            "swapped": {"methods": ["hypernoise"], "reward": "redness", "prompts": "within_task"}
        }
    )
    with pytest.raises(ValueError, match="redness hypernoise and geneval: 'a photo of a bench'"):
        overlap.check(Planned(wrong).overlap([NETWORK]))
