"""What a config asks for: names, layers, shared trainings, and the jobs that follow."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from experiments import FILE, STEPS, SWAPPED, WARM, experiment, load, make_registry
from shared_data import SHARED, needs

from harness.base.errors import SpecError
from harness.experiment.checks import check, check_tables
from harness.experiment.components import PromptsSpec, Registry
from harness.experiment.config import read
from harness.experiment.plan import NO_REWARD, Experiment, Run
from harness.experiment.planned import Planned
from harness.experiment.validation import from_json, to_json

HYPERPARAMETERS = "paper/hyperparameters.csv"


@pytest.fixture
def registry() -> Registry:
    return make_registry()


def called(target: str, **arguments: Any) -> dict[str, Any]:
    return {"target": target, "arguments": arguments}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["tiny_sdd"]}, ["model 'tiny_sdd'", "'tiny_sd'", "tiny_sana"]),
        ({"methods": ["renno"]}, ["method 'renno'", "'reno'"]),
        ({"methods": ["renno:iterations=5"]}, ["method 'renno'", "'reno'"]),
        ({"methods": ["reno:iteration=5"]}, ["'reno:iteration=5'", "'iteration'", "'iterations'"]),
        ({"methods": ["reno:rank=5"]}, ["argument of method 'reno:rank=5': 'rank'"]),
        ({"methods": ["hypernoise:ranck=5"]}, ["'ranck'", "'rank'"]),
        ({"reward": "machter"}, ["reward 'machter'", "'matcher'"]),
        ({"judges": {"judge_reward": "judge"}}, ["reward 'judge'"]),
        ({"judges": {"train_reward": "redness"}}, ["'judges' names 'train_reward'"]),
        ({"benchmark": "shapewrld"}, ["benchmark 'shapewrld'", "'shapeworld'"]),
        ({"tables": ["tabel1"]}, ["table 'tabel1'", "'table1'"]),
        ({"steps": {"tiny_flx": 2}}, ["'tiny_flx'"]),
        (
            {"similarities": {"a_distance": called("harness.similarity.matcher:Matcher")}},
            ["'Matcher'", "'MatcherDistance'"],
        ),
        (
            {"image_sets": {"more": {"methods": ["renno"]}}},
            ["unknown method of image set more: 'renno'; did you mean 'reno'"],
        ),
        (
            {"image_sets": {"more": {"models": ["tiny_flx"]}}},
            ["unknown model of image set more: 'tiny_flx'"],
        ),
        (
            {"image_sets": {"more": {"reward": "rednes"}}},
            ["unknown reward of image set more: 'rednes'"],
        ),
        (
            {"image_sets": {"more": {"benchmark": "shapes"}}},
            ["unknown benchmark of image set more: 'shapes'"],
        ),
        (
            {"image_sets": {"more": {"swapped": {**SWAPPED, "methods": ["hypernose"]}}}},
            ["unknown method of image set more: 'hypernose'", "'hypernoise'"],
        ),
        (
            {"image_sets": {"more": {"swapped": {**SWAPPED, "reward": "rednes"}}}},
            ["unknown reward of image set more: 'rednes'", "'redness'"],
        ),
        ({"image_sets": {"main": {}}}, ["'main'", "another name"]),
        ({"training": {"default": STEPS, "hypernose": {}}}, ["'hypernose'", "'hypernoise'"]),
        (
            {"training": {"default": STEPS, "hypernoise:ranck=2": {}}},
            ["'hypernoise:ranck=2'", "'rank'"],
        ),
        ({"arguments": {"reno": {"learning_rat": 1}}}, ["'learning_rat'", "'learning_rate'"]),
        ({"arguments": {"tiny_sd": {"n": 1}}}, ["'tiny_sd'", "one method"]),
        (
            {"prompts": {"default": {"train": called("harness.benchmarks.prompts:sub")}}},
            ["'sub'", "'subset'"],
        ),
    ],
)
def test_an_unknown_name_in_the_config_is_named_with_the_nearest(
    registry: Registry, changes: dict[str, Any], words: list[str]
) -> None:
    made = experiment(registry, **changes)
    with pytest.raises(SpecError) as fault:
        check(made)
        check_tables(made)
    for word in [FILE, *words]:
        assert word in str(fault.value)


def test_a_sound_config_passes(registry: Registry) -> None:
    made = experiment(registry)
    check(made)
    check_tables(made)


def test_checkpoints_without_validation_cannot_be_matched(registry: Registry) -> None:
    training = {"default": {**STEPS, "validate_every": 3}}
    with pytest.raises(SpecError, match="every 2 steps, but is validated every 3"):
        check(experiment(registry, training=training))


def test_the_layer_that_names_more_is_stronger(registry: Registry) -> None:
    options = {**STEPS, "rank": 1}
    training = {
        "tiny_sd hypernoise": {"rank": 5},
        "default": options,
        "hypernoise": {"rank": 2, "alpha": 7},
        "tiny_sd": {"rank": 3},
        "redness hypernoise": {"rank": 9},
        "hypernoise:temperature=1": {"alpha": 8},
    }
    made = experiment(registry, training=training)
    assert made.options("tiny_sd", "matcher", "hypernoise") == {**options, "rank": 5, "alpha": 7}
    assert made.options("tiny_sana", "matcher", "hypernoise")["rank"] == 2
    assert made.options("tiny_sana", "matcher", "lora_finetune") == options
    assert made.options("tiny_sana", "redness", "hypernoise")["rank"] == 9
    variant = "hypernoise:merged=true,rank=4,temperature=1"
    assert made.given_options("tiny_sd", "matcher", variant) == {
        **{name: (value, "default") for name, value in STEPS.items()},
        "rank": (4, "the method's own arguments"),
        "alpha": (8, "hypernoise:temperature=1"),
        "temperature": (1, "the method's own arguments"),
    }


def test_a_network_is_not_given_options_of_other_kinds(registry: Registry) -> None:
    training = {"default": {**STEPS, "frequencies": 3, "image_grad_clip": 5.0}}
    assert experiment(registry, training=training).options(
        "tiny_sd", "matcher", "lora_finetune"
    ) == (STEPS)


def test_both_fine_tunings_share_one_training(registry: Registry) -> None:
    made = experiment(registry)
    assert made.training("tiny_sd", "matcher", "lora_finetune_final") == "lora_finetune"
    assert len(made.trainings()) == 2 * len(made.config.models)


def test_a_method_with_options_of_its_own_is_trained_by_itself(registry: Registry) -> None:
    training = {"default": STEPS, "lora_finetune_final": {"rank": 3}}
    made = experiment(registry, training=training)
    assert made.training("tiny_sd", "matcher", "lora_finetune_final") == "lora_finetune_final"


def test_variants_share_the_training_of_what_trains_alike(registry: Registry) -> None:
    training = {"default": STEPS, "tiny_sana": {"rank": 8}}
    made = experiment(registry, training=training)
    assert made.training("tiny_sana", "matcher", "hypernoise:merged=true,rank=8") == "hypernoise"
    for name in ("lora_finetune", "lora_finetune_final"):
        variant = f"{name}:checkpoint=2,rank=4"
        assert made.training("tiny_sd", "matcher", variant) == "lora_finetune:rank=4"
    assert made.training("tiny_sd", "matcher", "lora_finetune:checkpoint=4") == "lora_finetune"


def test_a_variants_arguments_go_before_those_of_the_config(registry: Registry) -> None:
    arguments = {
        "reno": {"learning_rate": 0.5, "iterations": 3},
        "reno:grad_clip=1": {"momentum": 0.0},
    }
    made = experiment(registry, arguments=arguments)
    found = made.method("reno:learning_rate=2.0")
    assert found.name == "reno:learning_rate=2"
    assert found.arguments == {"learning_rate": 2, "iterations": 3}
    assert made.method("reno:grad_clip=1.0").arguments["momentum"] == 0.0


def test_a_variant_can_use_the_checkpoint_of_a_step(registry: Registry) -> None:
    made = experiment(registry)
    spec = made.method("lora_finetune:checkpoint=2")
    assert (spec.state, spec.checkpoint) == ("final", 2)
    run = Run("shapeworld", "tiny_sd", "lora_finetune:checkpoint=2", "matcher", 1)
    planned = Planned(made)
    assert planned.adapter_of(run) == "results/training/tiny_sd/matcher/lora_finetune"
    with pytest.raises(SpecError, match=r"uses step 3 .* every 2 steps, up to step 4"):
        planned.adapter_of(run._replace(method="lora_finetune:checkpoint=3"))


def test_a_warm_search_has_the_settings_of_the_cold_one(registry: Registry) -> None:
    registry.add_method("hypernoise_reno", search="reno", **WARM)
    arguments = {"tiny_sd reno": {"iterations": 3}, "hypernoise_reno": {"merged": True}}
    timing = {"batch_sizes": [2], "peak_memory": True}
    compare = {"methods": ["base", "hypernoise_reno", "reno"], "timing": timing}
    made = experiment(registry, arguments=arguments, image_sets={"compare": compare})
    check(made)
    warm = made.method("hypernoise_reno", "tiny_sd")
    assert warm.arguments == {"merged": True}
    assert warm.searcher == made.method("reno", "tiny_sd")
    assert warm.searcher.arguments["iterations"] == 3
    assert made.training("tiny_sd", "matcher", "hypernoise_reno") == "hypernoise"
    run = next(r for r in made.runs("compare", "tiny_sd") if r.method == "hypernoise_reno")
    job = Planned(made).generate(**run._asdict())
    assert from_json(to_json(job), type(job)) == job


def test_a_warm_searchs_variant_may_name_the_searchs_arguments(registry: Registry) -> None:
    registry.add_method("hypernoise_reno", search="reno", **WARM)
    made = experiment(registry, arguments={"reno": {"iterations": 3, "learning_rate": 0.5}})
    warm = made.method("hypernoise_reno:iterations=7,merged=true", "tiny_sd")
    assert warm.arguments == {"merged": True}
    assert warm.searcher == made.method("reno:iterations=7", "tiny_sd")
    assert warm.searcher.arguments == {"iterations": 7, "learning_rate": 0.5}
    # The search has no part in the training.
    text = "hypernoise_reno:iterations=7"
    assert made.training("tiny_sd", "matcher", text) == "hypernoise"
    with pytest.raises(SpecError, match=r"unknown argument of method .*'iteration'.*'iterations'"):
        made.parts("hypernoise_reno:iteration=7")
    with pytest.raises(SpecError, match="iterations"):
        made.parts("hypernoise_reno:iterations=few")


def test_a_method_between_sampling_steps_is_refused_with_one(registry: Registry) -> None:
    search = "hypernoise.methods.step_search:RolloverBudget"
    registry.add_method("rollover", target=search, needs_reward=True, version=1)
    said = r"on tiny_sd, method of image set more: 'rollover' .* at least 2, and would get 1"
    for changes in ({}, {"steps": [4, 1]}):
        more: dict[str, Any] = {"methods": ["base", "rollover:n=3"], **changes}
        with pytest.raises(SpecError, match=rf"^{FILE}: {said}"):
            check(experiment(registry, image_sets={"more": more}))
    check(experiment(registry, image_sets={"more": {**more, "steps": [4]}}))
    several = {"tiny_sd": 2, "tiny_sana": 4}
    check(experiment(registry, image_sets={"more": {"methods": ["rollover"]}}, steps=several))
    # As the search that goes on from a network's noise.
    registry.add_method("hybrid", search="rollover", **WARM)
    with pytest.raises(SpecError, match="'rollover' works between sampling steps"):
        check(experiment(registry, image_sets={"more": {"methods": ["hybrid"]}}))


def test_a_set_is_timed_with_its_own_steps(registry: Registry) -> None:
    sets = {"more": {"steps": [4]}, "sweep": {"steps": [1, 2]}}
    planned = Planned(experiment(registry, image_sets=sets, steps={"tiny_sd": 3}))
    steps = [planned.profile(name, "tiny_sd").sampling_steps for name in ("main", *sets)]
    assert steps == [(3,), (4,), (3,)]


def test_methods_of_a_set_are_timed_as_the_set_says(registry: Registry) -> None:
    compare = {"methods": ["base"], "timing": {"batch_sizes": [2], "peak_memory": True}}
    untrained = {"methods": ["hypernoise:merged=true"], "timing": {"untrained_rank": 16}}
    sets = {"compare": compare, "latency": untrained}
    planned = Planned(experiment(registry, image_sets=sets))
    compared = planned.profile("compare", "tiny_sd")
    assert (compared.batch_sizes, compared.peak_memory) == ((2,), True)
    main = planned.profile("main", "tiny_sd")
    assert (main.batch_sizes, main.peak_memory) == ((8,), False)
    assert main.methods[1].adapter == "results/training/tiny_sd/matcher/hypernoise"
    latency = planned.profile("latency", "tiny_sd")
    assert (latency.rank, latency.methods[0].adapter) == (16, None)
    assert latency.methods[0].method.arguments == {"merged": True}
    assert planned.timed("latency", "tiny_sd") == ["a/b/tiny_sd/model_index.json"]


@pytest.mark.parametrize(
    ("search", "changes", "words"),
    [
        ("rebo", {}, ["unknown search of method hypernoise_reno: 'rebo'", "'reno'"]),
        ("hypernoise", {}, ["must be a plain search", "warm.smk"]),
        ("reno", {"needs_reward": False}, ["needs_reward is the same, here False"]),
    ],
)
def test_a_warm_start_of_what_is_no_search_is_refused(
    registry: Registry, search: str, changes: dict[str, Any], words: list[str]
) -> None:
    registry.add_method("hypernoise_reno", search=search, **{**WARM, **changes})
    with pytest.raises(SpecError) as fault:
        check(experiment(registry))
    for word in words:
        assert word in str(fault.value)


def test_arguments_of_the_config_go_before_the_declared_ones(registry: Registry) -> None:
    arguments = {"reno": {"learning_rate": 0.5}, "tiny_sd reno": {"iterations": 3}}
    made = experiment(registry, arguments=arguments)
    assert made.method("reno", "tiny_sd").arguments == {"learning_rate": 0.5, "iterations": 3}
    assert made.method("reno", "tiny_sana").arguments == {"learning_rate": 0.5}


def test_base_images_do_not_depend_on_the_reward(registry: Registry) -> None:
    made = experiment(registry)
    run = next(run for run in made.runs("main", "tiny_sd") if run.method == "base")
    assert run == Run("shapeworld", "tiny_sd", "base", NO_REWARD, 1)
    assert Planned(made).generate(**run._asdict()).reward is None


def test_a_new_version_changes_the_jobs_that_use_it_and_no_other(registry: Registry) -> None:
    made = experiment(registry)

    def jobs() -> dict[Run, str]:
        runs = made.runs("main", "tiny_sd")
        return {run: to_json(Planned(made).generate(**run._asdict())) for run in runs}

    before = jobs()
    del registry.methods["reno"]
    registry.add_method("reno", target="hypernoise.methods.reno:Reno", needs_reward=True, version=2)
    after = jobs()
    assert [run.method for run in before if before[run] != after[run]] == ["reno"]


def test_a_set_leaves_to_the_config_what_it_does_not_say(registry: Registry) -> None:
    own = {
        "benchmark": "shapeworld_validation",
        "models": ["tiny_sana"],
        "methods": ["base", "hypernoise"],
        "steps": [1, 4],
        "reward": "redness",
    }
    made = experiment(registry, image_sets={"more": own, "same": {}})
    check(made)
    assert list(made.image_sets) == ["main", "more", "same", "tuning"]
    assert made.image_set("same") == made.image_set("main")
    assert made.image_set("more").models == ("tiny_sana",)
    runs = made.runs("more", "tiny_sana")
    assert [(run.method, run.reward, run.steps) for run in runs] == [
        ("base", NO_REWARD, 1),
        ("base", NO_REWARD, 4),
        ("hypernoise", "redness", 1),
        ("hypernoise", "redness", 4),
    ]
    assert made.metrics("more")["train_reward"] == "redness"
    assert made.metrics("main")["train_reward"] == "matcher"
    assert made.shown(["more", "main"], "tiny_sana")["hypernoise"] == [1, 4]


def test_controls_hold_methods_once_more_with_another_reward(registry: Registry) -> None:
    controls = {"methods": ["base", "hypernoise"], "swapped": SWAPPED}
    made = experiment(registry, image_sets={"controls": controls})
    runs = made.runs("controls", "tiny_sd")
    assert [(run.method, run.reward) for run in runs] == [
        ("base", NO_REWARD),
        ("hypernoise", "matcher"),
        ("hypernoise", "redness"),
    ]
    # What the main table shows already is not made twice.
    assert set(runs[:2]) <= set(made.runs("main", "tiny_sd"))
    job = Planned(made).score("controls", "tiny_sd")
    named = {metric: reward.name for metric, reward in job.rewards.items()}
    assert named["train_reward"] == "matcher"
    assert named["redness"] == "redness"
    assert (job.swap, job.seed) == ("within_task", made.config.seed)
    assert Planned(made).score("main", "tiny_sd").swap == ""


def test_judges_are_what_the_config_calls_them(registry: Registry) -> None:
    judges = {"their_judge": "matcher_judge", "second_judge": "redness"}
    made = experiment(registry, judges=judges)
    check(made)
    assert list(made.metrics()) == ["their_judge", "second_judge", "train_reward"]
    assert set(made.judges("matcher")) == {"their_judge", "second_judge"}


def test_a_table_needs_the_image_sets_that_it_is_made_of(registry: Registry) -> None:
    target = "harness.analysis.paper_tables:geneval"
    registry.add_table("table8", target=target, sets=("more", "most"), version=1)
    made = experiment(registry, tables=["table8"], image_sets={"more": {}})
    with pytest.raises(SpecError, match="unknown image set that table8 needs: 'most'"):
        check_tables(made)


def test_an_audit_looks_into_a_methods_training(registry: Registry) -> None:
    audit = {
        "prompts": called("harness.benchmarks.prompts:subset", of="a:b", n=2),
        "n_images": 2,
        "checkpoints": 1,
        "precision": "float64",
        "options": {"probes": 4},
    }
    made = experiment(registry, audit=audit)
    job = Planned(made).audit_network("tiny_sd", "matcher", "hypernoise")
    assert job.training == "results/training/tiny_sd/matcher/hypernoise"
    assert (job.precision, job.options) == ("float64", {"probes": 4})


def test_missing_local_weights_are_still_asked_for(
    registry: Registry, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = Planned(experiment(registry))
    monkeypatch.chdir(tmp_path)
    assert planned.weights("tiny_sd") == ["a/b/tiny_sd/model_index.json"]
    folder = tmp_path / "a" / "b" / "tiny_sd" / "vae"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    files = ["a/b/tiny_sd/model_index.json", "a/b/tiny_sd/vae/model.safetensors"]
    assert planned.weights("tiny_sd", "redness") == files


def test_hub_weights_are_no_local_files(registry: Registry) -> None:
    target = "hypernoise.models.unet:SdTurbo"
    registry.add_model(
        "sd",
        target=target,
        weights="stabilityai/sd-turbo",
        revision=40 * "a",
        architecture="sd_turbo",
        size_px=512,
        version=1,
    )
    assert Planned(experiment(registry)).weights("sd", "sd_random") == []


#: Names of the published table -> ours.
PAPER_NAMES = {
    "sana_sprint_0.6b": "sana_sprint_0_6b",
    "redness": "redness",
    "preference": "human_preference",
}


@needs(HYPERPARAMETERS)
def test_the_papers_config_has_the_published_hyperparameters(registry: Registry) -> None:
    paper = Experiment(read(load("paper.yaml"), "paper.yaml"), registry, "paper.yaml")
    text = (SHARED / HYPERPARAMETERS).read_text(encoding="utf-8")
    published = list(csv.DictReader(text.splitlines()))
    assert len(published) == 6
    for row in published:
        model = PAPER_NAMES.get(row["model"], row["model"])
        options = paper.options(model, PAPER_NAMES[row["experiment"]], row["method"])
        found = {
            "learning_rate": options["learning_rate"],
            "grad_clip": options["grad_clip"],
            "lora_rank": options["rank"],
            "lora_alpha": options["alpha"],
            "batch_size": options["batch_size"],
            "accumulation": options["accumulation"],
        }
        assert found == {name: float(row[name]) for name in found}, row
        assert options["optimizer"] == row["optimizer"]
        drawn = options["steps"] * options["batch_size"] * options["accumulation"]
        n_prompts = int(row["n_prompts"])
        assert drawn / n_prompts == pytest.approx(int(row["epochs"]), abs=1e-2), row


def test_a_sum_reads_the_local_files_of_its_parts(registry: Registry) -> None:
    hub = f"hf://owner/name@{'0' * 40}/weights.pt#sha256={'1' * 64}"
    target = "hypernoise.rewards.aesthetic:Aesthetic"
    registry.add_reward("near", target=target, weights="clip.pt#sha256=1", head="a.pth", version=1)
    registry.add_reward("far", target=target, weights=hub, head="https://host/a.pth", version=1)
    ensemble = "hypernoise.rewards.ensemble:Ensemble"
    registry.add_reward("sum", target=ensemble, parts={"near": 1.0, "far": 1.0}, version=1)
    assert Planned(experiment(registry)).weights("sum") == ["clip.pt", "a.pth"]


def test_a_sum_with_a_missing_part_stops_the_check(registry: Registry) -> None:
    ensemble = "hypernoise.rewards.ensemble:Ensemble"
    registry.add_reward("sum", target=ensemble, parts={"rednes": 1.0}, version=1, file="sum.smk")
    with pytest.raises(SpecError, match=r"sum\.smk: .*'rednes'.*'redness'"):
        check(experiment(registry))


def test_images_are_compared_as_the_config_says(registry: Registry) -> None:
    distance = called("harness.similarity.matcher:MatcherDistance")
    made = experiment(registry, similarities={"matcher_distance": distance})
    job = Planned(made).pairs("main", "tiny_sd")
    assert set(job.comparisons) == {"matcher_distance"}
    assert from_json(to_json(job), type(job)) == job


def test_prompts_of_validations_are_compared_with_benchmarks_too(registry: Registry) -> None:
    trainings = [
        (model, "matcher", method)
        for model in ("tiny_sd", "tiny_sana")
        for method in ("hypernoise", "lora_finetune")
    ]
    made = experiment(registry)
    job = Planned(made).overlap(trainings)
    prompts = PromptsSpec(**load("tiny.yaml")["prompts"]["default"]["validation"])
    assert job.validations == {
        "validation of tiny_sana matcher hypernoise": prompts,
        "validation that chooses the checkpoint of tiny_sana matcher lora_finetune": prompts,
    }
    kept = {"default": {**STEPS, "keep": "best"}}
    made = experiment(registry, training=kept)
    job = Planned(made).overlap(trainings[:1])
    assert list(job.validations) == [
        "validation that chooses the checkpoint of tiny_sd matcher hypernoise"
    ]


def test_a_training_is_compared_with_the_benchmarks_that_its_network_is_measured_on(
    registry: Registry,
) -> None:
    red = {"benchmark": "shapeworld_validation", "models": ["tiny_sd"], "reward": "redness"}
    sets = {"red": {**red, "methods": ["lora_finetune_final"]}}
    prompts = {**load("tiny.yaml")["prompts"], "redness": {"train": called("a:B", n=1)}}
    made = experiment(registry, image_sets=sets, prompts=prompts)
    known = ("tiny_sd", "matcher", "hypernoise"), ("tiny_sd", "redness", "lora_finetune")
    unused = ("tiny_sana", "redness", "hypernoise")
    job = Planned(made).overlap([*known, unused])
    assert {name: job.measured[name] for name in job.trainings} == {
        "training tiny_sana redness hypernoise": ("shapeworld", "shapeworld_validation"),
        "training tiny_sd matcher hypernoise": ("shapeworld",),
    }
    # What no set has, but is asked for, counts too.
    run = Run("shapeworld_validation", "tiny_sd", "hypernoise", "matcher", 1)
    (found,) = (Planned(made).overlap(known[:1], [run]).measured[f"training {' '.join(known[0])}"],)
    assert found == ("shapeworld", "shapeworld_validation")
