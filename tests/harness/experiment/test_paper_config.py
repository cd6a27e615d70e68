"""The paper's experiments, as ``paper.yaml`` plans them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
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
from harness.experiment.providers import Table
from harness.report.grids import Column
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


def columns_of(experiment: Experiment, figure: str) -> list[tuple[str, str, int, int]]:
    """(model, method, steps, image) of a figure's columns."""
    job = Table(experiment, experiment.registry.tables[figure]).job()
    columns = [Column(**column) for column in job.table.arguments["columns"]]
    return [(c.model, c.method, c.steps, c.image_index) for c in columns]


@pytest.mark.parametrize(
    ("figure", "columns"),
    [
        (
            "figure1",
            [
                (model, method, steps, 0)
                for model, steps in ((SANA, 1), ("flux_schnell", 4))
                for method in ("base", "hypernoise")
            ],
        ),
        (
            "figure5",
            [
                ("flux_schnell", "base", 4, 0),
                ("sd3_5_large_turbo", "base", 4, 0),
                (SANA, "base", 4, 0),
                (SANA, "hypernoise", 4, 0),
                ("flux_schnell", "hypernoise", 4, 0),
            ],
        ),
        (
            "figure6",
            [(SANA, method, 1, 0) for method in ("base", "lora_finetune_final", "hypernoise")],
        ),
        ("figure7", [(SANA, method, 1, 0) for method in ("base", "hypernoise")]),
        ("figure8", [(SANA, method, 1, n) for n in range(4) for method in ("base", "hypernoise")]),
    ],
)
def test_figures_have_the_papers_columns_and_prompts(figure: str, columns: list[Any]) -> None:
    made = paper()
    assert figure in made.config.tables
    assert columns_of(made, figure) == columns
    table = Table(made, made.registry.tables[figure])
    # Of the same prompts, so that base and HyperNoise of a model share the noise.
    benchmarks = {run.benchmark for run in table.runs()}
    assert benchmarks == {"geneval" if figure == "figure8" else f"{figure}_prompts"}
    shown = [(run.model, run.method, run.steps) for run in table.runs()]
    assert {column[:3] for column in columns} <= set(shown)
    if figure != "figure8":
        assert len(shown) == len(columns)
        assert table.spec.arguments["prompts_per_task"] >= len(texts(made, f"{figure}_prompts"))
        assert {run.reward for run in table.runs()} <= {"none", "human_preference"}


def test_figures_draw_from_no_network_but_the_main_experiments() -> None:
    made = paper()
    drawn = [name for name in made.image_sets if name.startswith("figure") and name != "figure4"]
    assert len(drawn) == 5
    assert {each for name in drawn for each in made.trainings(name)} <= set(made.trainings())


def departures(made: Experiment, name: str) -> list[str]:
    given = Table(made, made.registry.tables[name]).job().table.arguments
    return list(given.get("departures", []))


def test_tables_of_the_papers_own_benchmarks_and_models_are_compared_with_its_numbers() -> None:
    compared = ("table1", "table2", "table5", "table7", "table8", "table9", "table10")
    for name in (*compared, "steps_curve", "rank_curve"):
        assert departures(paper(), name) == [], name


def test_dpg_is_not_compared_because_another_model_answers_its_questions() -> None:
    [said] = departures(paper(), "table6")
    assert "another model than the authors' mPLUG" in said


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("geneval", {"n_images": 2}, "geneval has 2 images per prompt, not 4"),
        ("geneval", {"arguments": {"detector": "./random"}}, "geneval has another detector"),
        ("geneval", {"arguments": {"postprocessing": "transformers"}}, "another postprocessing"),
        ("geneval", {"target": "my.package:Few"}, "geneval is my.package:Few, not"),
    ],
)
def test_a_cut_benchmark_or_another_detector_is_not_the_papers_whatever_its_name(
    name: str, changes: Mapping[str, Any], words: str
) -> None:
    made = paper()
    made.registry.benchmarks[name] = replace(made.registry.benchmarks[name], **changes)
    [said] = departures(made, "table1")
    assert words in said


def test_a_pin_of_the_published_detector_departs_from_nothing() -> None:
    made = paper()
    spec = made.registry.benchmarks["geneval"]
    pinned = {"detector_revision": "0" * 40}
    made.registry.benchmarks["geneval"] = replace(spec, arguments=pinned)
    assert departures(made, "table1") == []


def test_other_prompts_weights_and_comparisons_are_not_the_papers() -> None:
    made = paper()
    spec = made.registry.benchmarks["t2i_compbench"]
    prompts = {"target": "harness.benchmarks.prompts:subset", "of": "a:b", "n": 6}
    made.registry.benchmarks["t2i_compbench"] = replace(
        spec, arguments={**spec.arguments, "prompts": prompts}
    )
    assert "another prompts than the published one" in departures(made, "table5")[0]
    model = made.registry.models[SANA]
    made.registry.models[SANA] = replace(model, weights="./stand_in", revision="")
    said = departures(made, "table2")
    assert said == [f"{SANA} has weights ./stand_in, not {model.weights}"]
    similar = {"lpips_distance": {"target": "a:b", "arguments": {"weights": "random"}}}
    made = Experiment(read(load("paper.yaml") | {"similarities": similar}, "p"), made.registry, "p")
    assert "lpips_distance is measured with another weights" in departures(made, "table7")[1]
