"""The config, checked against the declared components, and the jobs that follow from it."""

from __future__ import annotations

import copy
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from paths import REPOSITORY

from harness.experiment.components import PromptsSpec, Registry, SpecError
from harness.experiment.config import check_schema, extended
from harness.experiment.plan import NO_REWARD, Experiment, Run
from harness.experiment.validation import from_json, to_json
from hypernoise.training.kinds import KINDS

CONFIG_FOLDER = REPOSITORY / "workflows" / "config"
PUBLISHED = REPOSITORY.parent / "shared" / "paper" / "hyperparameters.csv"
FILE = "some.yaml"
NOWHERE = {"out": "out", "work": "work"}
AUDIT = {
    "methods": ["hypernoise"],
    "prompts": {"target": "harness.benchmarks.prompts:subset", "arguments": {"of": "a:b", "n": 2}},
    "n_images": 2,
    "checkpoints": 1,
    "precision": "float64",
    "options": {"probes": 4},
}
CONTROLLED = {
    "methods": ["base", "hypernoise"],
    "swapped_methods": ["hypernoise"],
    "swapped_reward": "redness",
    "prompt_swap": "within_task",
}


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONFIG_FOLDER / name).read_text(encoding="utf-8"))
    return content


def pairs_of(
    methods: Sequence[str] = ("base",),
    target: str = "harness.similarity.matcher:MatcherDistance",
) -> dict[str, Any]:
    comparisons = {"matcher_distance": {"target": target, "arguments": {}}}
    return {"benchmark": "shapeworld", "methods": list(methods), "comparisons": comparisons}


@pytest.fixture
def config() -> dict[str, Any]:
    return load("tiny.yaml")


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    for model, target in (("tiny_sd", "unet:SdTurbo"), ("tiny_sana", "sana:SanaSprint")):
        target = f"hypernoise.models.{target}"
        made.add_model(model, target=target, weights=f"a/b/{model}", size_px=32, version=1)
    for reward in ("matcher", "matcher_judge", "redness"):
        made.add_reward(reward, target="hypernoise.rewards.redness:Redness", version=1)
    finetune = "hypernoise.methods.lora_finetune:LoraFinetune"
    made.add_method("base", target="hypernoise.methods.base:Base", version=1)
    made.add_method("reno", target="hypernoise.methods.reno:Reno", needs_reward=True, version=1)
    made.add_method(
        "hypernoise",
        target="hypernoise.methods.hypernoise:HyperNoise",
        trains="hypernoise",
        version=1,
    )
    for name, state in (("lora_finetune", "matched"), ("lora_finetune_final", "final")):
        made.add_method(name, target=finetune, trains="lora_finetune", state=state, version=1)
    for benchmark, split in (("shapeworld", "evaluation"), ("shapeworld_validation", "validation")):
        target = "hypernoise.shapeworld.captions:captions"
        made.add_benchmark(benchmark, target=target, split=split, version=1)
    made.add_table("table1", target="harness.analysis.tables:table1", version=1)
    return made


def experiment(config: dict[str, Any], registry: Registry, **changes: Any) -> Experiment:
    small = {
        "models": ["tiny_sd", "tiny_sana"],
        "methods": ["base", "hypernoise", "lora_finetune", "lora_finetune_final", "reno"],
        "tables": ["table1"],
        "sweeps": {},
        "selections": {},
        "compare": {"benchmark": "shapeworld", "methods": ["base", "reno"], "batch_size": 2},
        "latency": {**config["latency"], "methods": ["base", "reno:iterations=5"]},
        "diversity": pairs_of(),
        "controls": CONTROLLED,
        "training": {"default": {"steps": 4, "checkpoint_every": 2, "validate_every": 2}},
        "arguments": {},
        "pretrain": {**config["pretrain"], "generators": ["tiny_sd"]},
    }
    return Experiment({**config, **small, **changes}, registry, FILE)


def test_the_shipped_config_fits_the_schema(config: dict[str, Any]) -> None:
    check_schema(config, load("schema.yaml"), FILE)


