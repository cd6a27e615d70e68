"""Trained methods once for each training seed: variants, trainings, jobs."""

from __future__ import annotations

from typing import Any

import pytest
from experiments import FILE, STEPS, WARM, experiment, make_registry

from harness.base.errors import SpecError
from harness.experiment.checks import check
from harness.experiment.components import Registry
from harness.experiment.identity import identity_of
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import Table

SD = ("tiny_sd", "matcher")


@pytest.fixture
def registry() -> Registry:
    made = make_registry()
    made.add_method("hypernoise_reno", search="reno", **WARM)
    return made


def seeded(registry: Registry, seeds: Any = (2, 0), **changes: Any) -> Experiment:
    given = {} if seeds is None else {"training_seeds": list(seeds)}
    return experiment(registry, models=["tiny_sd"], **given, **changes)


def test_every_trained_method_has_images_of_each_seed_and_the_base_once(registry: Registry) -> None:
    made = seeded(registry)
    check(made)
    assert [run.method for run in made.runs("main", "tiny_sd")] == [
        "base",
        *("hypernoise", "hypernoise:seed=2"),
        *("lora_finetune", "lora_finetune:seed=2"),
        *("lora_finetune_final", "lora_finetune_final:seed=2"),
        "reno",
    ]
    trained = [training for *_, training in made.trainings()]
    assert trained == [
        *("hypernoise", "hypernoise:seed=2"),
        *("lora_finetune", "lora_finetune:seed=2"),
    ]


def test_without_the_key_everything_is_named_as_ever(registry: Registry) -> None:
    made = seeded(registry, None)
    methods = ["base", "hypernoise", "lora_finetune", "lora_finetune_final", "reno"]
    assert [run.method for run in made.runs("main", "tiny_sd")] == methods
    # One seed that is the option's own changes no job.
    alike = seeded(registry, [0])
    jobs = [
        [Planned(one).generate(**run._asdict()) for run in one.runs("main", "tiny_sd")]
        for one in (made, alike)
    ]
    assert jobs[0] == jobs[1]
    assert [job.method.training_seed for job in jobs[0]] == [None, 0, 0, 0, None]


def test_networks_have_one_name_in_frames_and_the_seed_beside_it(registry: Registry) -> None:
    made = seeded(registry)
    plan = Planned(made)
    first, second = (
        plan.generate(benchmark="shapeworld", model="tiny_sd", method=m, reward="matcher", steps=1)
        for m in ("hypernoise", "hypernoise:seed=2")
    )
    assert [job.method.name for job in (first, second)] == ["hypernoise", "hypernoise"]
    assert [job.method.training_seed for job in (first, second)] == [0, 2]
    assert second.adapter == "results/training/tiny_sd/matcher/hypernoise+seed=2"
    assert "/hypernoise+seed=2/" in second.out
    assert identity_of(first) != identity_of(second)
    training = plan.train(*SD, "hypernoise:seed=2")
    assert (training.method.name, training.options["seed"]) == ("hypernoise", 2)


def test_fine_tuning_is_matched_seed_by_seed(registry: Registry) -> None:
    plan = Planned(seeded(registry))
    for suffix in ("", "+seed=2"):
        job = plan.match(*SD, f"lora_finetune{suffix.replace('+', ':')}")
        assert job.finetune == f"results/training/tiny_sd/matcher/lora_finetune{suffix}"
        assert job.hypernoise == f"results/training/tiny_sd/matcher/hypernoise{suffix}"


def test_fine_tuning_of_a_seed_of_its_own_is_matched_to_that_seed(registry: Registry) -> None:
    layers = {"default": STEPS, "lora_finetune": {"seed": 4}}
    job = Planned(seeded(registry, None, training=layers)).match(*SD, "lora_finetune")
    assert job.hypernoise == "results/training/tiny_sd/matcher/hypernoise+seed=4"


def test_a_search_starts_from_the_network_of_its_seed(registry: Registry) -> None:
    made = seeded(registry, methods=["base", "reno", "hypernoise_reno"])
    runs = {run.method: run for run in made.runs("main", "tiny_sd")}
    assert list(runs) == ["base", "reno", "hypernoise_reno", "hypernoise_reno:seed=2"]
    adapter = Planned(made).adapter_of(runs["hypernoise_reno:seed=2"])
    assert adapter == "results/training/tiny_sd/matcher/hypernoise+seed=2"
    assert made.shown(["main"], "tiny_sd")["hypernoise_reno"] == [1]


def test_variants_are_trained_for_each_seed_too(registry: Registry) -> None:
    made = seeded(registry, methods=["base", "hypernoise:rank=2"])
    methods = [run.method for run in made.runs("main", "tiny_sd")]
    assert methods == ["base", "hypernoise:rank=2", "hypernoise:rank=2,seed=2"]
    assert [made.shown_as(method) for method in methods] == ["base", *["hypernoise:rank=2"] * 2]
    assert [training for *_, training in made.trainings()] == methods[1:]


def test_a_method_that_names_its_seed_is_that_one_network(registry: Registry) -> None:
    made = seeded(registry, methods=["base", "hypernoise", "hypernoise:seed=5"])
    check(made)
    methods = [run.method for run in made.runs("main", "tiny_sd")]
    assert methods == ["base", "hypernoise", "hypernoise:seed=2", "hypernoise:seed=5"]
    spec = made.method("hypernoise:seed=5", *SD)
    assert (spec.name, spec.training_seed) == ("hypernoise:seed=5", 5)


def test_a_method_that_names_one_of_the_training_seeds_is_refused(registry: Registry) -> None:
    for seeds in ([0, 2], [2]):
        with pytest.raises(SpecError) as fault:
            check(seeded(registry, seeds, methods=["base", "hypernoise:seed=2"]))
        for word in (FILE, "'hypernoise:seed=2'", "network of 'hypernoise'", str(seeds)):
            assert word in str(fault.value)


def test_the_smallest_seeds_network_is_timed(registry: Registry) -> None:
    made = seeded(registry, (3, 2))
    assert made.config.training_seeds == (2, 3)
    job = Planned(made).profile("main", "tiny_sd")
    assert [timed.method.name for timed in job.methods] == [
        *("base", "hypernoise", "lora_finetune", "lora_finetune_final", "reno")
    ]
    assert [timed.method.training_seed for timed in job.methods] == [None, 2, 2, 2, None]
    assert job.methods[1].adapter == "results/training/tiny_sd/matcher/hypernoise+seed=2"
    needed = Planned(made).timed("main", "tiny_sd")
    assert not [file for file in needed if "seed=3" in file]


def test_tables_read_the_frames_of_all_seeds_and_name_methods_once(registry: Registry) -> None:
    table = Table(seeded(registry), registry.tables["table1"])
    assert table.methods() == ["base", "hypernoise", "lora_finetune", "lora_finetune_final", "reno"]
    images = table.inputs()["images"]
    assert len(images) == 5 + 3
    assert sum("+seed=2" in file for file in images) == 3
