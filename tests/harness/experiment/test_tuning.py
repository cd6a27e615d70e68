"""Trials of the tuning: which settings are tried, of what, and what a config may ask for."""

from __future__ import annotations

import collections
from typing import Any

import pytest
from experiments import STEPS, experiment, load, make_registry
from paths import REPOSITORY

from harness.base.errors import SpecError
from harness.experiment.checks import check
from harness.experiment.component_files import declared
from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.methods import n_scored
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import PROVIDERS, Table
from harness.experiment.tuning import settings, trials

GRIDS: dict[str, dict[str, list[Any]]] = {
    "hypernoise": {"learning_rate": [0.001, 0.01], "rank alpha": [[2, 4], [4, 8]]},
    "lora_finetune": {"steps": [2, 4], "decay": ["none", "linear"], "keep": ["best"]},
}
DRAFTS: dict[str, list[Any]] = {"n keep": [[48, 2], [46, 4]], "draft_steps": [1, 2]}
TUNING: dict[str, Any] = {
    "benchmark": "shapeworld_validation",
    "trials": 3,
    "seeds": [7, 8],
    "criterion": "benchmark",
    "grids": GRIDS,
    "searches": {"reno": {"learning_rate": [0.1, 0.2], "regularization": [0.0, 0.01]}},
}


@pytest.fixture
def registry() -> Registry:
    return make_registry()


def tuned(registry: Registry, **changes: Any) -> Experiment:
    training = {"default": {**STEPS, "rank": 16, "alpha": 32}}
    return experiment(registry, tuning={**TUNING, **changes}, training=training)


def test_every_kind_of_network_gets_as_many_trials(registry: Registry) -> None:
    made = tuned(registry)
    found = [t for t in trials(made.config, registry, "some.yaml") if t.kind in GRIDS]
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


def test_a_search_gets_as_many_trials_of_which_none_is_trained(registry: Registry) -> None:
    made = tuned(registry)
    own = [t for t in trials(made.config, registry, "some.yaml") if t.kind == "reno"]
    assert [t.method for t in own] == list(made.image_set("tuning_searches").methods)
    assert len(own) == 3
    assert {t.seed for t in own} == {None}
    assert made.image_set("tuning_searches").benchmark == "shapeworld_validation"
    assert made.trainings("tuning_searches") == []
    # What networks are tried with does not change with it.
    alone = tuned(registry, searches={})
    assert alone.image_set("tuning") == made.image_set("tuning")
    assert "tuning_searches" not in alone.image_sets


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
        ({"searches": {"rino": {"learning_rate": [1, 2, 3]}}}, ["'rino'", "'reno'"]),
        ({"searches": {"reno": {"momntum": [1, 2, 3]}}}, ["'momntum'", "'momentum'"]),
        (
            {"searches": {"reno": {"learning_rate": [1, 2, "x"]}}},
            ["learning_rate must be a number", "'x'"],
        ),
        ({"searches": {"reno": {"learning_rate": [1, 2]}}}, ["reno", "has 2 settings"]),
        ({"searches": {"reno": {"iterations": [4, 8, 9]}}}, ["equal budgets", "iterations=8 8"]),
        ({"searches": {"base": {"n": [1, 2, 3]}}}, ["base: it trains a network or asks no reward"]),
        ({"searches": {"hypernoise": {"rank": [1, 2, 3]}}}, ["hypernoise: it trains a network"]),
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
    for name in ("tuning", "tuning_searches"):
        with pytest.raises(SpecError, match=f"image set '{name}' is that of config section"):
            _ = experiment(registry, tuning=TUNING, image_sets={name: {}}).image_sets


def test_every_trial_of_a_search_in_the_embedded_world_scores_fifty_images() -> None:
    declared_here = declared(REPOSITORY / "workflows")
    made = Experiment(read(load("tiny.yaml"), "tiny.yaml"), declared_here, "tiny.yaml")
    tried = trials(made.config, declared_here, "tiny.yaml")
    counts = collections.Counter(trial.kind for trial in tried)
    assert set(counts.values()) == {8}
    searches = {"reno", "white_reno", "spectral_evolution", "zero_order", "random_restart"}
    assert set(counts) == {"hypernoise", "lora_finetune", *searches}
    for trial in tried:
        method = made.method(trial.method, "tiny_sd", "matcher")
        assert n_scored(method) == (50 if method.needs_reward else 1), trial.method


def test_a_search_over_drafts_can_be_tuned_too() -> None:
    declared_here = declared(REPOSITORY / "workflows")
    config = load("tiny.yaml")
    config["tuning"] |= {"trials": 4, "searches": {"drafted_best_of_n": DRAFTS}}
    made = Experiment(read(config, "tiny.yaml"), declared_here, "tiny.yaml")
    check(made)
    texts = made.image_set("tuning_searches").methods
    assert texts[0] == "drafted_best_of_n:draft_steps=1,keep=2,n=48"
    assert len(texts) == 4


def test_tables_of_the_tuning_are_told_trials_and_what_the_config_has(registry: Registry) -> None:
    made = tuned(registry, trials=4, seeds=[7])
    registry.add_table("mine", target="harness.analysis.tuning:tuning", version=1, sets=("tuning",))
    table = Table(made, made.tables["mine"])
    assert table.spec.sets == ("tuning", "tuning_searches")
    given = table.job().table.arguments
    trial = given["trials"]["tiny_sana"]["lora_finetune_final:decay=none,keep=best,seed=7,steps=2"]
    assert trial["kind"] == "lora_finetune"
    assert trial["options"] == {"steps": 2, "decay": "none", "keep": "best"}
    assert trial["training"] == "lora_finetune:decay=none,keep=best,seed=7,steps=2"
    assert given["configured"]["tiny_sd"] == {
        "hypernoise": {"learning_rate": 0.001, "rank": 16, "alpha": 32},
        "lora_finetune": {"steps": 4, "decay": "none", "keep": "last"},
        # Of arguments that nothing gives, the method's own.
        "reno": {"learning_rate": 5.0, "regularization": 0.01},
    }
    search = given["trials"]["tiny_sana"]["reno:learning_rate=0.1,regularization=0"]
    assert search["options"] == {"learning_rate": 0.1, "regularization": 0.0}
    assert "training" not in search
    assert given["criterion"] == "benchmark"
    assert {"scores", "images", "training"} == set(table.inputs())
    scored = [file for file in table.inputs()["scores"] if "/tiny_sd" in file]
    assert [file.split("/")[2] for file in scored] == ["tuning", "tuning_searches"]
    assert PROVIDERS["criterion"](Table(experiment(registry, tuning=None), table.spec)) is None