def test_the_schema_knows_every_training_option_and_no_other() -> None:
    known = load("schema.yaml")["$defs"]["training_options"]["properties"]
    assert set(known) == {name for kind in KINDS.values() for name in kind.options.model_fields}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["modles"], ["tiny_sd"], ["unknown config key 'modles'", "'models'"]),
        (["training", "default", "step"], 3, ["'step'", "'training.default'", "'steps'"]),
        (["training", "default", "steps"], 0, ["training.default.steps", "0", "minimum of 1"]),
        (["training", "reno", "rank"], 0, ["training.reno.rank", "minimum of 1"]),
        (["steps", "tiny_sd"], 0, ["steps.tiny_sd", "minimum of 1"]),
        (["models"], [], ["models", "non-empty"]),
        (["timing", "batchsize"], 3, ["'batchsize'", "'batch_size'"]),
        (["training", "default", "precision"], "fp16", ["training.default.precision", "bf16"]),
    ],
)
def test_a_fault_in_the_config_is_named_with_its_file(
    config: dict[str, Any], path: list[str], value: Any, words: list[str]
) -> None:
    inner = broken = copy.deepcopy(config)
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    inner[path[-1]] = value
    with pytest.raises(SpecError) as fault:
        check_schema(broken, load("schema.yaml"), FILE)
    for word in [FILE, *words]:
        assert word in str(fault.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["tiny_sdd"]}, ["model 'tiny_sdd'", "'tiny_sd'", "tiny_sana"]),
        ({"methods": ["renno"]}, ["method 'renno'", "'reno'"]),
        ({"reward": "machter"}, ["reward 'machter'", "'matcher'"]),
        ({"judges": {"judge_reward": "judge"}}, ["reward 'judge'"]),
        ({"diversity": pairs_of(methods=["bse"])}, ["method in diversity 'bse'", "'base'"]),
        ({"diversity": pairs_of(target="harness.similarity.matcher:Matcher")}, ["'Matcher"]),
        ({"benchmark": "shapewrld"}, ["benchmark 'shapewrld'", "'shapeworld'"]),
        ({"tables": ["tabel1"]}, ["table 'tabel1'", "'table1'"]),
        ({"steps": {"tiny_flx": 2}}, ["'tiny_flx'"]),
        (
            {"latency": {"methods": ["base", "renno:iterations=5"]}},
            ["unknown method 'renno'", "'reno'"],
        ),
        (
            {"compare": {"benchmark": "shapeworld", "methods": ["renno"], "batch_size": 2}},
            ["method in compare 'renno'", "'reno'"],
        ),
        ({"audit": {**AUDIT, "methods": ["hypernose"]}}, ["in audit 'hypernose'", "'hypernoise'"]),
        ({"audit": {**AUDIT, "methods": ["lora_finetune"]}}, ["'lora_finetune' in audit"]),
        (
            {"controls": {**CONTROLLED, "swapped_methods": ["hypernose"]}},
            ["method in controls 'hypernose'", "'hypernoise'"],
        ),
        (
            {"controls": {**CONTROLLED, "swapped_reward": "rednes"}},
            ["reward in controls 'rednes'", "'redness'"],
        ),
        ({"training": {"default": {}, "hypernose": {}}}, ["'hypernose'", "'hypernoise'"]),
        ({"arguments": {"reno": {"learning_rat": 1}}}, ["'learning_rat'", "'learning_rate'"]),
        ({"arguments": {"tiny_sd": {"n": 1}}}, ["'tiny_sd'", "one method"]),
        (
            {
                "prompts": {
                    "default": {
                        "train": {"target": "harness.benchmarks.prompts:sub", "arguments": {}}
                    }
                }
            },
            ["'sub'", "'subset'"],
        ),
    ],
)
def test_an_unknown_name_in_the_config_is_named_with_the_nearest(
    config: dict[str, Any], registry: Registry, changes: dict[str, Any], words: list[str]
) -> None:
    options = {"default": {"steps": 4, "checkpoint_every": 2, "validate_every": 2}}
    if "training" in changes:
        changes = {"training": {**changes["training"], **options}}
    made = experiment(config, registry, **changes)
    with pytest.raises(SpecError) as fault:
        made.check()
        made.check_tables()
    for word in [FILE, *words]:
        assert word in str(fault.value)


