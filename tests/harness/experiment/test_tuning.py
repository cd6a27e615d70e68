"""Trials of the tuning: which settings are tried, of what, and what a config may ask for."""

from __future__ import annotations

import collections
from typing import Any

import pytest
from experiments import STEPS, experiment, make_registry

from harness.base.errors import SpecError
from harness.experiment.checks import check
from harness.experiment.components import Registry, TableSpec
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import PROVIDERS, Table
from harness.experiment.tuning import settings, trials

GRIDS: dict[str, dict[str, list[Any]]] = {
    "hypernoise": {"learning_rate": [0.001, 0.01], "rank alpha": [[2, 4], [4, 8]]},
    "lora_finetune": {"steps": [2, 4], "decay": ["none", "linear"], "keep": ["best"]},
}
TUNING: dict[str, Any] = {
    "benchmark": "shapeworld_validation",
    "trials": 3,
    "seeds": [7, 8],
    "criterion": "benchmark",
    "grids": GRIDS,
}


@pytest.fixture
def registry() -> Registry:
    return make_registry()


def tuned(registry: Registry, **changes: Any) -> Experiment:
    training = {"default": {**STEPS, "rank": 16, "alpha": 32}}
    return experiment(registry, tuning={**TUNING, **changes}, training=training)


def test_every_kind_of_network_gets_as_many_trials(registry: Registry) -> None:
    made = tuned(registry)
    found = trials(made.config, registry, "some.yaml")
    for kind in GRIDS:
        own = [trial for trial in found if trial.kind == kind]
        assert len(own) == 3 * 2
        assert len({str(trial.options) for trial in own}) == 3
        assert {trial.seed for trial in own} == {7, 8}
    chosen = made.image_set("tuning")
    assert chosen.benchmark == "shapeworld_validation"
    assert chosen.methods == ("base", *(trial.method for trial in found))
    # Fine-tuning is tried by what its training ends with, not by what matches the noise network.
    assert {text.split(":")[0] for text in chosen.methods[7:]} == {"lora_finetune_final"}


def test_a_setting_is_the_trainings_own_and_the_rest_is_the_configs(registry: Registry) -> None:
    made = tuned(registry, trials=4, seeds=[7])
    trial = next(t for t in trials(made.config, registry, "") if t.kind == "hypernoise")
    training = made.training("tiny_sd", "matcher", trial.method)
    options = Planned(made).train("tiny_sd", "matcher", training).options
    assert options == {**STEPS, "learning_rate": 0.001, "rank": 2, "alpha": 4, "seed": 7}
    assert made.trainings("tuning")[0] == ("tiny_sd", "matcher", training)
    assert len(made.trainings("tuning")) == 2 * 8


def test_a_grid_of_the_right_size_is_tried_whole_and_in_its_order() -> None:
    assert settings(GRIDS["hypernoise"], 4, seed=0) == [
        {"learning_rate": 0.001, "rank": 2, "alpha": 4},
        {"learning_rate": 0.001, "rank": 4, "alpha": 8},
        {"learning_rate": 0.01, "rank": 2, "alpha": 4},
        {"learning_rate": 0.01, "rank": 4, "alpha": 8},
    ]


def test_of_a_larger_grid_a_seed_draws_the_settings() -> None:
    grid = {"learning_rate": [1e-4, 1e-3, 1e-2], "temperature": [0.1, 1.0, 10.0]}
    first = settings(grid, 5, seed=0)
    assert first == settings(grid, 5, seed=0)
    assert len({tuple(setting.values()) for setting in first}) == 5
    assert any(settings(grid, 5, seed=seed) != first for seed in (1, 2, 3))


@pytest.mark.parametrize("n", [4, 7, 8, 17])
def test_a_draw_tries_every_value_as_often_as_the_others(n: int) -> None:
    grid = {"learning_rate": [1, 2, 3], "rank alpha": [[1, 2], [3, 4]], "decay": ["a", "b", "c"]}
    for seed in range(20):
        drawn = settings(grid, n, seed)
        for name in ("learning_rate", "rank", "alpha", "decay"):
            counts = collections.Counter(setting[name] for setting in drawn).values()
            assert max(counts) - min(counts) <= 1, (seed, name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grids": {"hypernose": {"rank": [1, 2, 3]}}}, ["'hypernose'", "'hypernoise'"]),
        ({"grids": {"hypernoise": {"ranck": [1, 2, 3]}}}, ["'ranck'", "'rank'"]),
        ({"grids": {"hypernoise": {"rank": [1, 2, -3]}}}, ["grid of hypernoise", "'rank'", "-3"]),
        ({"grids": {"hypernoise": {"seed": [1, 2, 3]}}}, ["unknown training option 'seed'"]),
        ({"grids": {"hypernoise": {"rank": [1, 2]}}}, ["has 2 settings", "gets 3 trials"]),
        ({"grids": {"hypernoise": {"rank alpha": [[2, 4], 3, [1, 2]]}}}, ["2 values, got 3"]),
        ({"grids": {"low_frequency": {"width": [1, 2, 3]}}}, ["no declared method uses the end"]),
        ({"benchmark": "shapeworld"}, ["'shapeworld'", "validation prompts"]),
        ({"benchmark": "shapewrld"}, ["benchmark of image set tuning", "'shapewrld'"]),
        ({"models": ["tiny_flx"]}, ["model of image set tuning", "'tiny_flx'"]),
        ({"criterion": "geneval"}, ["criterion", "'geneval'"]),
    ],
)
def test_a_tuning_that_cannot_be_is_refused_before_any_work(
    registry: Registry, changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        check(tuned(registry, **changes))
    assert all(word in str(caught.value) for word in words), caught.value


def test_the_name_of_the_trials_image_set_is_taken(registry: Registry) -> None:
    with pytest.raises(SpecError, match="image set 'tuning' is that of config section 'tuning'"):
        _ = experiment(registry, tuning=TUNING, image_sets={"tuning": {}}).image_sets


def test_tables_of_the_tuning_are_told_trials_and_what_the_config_has(registry: Registry) -> None:
    made = tuned(registry, trials=4, seeds=[7])
    table = Table(made, TableSpec("mine", "harness.analysis.tuning:tuning", 1, sets=("tuning",)))
    given = table.job().table.arguments
    trial = given["trials"]["tiny_sana"]["lora_finetune_final:decay=none,keep=best,seed=7,steps=2"]
    assert trial["kind"] == "lora_finetune"
    assert trial["options"] == {"steps": 2, "decay": "none", "keep": "best"}
    assert trial["training"] == "lora_finetune:decay=none,keep=best,seed=7,steps=2"
    assert given["configured"]["tiny_sd"] == {
        "hypernoise": {"learning_rate": 0.001, "rank": 16, "alpha": 32},
        "lora_finetune": {"steps": 4, "decay": "none", "keep": "last"},
    }
    assert given["criterion"] == "benchmark"
    assert {"scores", "training"} == set(table.inputs())
    assert PROVIDERS["criterion"](Table(experiment(registry, tuning=None), table.spec)) is None
