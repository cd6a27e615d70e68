"""From any config to one that asks for the same with hardly any work."""

from __future__ import annotations

from typing import Any

import pytest
from experiments import CONFIG_FOLDER, load
from paths import REPOSITORY

from harness.experiment.checks import check, check_tables
from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.rehearsal.replacements import shrink
from harness.rehearsal.small_config import (
    FEW,
    PROMPTS,
    WORK,
    few_prompts,
    small,
    small_benchmark,
    small_method,
)

REGISTRY = declared(REPOSITORY / "workflows")
CONFIGS = sorted(file.name for file in CONFIG_FOLDER.glob("*.yaml"))


def rehearsed(name: str, **chosen: Any) -> Experiment:
    return Experiment(read(small(load(name), REGISTRY, **chosen), name), REGISTRY, name)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_shipped_config_has_a_rehearsal_of_the_same_tables_and_images(name: str) -> None:
    real, made = Experiment(read(load(name), name), REGISTRY, name), rehearsed(name)
    check(made)
    check_tables(made)
    assert made.config.tables == real.config.tables
    for image_set, chosen in real.image_sets.items():
        if image_set not in ("tuning", "tuning_searches"):
            for model in chosen.models:
                assert made.runs(image_set, model) == real.runs(image_set, model)


def test_trainings_are_short_and_keep_all_else_that_the_paper_says() -> None:
    real = Experiment(read(load("paper.yaml"), "paper.yaml"), REGISTRY, "paper.yaml")
    made = rehearsed("paper.yaml")
    for model in ("sana_sprint_0_6b", "flux_schnell"):
        before, after = (e.options(model, "human_preference", "hypernoise") for e in (real, made))
        kept = ("precision", "gradient_checkpointing", "optimizer", "rank", "alpha", "grad_clip")
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert after["accumulation"] == 2
        assert after["steps"] == 2


def test_the_choice_of_tables_and_models_may_be_smaller() -> None:
    made = rehearsed("paper.yaml", tables=["table1"], models=["sd_turbo"])
    assert made.config.tables == ("table1",)
    assert made.config.models == ("sd_turbo",)
    needed = made.needed({name for table in made.asked() for name in table.sets})
    assert {"sd_turbo", "hpsv2_1", "imagereward", "geneval", "reno"} <= needed
    assert not {"flux_schnell", "dpg_bench"} & needed


def test_a_derived_config_leaves_the_given_one_as_it_was() -> None:
    given = load("paper.yaml")
    small(given, REGISTRY)
    assert given == load("paper.yaml")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"target": "a.b:c", "arguments": {"split": "val"}}, ("subset", "a.b:c")),
        (
            {
                "target": "harness.benchmarks.prompts:balanced",
                "arguments": {"of": "x:y", "per_task": 9},
            },
            ("subset", "x:y"),
        ),
    ],
)
def test_a_list_of_prompts_is_cut(arguments: dict[str, Any], expected: tuple[str, str]) -> None:
    import harness.rehearsal.small_config as module

    known = module.signature_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "signature_of", lambda t, f="": None if t == "a.b:c" else known(t, f))
        made = few_prompts(arguments, FEW)
    assert made["target"].endswith(f":{expected[0]}")
    assert made["arguments"]["of"] == expected[1]
    assert made["arguments"]["n"] == FEW
    assert "per_task" not in made["arguments"]


def test_benchmarks_are_few_prompts_with_two_images() -> None:
    for name in ("shapeworld", "geneval_diversity", "t2i_compbench"):
        made = small_benchmark(REGISTRY.benchmarks[name])
        assert made.n_images == 2
        assert PROMPTS in (made.arguments.get("n"), made.arguments.get("prompts", {}).get("n"))


def test_a_benchmark_keeps_as_many_images_as_a_figure_of_it_shows() -> None:
    registry = declared(REPOSITORY / "workflows")
    config = read(small(load("paper.yaml"), registry), "paper.yaml")
    shrink(Experiment(config, registry, "paper.yaml"))
    # Figure 8 shows four images of each of GenEval's prompts.
    assert registry.benchmarks["geneval"].n_images == 4
    assert registry.benchmarks["t2i_compbench"].n_images == 2
    assert registry.benchmarks["figure5_prompts"].n_images == 1


def test_methods_do_little_and_keep_their_other_arguments() -> None:
    for name, work in (("best_of_n", "n"), ("reno", "iterations"), ("zero_order", "rounds")):
        made = small_method(REGISTRY.methods[name])
        assert made.arguments[work] == WORK
        others = {key: value for key, value in REGISTRY.methods[name].arguments.items()}
        assert {k: v for k, v in made.arguments.items() if k not in ("neighbors", work)} == {
            k: v for k, v in others.items() if k not in ("neighbors", work)
        }