def test_a_sound_config_passes(config: dict[str, Any], registry: Registry) -> None:
    made = experiment(config, registry)
    made.check()
    made.check_tables()


def test_checkpoints_without_validation_cannot_be_matched(
    config: dict[str, Any], registry: Registry
) -> None:
    training = {"default": {"steps": 4, "checkpoint_every": 2, "validate_every": 3}}
    with pytest.raises(SpecError, match="every 2 steps, but is validated every 3"):
        experiment(config, registry, training=training).check()


def test_the_layer_that_names_more_is_stronger(config: dict[str, Any], registry: Registry) -> None:
    options = {"steps": 4, "checkpoint_every": 2, "validate_every": 2, "rank": 1}
    training = {
        "tiny_sd hypernoise": {"rank": 5},
        "default": options,
        "hypernoise": {"rank": 2, "alpha": 7},
        "tiny_sd": {"rank": 3},
        "redness hypernoise": {"rank": 9},
    }
    made = experiment(config, registry, training=training)
    assert made.options("tiny_sd", "matcher", "hypernoise") == {**options, "rank": 5, "alpha": 7}
    assert made.options("tiny_sana", "matcher", "hypernoise")["rank"] == 2
    assert made.options("tiny_sana", "matcher", "lora_finetune") == options
    assert made.options("tiny_sana", "redness", "hypernoise")["rank"] == 9


def test_both_fine_tunings_share_one_training(config: dict[str, Any], registry: Registry) -> None:
    made = experiment(config, registry)
    assert made.training("tiny_sd", "matcher", "lora_finetune_final") == "lora_finetune"
    assert len(made.trainings()) == 2 * len(made.config["models"])


def test_a_method_with_options_of_its_own_is_trained_by_itself(
    config: dict[str, Any], registry: Registry
) -> None:
    layers = experiment(config, registry).config["training"]
    layers = {**layers, "lora_finetune_final": {"rank": 3}}
    made = experiment(config, registry, training=layers)
    assert made.training("tiny_sd", "matcher", "lora_finetune_final") == "lora_finetune_final"


WARM = {
    "target": "hypernoise.methods.warm_start:WarmStart",
    "trains": "hypernoise",
    "needs_reward": True,
    "version": 1,
    "file": "warm.smk",
}


def test_a_warm_search_has_the_settings_of_the_cold_one(
    config: dict[str, Any], registry: Registry
) -> None:
    registry.add_method("hypernoise_reno", search="reno", **WARM)
    arguments = {"tiny_sd reno": {"iterations": 3}, "hypernoise_reno": {"merged": True}}
    methods = ["base", "hypernoise_reno", "reno"]
    compare = {"benchmark": "shapeworld", "methods": methods, "batch_size": 2}
    made = experiment(config, registry, arguments=arguments, compare=compare)
    made.check()
    warm = made.method("hypernoise_reno", "tiny_sd")
    assert warm.arguments == {"merged": True}
    assert warm.searcher == made.method("reno", "tiny_sd")
    assert warm.searcher.arguments["iterations"] == 3
    assert made.warm_starts() == {"hypernoise_reno": "reno"}
    assert made.settings("methods") == {
        "base": "",
        "hypernoise_reno": "then reno",
        "reno": "tiny_sd iterations 3; tiny_sana",
    }
    assert made.training("tiny_sd", "matcher", "hypernoise_reno") == "hypernoise"
    run = next(r for r in made.runs("methods", "tiny_sd") if r.method == "hypernoise_reno")
    job = made.generate_job(run, "adapter", **NOWHERE)
    assert from_json(to_json(job), type(job)) == job
    assert made.timed_batch_size("methods") == 2
    assert made.timed_batch_size("shapeworld") == config["timing"]["batch_size"]
    timed = {name: made.profile_job(name, "tiny_sd", {}, out="out") for name in made.selections()}
    assert timed["methods"].batch_sizes == (2,)
    assert timed["shapeworld"].batch_sizes == (1, config["timing"]["batch_size"])
    assert timed["methods"].peak_memory and not timed["shapeworld"].peak_memory


@pytest.mark.parametrize(
    ("search", "changes", "words"),
    [
        ("rebo", {}, ["unknown search of method hypernoise_reno: 'rebo'", "'reno'"]),
        ("hypernoise", {}, ["must be a plain search", "warm.smk"]),
        ("reno", {"needs_reward": False}, ["needs_reward is the same, here False"]),
    ],
)
def test_a_warm_start_of_what_is_no_search_is_refused(
    config: dict[str, Any],
    registry: Registry,
    search: str,
    changes: dict[str, Any],
    words: list[str],
) -> None:
    registry.add_method("hypernoise_reno", search=search, **{**WARM, **changes})
    with pytest.raises(SpecError) as fault:
        experiment(config, registry).check()
    for word in words:
        assert word in str(fault.value)


def test_arguments_of_the_config_go_before_the_declared_ones(
    config: dict[str, Any], registry: Registry
) -> None:
    arguments = {"reno": {"learning_rate": 0.5}, "tiny_sd reno": {"iterations": 3}}
    made = experiment(config, registry, arguments=arguments)
    assert made.method("reno", "tiny_sd").arguments == {"learning_rate": 0.5, "iterations": 3}
    assert made.method("reno", "tiny_sana").arguments == {"learning_rate": 0.5}


def test_base_images_do_not_depend_on_the_reward(
    config: dict[str, Any], registry: Registry
) -> None:
    made = experiment(config, registry)
    run = next(run for run in made.runs("shapeworld", "tiny_sd") if run.method == "base")
    assert run == Run("shapeworld", "tiny_sd", "base", NO_REWARD, 1)
    assert made.generate_job(run, None, **NOWHERE).reward is None


def test_a_new_version_changes_the_jobs_that_use_it_and_no_other(
    config: dict[str, Any], registry: Registry
) -> None:
    made = experiment(config, registry)

    def jobs() -> dict[Run, str]:
        runs = made.runs("shapeworld", "tiny_sd")
        return {run: to_json(made.generate_job(run, None, **NOWHERE)) for run in runs}

    before = jobs()
    del registry.methods["reno"]
    registry.add_method("reno", target="hypernoise.methods.reno:Reno", needs_reward=True, version=2)
    after = jobs()
    assert [run.method for run in before if before[run] != after[run]] == ["reno"]


def test_a_sweep_has_a_selection_of_its_own(config: dict[str, Any], registry: Registry) -> None:
    sweep = {"benchmark": "shapeworld_validation", "methods": ["base"], "steps": [1, 4]}
    made = experiment(config, registry, sweeps={"more": sweep})
    made.check()
    assert made.selections() == ["shapeworld", "methods", "controls", "diversity", "more"]
    assert [run.steps for run in made.runs("more", "tiny_sd")] == [1, 4]


def test_the_controls_hold_methods_once_more_with_another_reward(
    config: dict[str, Any], registry: Registry
) -> None:
    made = experiment(config, registry)
    runs = made.runs("controls", "tiny_sd")
    assert [(run.method, run.reward) for run in runs] == [
        ("base", NO_REWARD),
        ("hypernoise", "matcher"),
        ("hypernoise", "redness"),
    ]
    # What the main table shows already is not made twice.
    assert set(runs[:2]) <= set(made.runs("shapeworld", "tiny_sd"))
    job = made.score_job("controls", ["images.parquet"], out="out")
    named = {metric: reward.name for metric, reward in job.rewards.items()}
    assert named["train_reward"] == "matcher"
    assert named["redness"] == "redness"
    assert (job.swap, job.seed) == ("within_task", made.config["seed"])
    assert made.score_job("shapeworld", ["images.parquet"], out="out").swap == ""


def test_a_checkpoint_that_no_training_makes_is_refused(
    config: dict[str, Any], registry: Registry
) -> None:
    finetune = "hypernoise.methods.lora_finetune:LoraFinetune"
    for step in (2, 3):
        name = f"lora_finetune_step_{step}"
        registry.add_method(
            name, target=finetune, trains="lora_finetune", checkpoint=step, version=1
        )
    made = experiment(config, registry)
    runs = [Run("shapeworld", "tiny_sd", f"lora_finetune_step_{n}", "matcher", 1) for n in (2, 3)]
    made.check_checkpoint(runs[0])
    assert made.training("tiny_sd", "matcher", "lora_finetune_step_2") == "lora_finetune"
    with pytest.raises(SpecError, match=r"uses step 3 .* every 2 steps, up to step 4"):
        made.check_checkpoint(runs[1])


def test_regularisations_say_what_tells_methods_apart(
    config: dict[str, Any], registry: Registry
) -> None:
    registry.add_method(
        "hypernoise_alpha_sum_10",
        target="hypernoise.methods.hypernoise:HyperNoise",
        trains="hypernoise",
        version=1,
    )
    options = {"steps": 4, "checkpoint_every": 2, "validate_every": 2}
    weight = {"l2_reduction": "sum", "temperature": 10.0}
    training = {"default": options, "hypernoise_alpha_sum_10": weight}
    methods = ["base", "hypernoise_alpha_sum_10", "lora_finetune_final"]
    selection = {"benchmark": "shapeworld", "models": ["tiny_sana"], "methods": methods}
    made = experiment(config, registry, training=training, selections={"regularisation": selection})
    made.check()
    trained = "hypernoise_alpha_sum_10"
    assert made.regularisations() == {
        "tiny_sana": {
            trained: {"training": trained, "checkpoint": None, **weight},
            "lora_finetune_final": {"training": "lora_finetune", "checkpoint": None},
        }
    }
    matched = {**selection, "methods": ["lora_finetune"]}
    made = experiment(config, registry, selections={"regularisation": matched})
    with pytest.raises(SpecError, match="'lora_finetune' in selection 'regularisation'"):
        made.regularisations()


def test_a_sweeps_parameter_is_one_of_its_methods(
    config: dict[str, Any], registry: Registry
) -> None:
    target = "hypernoise.methods.reno:Reno"
    registry.add_method("slow", target=target, needs_reward=True, learning_rate=0.1, version=1)
    sweep = {"benchmark": "shapeworld", "methods": ["base", "slow"], "parameter": "learning_rate"}
    experiment(config, registry, sweeps={"more": sweep}).check()
    misspelt = {**sweep, "parameter": "learning_rat"}
    with pytest.raises(SpecError, match=r"of sweep more.*'learning_rat'.*'learning_rate'"):
        experiment(config, registry, sweeps={"more": misspelt}).check()


def test_a_sweep_cannot_hide_a_benchmark(config: dict[str, Any], registry: Registry) -> None:
    sweep = {"benchmark": "shapeworld_validation", "methods": ["base"]}
    with pytest.raises(SpecError, match="'shapeworld' has the name of a benchmark"):
        experiment(config, registry, sweeps={"shapeworld": sweep}).check()


CHOSEN = {
    "benchmark": "shapeworld_validation",
    "models": ["tiny_sana"],
    "methods": ["base", "hypernoise"],
    "steps": [1, 4],
    "reward": "redness",
}


def test_a_selection_has_models_steps_and_a_reward_of_its_own(
    config: dict[str, Any], registry: Registry
) -> None:
    made = experiment(config, registry, selections={"more": CHOSEN})
    made.check()
    assert made.selected_models("more") == ["tiny_sana"]
    assert made.selected_models("shapeworld") == ["tiny_sd", "tiny_sana"]
    runs = made.runs("more", "tiny_sana")
    assert [(run.method, run.reward, run.steps) for run in runs] == [
        ("base", NO_REWARD, 1),
        ("base", NO_REWARD, 4),
        ("hypernoise", "redness", 1),
        ("hypernoise", "redness", 4),
    ]
    assert made.metrics("more")["train_reward"] == "redness"
    assert made.metrics("shapeworld")["train_reward"] == config["reward"]
    assert made.shown(["more", "shapeworld"], "tiny_sana")["hypernoise"] == [1, 4]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ["renno"]}, "unknown method of selection more: 'renno'; did you mean 'reno'"),
        ({"models": ["tiny_flx"]}, "unknown model of selection more: 'tiny_flx'"),
        ({"reward": "rednes"}, "unknown reward of selection more: 'rednes'"),
        ({"benchmark": "shapes"}, "unknown benchmark of selection more: 'shapes'"),
    ],
)
def test_an_unknown_name_in_a_selection_is_named(
    config: dict[str, Any], registry: Registry, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        experiment(config, registry, selections={"more": {**CHOSEN, **changes}}).check()


def test_a_table_needs_the_selections_that_it_is_made_of(
    config: dict[str, Any], registry: Registry
) -> None:
    target = "harness.analysis.paper_tables:geneval"
    registry.add_table("table8", target=target, selections=("more", "most"), version=1)
    made = experiment(config, registry, tables=["table8"], selections={"more": CHOSEN})
    with pytest.raises(SpecError, match="unknown selection that table8 needs: 'most'"):
        made.check_tables()


def test_a_variant_named_after_a_rank_must_be_trained_with_it(
    config: dict[str, Any], registry: Registry
) -> None:
    target = "hypernoise.methods.hypernoise:HyperNoise"
    registry.add_method("hypernoise_rank_8", target=target, trains="hypernoise", version=1)
    steps = {"steps": 4, "checkpoint_every": 2, "validate_every": 2}
    layers = {"default": {**steps, "rank": 4}, "hypernoise_rank_8": {"rank": 8}}
    made = experiment(config, registry, training=layers)
    methods = ["base", "hypernoise", "hypernoise_rank_8"]
    assert made.ranks("tiny_sd", methods) == {"hypernoise": 4, "hypernoise_rank_8": 8}
    assert made.family([*methods, "lora_finetune"], "hypernoise") == methods
    made = experiment(config, registry, training={"default": {**steps, "rank": 4}})
    with pytest.raises(SpecError, match=r"hypernoise_rank_8 on tiny_sd .* with rank 4"):
        made.ranks("tiny_sd", methods)


def test_a_config_leaves_whole_keys_to_the_one_that_it_extends(tmp_path: Path) -> None:
    files = {
        "a.yaml": {"models": ["one"], "timing": {"repeats": 3}, "seed": 1},
        "b.yaml": {"extends": "a.yaml", "timing": {"threads": 2}},
        "c.yaml": {"extends": "c.yaml"},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(yaml.safe_dump(content))

    def read(path: Path) -> Any:
        return yaml.safe_load(path.read_text())

    found = extended({"extends": "b.yaml", "seed": 2}, tmp_path, read)
    assert found == {"models": ["one"], "timing": {"threads": 2}, "seed": 2}
    with pytest.raises(SpecError, match=r"c\.yaml, which another one extends, extends itself"):
        extended({"extends": "c.yaml"}, tmp_path, read)
    with pytest.raises(SpecError, match=r"d\.yaml, which another one extends, is missing"):
        extended({"extends": "d.yaml"}, tmp_path, read)


def test_an_audit_looks_into_a_methods_training_with_its_temperature(
    config: dict[str, Any], registry: Registry
) -> None:
    training = {"default": {"steps": 4, "temperature": 0.5}, "tiny_sd": {"l2_reduction": "mean"}}
    made = experiment(config, registry, audit=AUDIT, training=training)
    job = made.audit_job("tiny_sd", "matcher", "hypernoise", "folder", **NOWHERE)
    assert (job.training, job.precision, job.options) == ("folder", "float64", {"probes": 4})
    assert made.temperatures(["tiny_sd", "tiny_sana"], ["hypernoise"]) == {
        "tiny_sd": {"hypernoise": (0.5, "mean")},
        "tiny_sana": {"hypernoise": (0.5, "sum")},
    }


def test_missing_local_weights_are_still_asked_for(
    config: dict[str, Any], registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = experiment(config, registry)
    assert made.weight_files("tiny_sd") == ["a/b/tiny_sd/model_index.json"]
    folder = tmp_path / "a" / "b" / "tiny_sd" / "vae"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    files = ["a/b/tiny_sd/model_index.json", "a/b/tiny_sd/vae/model.safetensors"]
    assert made.weight_files("tiny_sd", "redness") == files


def test_hub_weights_are_no_local_files(config: dict[str, Any], registry: Registry) -> None:
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
    assert experiment(config, registry).weight_files("sd", "sd_random") == []


#: Names of the published table -> ours.
PAPER_NAMES = {
    "sana_sprint_0.6b": "sana_sprint_0_6b",
    "redness": "redness",
    "preference": "human_preference",
}


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs the shared published numbers")
def test_the_papers_config_has_the_published_hyperparameters(registry: Registry) -> None:
    paper = Experiment(load("paper.yaml"), registry, "paper.yaml")
    published = list(csv.DictReader(PUBLISHED.read_text(encoding="utf-8").splitlines()))
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


def test_the_papers_config_fits_the_schema_and_trains_on_its_prompts() -> None:
    config = load("paper.yaml")
    check_schema(config, load("schema.yaml"), "paper.yaml")
    assert config["prompts"]["default"]["train"]["arguments"]["n"] == 70_000
    assert config["prompts"]["redness"]["train"]["arguments"]["n"] == 30
    assert config["prompts"]["redness"]["validation"]["arguments"]["n"] == 4


def test_a_sum_reads_the_local_files_of_its_parts(
    config: dict[str, Any], registry: Registry
) -> None:
    hub = f"hf://owner/name@{'0' * 40}/weights.pt#sha256={'1' * 64}"
    target = "hypernoise.rewards.aesthetic:Aesthetic"
    registry.add_reward("near", target=target, weights="clip.pt#sha256=1", head="a.pth", version=1)
    registry.add_reward("far", target=target, weights=hub, head="https://host/a.pth", version=1)
    ensemble = "hypernoise.rewards.ensemble:Ensemble"
    registry.add_reward("sum", target=ensemble, parts={"near": 1.0, "far": 1.0}, version=1)
    assert experiment(config, registry).weight_files("sum") == ["clip.pt", "a.pth"]


def test_a_sum_with_a_missing_part_stops_the_check(
    config: dict[str, Any], registry: Registry
) -> None:
    ensemble = "hypernoise.rewards.ensemble:Ensemble"
    registry.add_reward("sum", target=ensemble, parts={"rednes": 1.0}, version=1, file="sum.smk")
    with pytest.raises(SpecError, match=r"sum\.smk: .*'rednes'.*'redness'"):
        experiment(config, registry).check()


def test_images_are_compared_as_the_config_says(config: dict[str, Any], registry: Registry) -> None:
    made = experiment(config, registry)
    job = made.pairs_job(["images.parquet"], out="pairs.parquet")
    assert set(job.comparisons) == {"matcher_distance"}
    assert [run.method for run in made.runs("diversity", "tiny_sd")] == ["base"]
    assert from_json(to_json(job), type(job)) == job


def test_a_config_without_diversity_says_so_when_it_is_asked_for(
    config: dict[str, Any], registry: Registry
) -> None:
    made = experiment(config, registry)
    without = {k: v for k, v in made.config.items() if k != "diversity"}
    check_schema(without, load("schema.yaml"), FILE)
    bare = Experiment(without, registry, FILE)
    bare.check()
    with pytest.raises(SpecError, match="no section 'diversity'"):
        bare.selection("diversity")


def test_latencies_are_of_the_methods_as_their_names_say(
    config: dict[str, Any], registry: Registry
) -> None:
    job = experiment(config, registry).latency_job("tiny_sd", out="o")
    assert [timed.method.name for timed in job.methods] == ["base", "reno:iterations=5"]
    assert job.methods[1].method.arguments["iterations"] == 5
    assert job.searched == job.reward == registry.reward("matcher")
    assert job.batch_sizes == (1, 8)


def test_prompts_of_validations_are_compared_with_benchmarks_too(
    config: dict[str, Any], registry: Registry
) -> None:
    trainings = [
        (model, "matcher", method)
        for model in ("tiny_sd", "tiny_sana")
        for method in ("hypernoise", "lora_finetune")
    ]
    job = experiment(config, registry).overlap_job(trainings, ["shapeworld"])
    prompts = PromptsSpec(**config["prompts"]["default"]["validation"])
    assert job.validations == {
        "validation of tiny_sana matcher hypernoise": prompts,
        "validation that chooses the checkpoint of tiny_sana matcher lora_finetune": prompts,
    }
    kept = {"default": {"steps": 4, "checkpoint_every": 2, "validate_every": 2, "keep": "best"}}
    job = experiment(config, registry, training=kept).overlap_job(trainings[:1], ["shapeworld"])
    assert list(job.validations) == [
        "validation that chooses the checkpoint of tiny_sd matcher hypernoise"
    ]
