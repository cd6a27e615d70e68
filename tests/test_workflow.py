"""The workflow, run as its users run it: `snakemake` in a folder of its own."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from experiments import MICRO_BENCHMARK, few
from paths import REPOSITORY
from snakemake_runs import run_snakemake

from harness.cli.verify import verify
from harness.experiment import pins
from harness.experiment.component_files import declared
from harness.results.results_folder import survey

CONFIG = "workflows/config/tiny.yaml"
SHIPPED = yaml.safe_load((REPOSITORY / CONFIG).read_text(encoding="utf-8"))
#: Everything that the default config does, on one model, with hardly any work in it.
MICRO = {
    "models": ["tiny_sana"],
    "benchmark": "micro",
    "batch_size": 6,
    "training": {
        "default": {"steps": 2, "batch_size": 2, "checkpoint_every": 1, "validate_every": 1},
    },
    "validation_images": 1,
    "prompts": {"default": {"train": few("train"), "validation": few("validation")}},
    "arguments": {"best_of_n": {"n": 2}, "reno": {"iterations": 2}},
    "methods": ["base", "hypernoise", "lora_finetune", "best_of_n", "reno"],
    "image_sets": {"figure4": {"reward": "matcher", "methods": ["hypernoise"]}},
    "timing": {"benchmark": "micro", "batch_sizes": [1], "repeats": 3, "threads": 1},
}


def make_folder(folder: Path) -> Path:
    """A folder with the real workflow in copies and the real packages in links."""
    shutil.copy(REPOSITORY / "Snakefile", folder)
    for name in ("workflows", "profiles"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("harness", "hypernoise"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "workflows" / "benchmarks" / "micro.smk").write_text(MICRO_BENCHMARK)
    return folder


def snakemake(
    folder: Path, *arguments: str, config: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    config = config or {}
    # Replaced here: Snakemake's --configfile would merge the two, level by level.
    sets = {**SHIPPED["image_sets"], **config.get("image_sets", {})}
    (folder / CONFIG).write_text(yaml.safe_dump({**SHIPPED, **config, "image_sets": sets}))
    return run_snakemake(folder, *arguments)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def counts(dry_run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Rule -> number of jobs, from a dry run's statistics."""
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", said(dry_run), re.MULTILINE)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def test_the_default_config_plans_each_training_once(folder: Path) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2")
    assert done.returncode == 0, said(done)
    planned = counts(done)
    # All of it ships: the check, which imports torch, is left to the run.
    assert "Checking" not in said(done)
    # Two networks for each of three models, and two for figure 4.
    assert planned["train"] == 8
    assert planned["match"] == 3
    assert planned["generate"] == 18
    assert (planned["score"], planned["profile"], planned["grid"]) == (3, 3, 3)
    assert planned["table1"] == planned["figure4"] == planned["pareto"] == 1
    assert "pretrain_generator" not in planned
    assert "sweep" not in planned


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("pretrain", {"pretrain_generator": 3, "pretrain_matcher": 2}),
        ("table7", {"generate": 6, "pairs": 3, "table7": 1}),
        ("fidelity", {"generate": 21, "fidelity_of_images": 3, "fidelity": 1}),
        ("reno_sweep", {"generate": 15, "score": 3, "reno_sweep": 1}),
        # Amounts of work share the trainings.
        ("equal_seconds", {"profile": 3, "equal_seconds_table": 1, "equal_seconds_curve": 1}),
    ],
)
def test_a_named_target_plans_what_it_stands_for(
    folder: Path, target: str, expected: dict[str, int]
) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2", target)
    assert done.returncode == 0, said(done)
    planned = counts(done)
    assert {rule: planned[rule] for rule in expected} == expected
    trained = {"table7": 3, "fidelity": 6, "equal_seconds": 6}
    assert planned.get("train", 0) == trained.get(target, 0)


def test_the_comparison_of_all_methods_is_a_target_of_its_own(folder: Path) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2", "compare")
    assert done.returncode == 0, said(done)
    planned = counts(done)
    methods = SHIPPED["image_sets"]["compare"]["methods"]
    # Hybrids share the noise network's training.
    assert planned["train"] == 6
    assert planned["generate"] == 3 * len(methods)
    assert planned["score"] == planned["profile"] == 3
    assert planned["methods"] == planned["warm_start"] == planned["curves"] == 1
    assert planned["pareto_methods"] == planned["search_budgets"] == 1
    assert "table1" not in planned


def test_controls_add_networks_for_another_reward_and_their_images(folder: Path) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2", "controls")
    assert done.returncode == 0, said(done)
    planned = counts(done)
    # Beyond the six trainings and eighteen runs of images of `rule all`: one of each per model.
    assert (planned["train"], planned["generate"]) == (6 + 3, 18 + 3)
    assert (planned["score"], planned["controls"]) == (3, 1)
    assert "profile" not in planned


def test_a_checkpoint_that_a_shorter_training_lacks_stops_only_what_needs_it(folder: Path) -> None:
    weight = {"l2_reduction": "sum", "temperature": 1.0}
    shorter = {"training": {"default": {**MICRO["training"]["default"], **weight}}}
    assert snakemake(folder, "--dry-run", "table1", config=shorter).returncode == 0
    done = snakemake(folder, "--dry-run", "regularisation", config=shorter)
    assert done.returncode != 0
    assert "has a checkpoint every 1 steps, up to step 2" in said(done)


def test_the_sweep_of_regularisations_shares_what_it_can(folder: Path) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2", "regularisation")
    assert done.returncode == 0, said(done)
    planned = counts(done)
    # Ten weights, one of them the default's; nine checkpoints of one fine-tuning.
    assert (planned["train"], planned["generate"]) == (10 + 1, 1 + 10 + 9)
    assert planned["regularisation_table"] == planned["frontier"] == 1
    assert "match" not in planned


def test_the_audit_looks_into_the_trainings_of_the_other_tables(folder: Path) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2", "audit")
    assert done.returncode == 0, said(done)
    planned = counts(done)
    assert planned["train"] == planned["audit_network"] == 3
    assert planned["audit"] == 1
    assert "generate" not in planned


def test_the_audit_of_regularisations_looks_into_their_trainings(folder: Path) -> None:
    done = snakemake(folder, "--dry-run", "--cores", "2", "audit_regularisation")
    assert done.returncode == 0, said(done)
    planned = counts(done)
    # Ten weights of one model; neither its base nor its fine-tuning moves noise.
    assert planned["train"] == planned["audit_network"] == 10
    assert planned["audit_regularisation"] == 1
    assert "generate" not in planned


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"models": ["tiny_sanna"]}, ["unknown model 'tiny_sanna'", "did you mean 'tiny_sana'?"]),
        ({"methds": ["base"]}, ["unknown config key 'methds'", "did you mean 'methods'?"]),
        ({"steps": {"tiny_sd": 0}}, ["'steps.tiny_sd' is 0, must be at least 1"]),
    ],
)
def test_a_bad_config_stops_before_any_job_with_one_message(
    folder: Path, config: dict[str, Any], words: list[str]
) -> None:
    done = snakemake(folder, "--cores", "2", config=config)
    assert done.returncode != 0
    faults = [line for line in said(done).splitlines() if line.startswith(f"error: {CONFIG}: ")]
    assert len(faults) == 1, said(done)
    for word in words:
        assert word in faults[0]
    assert "Traceback" not in said(done)
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        (
            'add_reward("redness", target="hypernoise.rewards.redness:Redness", version=1)',
            ["'redness' is already declared in", "workflows/rewards/redness.smk"],
        ),
        (
            'add_reward("pink", target="hypernoise.rewards.redness:Rednes", version=1)',
            ["'Rednes'", "did you mean 'Redness'?"],
        ),
        (
            'add_reward("pink", target="hypernoise.rewards.redness:Redness", scael=2, version=1)',
            ["'scael'", "did you mean 'scale'?"],
        ),
        ('add_reward("pink", target="hypernoise.rewards.redness:Redness")', ["'version'"]),
    ],
)
def test_a_bad_component_stops_before_any_job_and_names_its_file(
    folder: Path, declaration: str, words: list[str]
) -> None:
    (folder / "workflows" / "rewards" / "z_mine.smk").write_text(f"{declaration}\n")
    done = snakemake(folder, "--dry-run")
    assert done.returncode != 0
    for word in [*words, "workflows/rewards/z_mine.smk"]:
        assert word in said(done)
    assert "Traceback" not in said(done)


def test_a_pin_is_part_of_the_jobs_that_need_it_and_a_faulty_one_stops_all(folder: Path) -> None:
    known = pins.downloads(declared(folder / "workflows"))
    (place,) = (download.place for download in known if download.name == "pickscore")
    sha256 = "0123456789abcdef" * 4
    file = folder / "workflows" / pins.FILE
    pins.add(file, {place: pins.Pin(sha256=sha256)})
    judged = {**MICRO, "judges": {"judge_reward": "pickscore"}}
    done = snakemake(folder, "--dry-run", "table1", "--printshellcmds", config=judged)
    assert done.returncode == 0, said(done)
    assert f"{place}#sha256={sha256}" in said(done)
    file.write_text(file.read_text().replace("PickScore_v1", "PickScore"))
    done = snakemake(folder, "--dry-run", "table1", config=judged)
    assert done.returncode != 0
    fault = "error: workflows/pins.toml: unknown place of a pin 'hf://yuvalkirstain/PickScore@"
    assert fault in said(done)
    assert f"did you mean '{place}'" in said(done)


def test_a_dry_run_names_what_is_missing_for_every_stage_and_ends_well(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HF_HUB_OFFLINE": "1", "HF_HOME": "hub", "TORCH_HOME": "torch"}.items():
        monkeypatch.setenv(name, value)
    # Nobody listens there: no test downloads.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    paper = ("--dry-run", "table7", "--configfile", "workflows/config/paper.yaml")
    done = snakemake(folder, *paper)
    assert done.returncode == 0, said(done)
    for what in ("Sana_Sprint_0.6B", "ABC-6K.txt", "ImageReward.pt", "alexnet", "dinov2-base"):
        faults = [line for line in said(done).splitlines() if line.startswith("error: ")]
        assert sum(what in line for line in faults) == 1, (what, said(done))
    assert "things are missing; to have them, type:\n    " in said(done)
    assert not (folder / "results").exists()
    assert "Checking" not in said(snakemake(folder, *paper, "--no-hooks"))


def test_one_file_adds_a_model(folder: Path) -> None:
    original = (folder / "workflows" / "models" / "tiny_sd.smk").read_text()
    mine = folder / "workflows" / "models" / "mine.smk"
    mine.write_text(original.replace('"tiny_sd",', '"mine",', 1))
    done = snakemake(folder, "--dry-run", "--cores", "2", "table1", config={"models": ["mine"]})
    assert done.returncode == 0, said(done)
    assert counts(done)["generate"] == 6


def test_a_run_that_would_evaluate_on_training_prompts_stops_and_lists_them(folder: Path) -> None:
    prompts = {"default": {"train": few("evaluation"), "validation": few("validation")}}
    done = snakemake(folder, "--cores", "2", "table1", config={**MICRO, "prompts": prompts})
    assert done.returncode != 0
    assert "prompts are both trained and evaluated on" in said(done)
    assert "training tiny_sana matcher hypernoise and micro: 'a photo of" in said(done)
    assert not (folder / "results" / "training").exists()


def test_a_truncated_weight_file_stops_before_any_training(folder: Path) -> None:
    # The packages are links: a folder of our own takes the place of one model's weights.
    weights = Path("weights", "of", "tiny_sd")
    shutil.copytree(REPOSITORY / "hypernoise/shapeworld/weights/tiny_sd", folder / weights)
    broken = next((folder / weights / "unet").glob("*.safetensors"))
    broken.write_bytes(broken.read_bytes()[:-1000])
    declaration = folder / "workflows" / "models" / "tiny_sd.smk"
    shipped = "hypernoise/shapeworld/weights/tiny_sd"
    declaration.write_text(declaration.read_text().replace(shipped, str(weights)))
    done = snakemake(folder, "--cores", "2", config={**MICRO, "models": ["tiny_sd"]})
    assert done.returncode != 0
    faults = [line for line in said(done).splitlines() if line.startswith("error: ")]
    assert len(faults) == 1, said(done)
    assert str(weights / "unet" / broken.name) in faults[0]
    assert not (folder / "results" / "training").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole workflow has run, on a micro config."""
    folder = make_folder(tmp_path_factory.mktemp("micro"))
    done = snakemake(folder, "--cores", "2", config=MICRO)
    assert done.returncode == 0, said(done)
    return folder


def test_the_workflow_makes_table_and_figures(finished: Path) -> None:
    table = pd.read_parquet(finished / "results" / "tables" / "table1.parquet")
    assert list(table["method"]) == MICRO["methods"]
    assert set(table["n_images"]) == {12}
    assert table.loc[table["method"] == "hypernoise", "nfe"].item() == 2
    for suffix in ("csv", "md", "tex", "html"):
        assert (finished / "results" / "tables" / f"table1.{suffix}").stat().st_size > 0
    for figure in ("figure4.png", "figure4.pdf", "grid_tiny_sana.png", "pareto.png"):
        assert (finished / "results" / "figures" / figure).stat().st_size > 1000
    assert not list((finished / "results" / "work").rglob("*.parquet"))


def test_every_number_of_a_run_can_be_traced(finished: Path) -> None:
    found = survey(finished / "results")
    assert {"table table1", "figure figure4", "gallery"} <= {made.kind for made in found.made}
    assert [str(finding) for finding in verify(found, declared(finished / "workflows"))] == []


def test_a_second_run_does_nothing(finished: Path) -> None:
    done = snakemake(finished, "--cores", "2", config=MICRO)
    assert done.returncode == 0, said(done)
    assert "Nothing to be done" in said(done)


def test_another_number_of_cores_changes_nothing(finished: Path) -> None:
    done = snakemake(finished, "--cores", "1", config=MICRO)
    assert "Nothing to be done" in said(done)


@contextmanager
def edited(declaration: Path, new: str) -> Iterator[None]:
    """A component's file with ``new`` in place of its version, for a while."""
    original = declaration.read_text()
    text, n_replaced = re.subn(r"version=\d+", new, original)
    assert n_replaced == 1, declaration
    declaration.write_text(text)
    try:
        yield
    finally:
        declaration.write_text(original)


def test_a_new_version_of_a_method_makes_its_images_again_and_no_others(finished: Path) -> None:
    with edited(finished / "workflows" / "methods" / "best_of_n.smk", "version=99"):
        done = snakemake(finished, "--dry-run", "--cores", "2", config=MICRO)
    planned = counts(done)
    assert planned["generate"] == planned["score"] == planned["profile"] == planned["table1"] == 1
    assert "train" not in planned


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": {**MICRO["arguments"], "hypernoise": {"merged": "per_layer"}}},
        {"arguments": {"best_of_n": {"n": 2, "batch_size": 3}, "reno": {"iterations": 2}}},
        {"processes": 2},
    ],
)
def test_what_changes_speed_only_makes_nothing_again_but_timings(
    finished: Path, change: dict[str, Any]
) -> None:
    done = snakemake(finished, "--dry-run", "--cores", "2", config={**MICRO, **change})
    assert not set(counts(done)) & {"train", "match", "generate", "score"}, said(done)


def test_the_batch_size_makes_images_again_that_a_search_along_gradients_makes(
    finished: Path,
) -> None:
    done = snakemake(finished, "--dry-run", "--cores", "2", config={**MICRO, "batch_size": 3})
    assert counts(done)["generate"] == 1
    assert "reno on tiny_sana" in said(done)


def test_a_class_that_moves_to_another_module_makes_nothing_again(finished: Path) -> None:
    moved = finished / "workflows" / "methods" / "base.smk"
    original = moved.read_text()
    module = finished / "moved.py"
    module.write_text("from hypernoise.methods.base import Base\n")
    moved.write_text(original.replace("hypernoise.methods.base:Base", "moved:Base"))
    try:
        done = snakemake(finished, "--dry-run", "--cores", "2", config=MICRO)
        assert "Nothing to be done" in said(done)
    finally:
        moved.write_text(original)


def test_a_job_that_fails_says_why_in_one_last_line(finished: Path) -> None:
    with edited(finished / "workflows" / "tables" / "table1.smk", 'version=1, baseline="bass"'):
        done = snakemake(finished, "--cores", "2", "table1", config=MICRO)
    assert done.returncode != 0
    faults = [line for line in said(done).splitlines() if line.startswith("failed: ")]
    assert len(faults) == 1, said(done)
    assert faults[0].startswith("failed: make table1: ")
    assert "(exit code 2): error: " in faults[0]
    assert "'bass'" in faults[0]
    assert faults[0].endswith("(results/logs/tables/table1.log)")
    assert snakemake(finished, "--cores", "2", config=MICRO).returncode == 0


def test_judges_of_other_names_are_columns_of_the_table(folder: Path) -> None:
    judges = {"their_judge": "matcher_judge", "second_judge": "redness"}
    config = {**MICRO, "methods": ["base", "best_of_n"], "judges": judges}
    done = snakemake(folder, "--cores", "2", "table1", config=config)
    assert done.returncode == 0, said(done)
    table = pd.read_parquet(folder / "results" / "tables" / "table1.parquet")
    assert {"their_judge_mean", "second_judge_mean"} <= set(table)
    assert "judge_reward_mean" not in table


def test_the_papers_experiment_is_planned_whole(folder: Path) -> None:
    paper = ("--dry-run", "--cores", "2", "--configfile", "workflows/config/paper.yaml")
    done = snakemake(folder, *paper, "--printshellcmds")
    planned = counts(done)
    # Hypernoise and fine-tuning on three models, both for redness, and both in three further ranks.
    assert planned["train"] == 8 + 6
    # On SANA-Sprint: four methods at 2 and 4 steps and two at 8, 16 and 32 (base, hypernoise), six
    # variants in rank at 1 and 4 steps; three methods for the four redness prompts; base and
    # hypernoise for diversity, and at 1, 2 and 4 steps for two other benchmarks. On each model its
    # six methods.
    of_geneval = 3 * 6 + (4 * 2 + 2 * 3) + 6 * 2
    # The columns of figures 1, 5, 6 and 7, whose sets have two, three and two, one and one model.
    of_figures = 4 + 5 + 3 + 2
    assert planned["generate"] == of_geneval + 3 + 2 + 2 * 3 * 2 + of_figures
    assert (planned["score"], planned["pairs"]) == (3 + 6 + 2 + 3 + 2 + 1 + 1, 1)
    config = yaml.safe_load((REPOSITORY / paper[-1]).read_text(encoding="utf-8"))
    drawn = [name for name in config["tables"] if name != "grids"]
    assert {planned[name] for name in drawn} == {1}
    # 553 prompts, which tests of GenEval count, each four times; and four redness prompts.
    jobs = set(re.findall(r"harness generate --threads \d+ --job '(.*?)' 2>&1", said(done)))
    benchmarks = [json.loads(job)["benchmark"] for job in jobs]
    images = [(benchmark["name"], benchmark["n_images"]) for benchmark in benchmarks]
    assert images.count(("geneval", 4)) == of_geneval
    assert images.count(("geneval_diversity", 50)) == 2
    assert images.count(("redness_prompts", 1)) == 3
    assert images.count(("dpg_bench", 4)) == 6


def test_every_table_of_the_embedded_world_is_planned_by_a_config_that_extends_the_default(
    folder: Path,
) -> None:
    full = "workflows/config/tiny_full.yaml"
    done = snakemake(folder, "--dry-run", "--cores", "2", "--configfile", full)
    assert done.returncode == 0, said(done)
    planned = counts(done)
    config = yaml.safe_load((REPOSITORY / full).read_text(encoding="utf-8"))
    assert config["extends"] == "tiny.yaml"
    assert {planned[name] for name in config["tables"] if name != "grids"} == {1}
    # Besides the default run's: eight ranks at two numbers of steps, four methods at two and two at
    # three more; redness, diversity of three models, two other benchmarks at three.
    assert planned["train"] == 8 + 8
    assert planned["generate"] == 18 + (4 * 2 + 2 * 3) + 8 * 2 + 3 + 2 * 3 + 2 * 3 * 2


def test_a_config_compares_every_method_with_its_networks(folder: Path) -> None:
    every = "workflows/config/tiny_every_method.yaml"
    done = snakemake(folder, "--dry-run", "compare", "--cores", "2", "--configfile", every)
    assert done.returncode == 0, said(done)
    more = yaml.safe_load((REPOSITORY / every).read_text(encoding="utf-8"))
    compare = dict(SHIPPED["image_sets"]["compare"])
    of_default, methods = (of.pop("methods") for of in (compare, more["image_sets"]["compare"]))
    assert more.pop("tuning")["trials"] == SHIPPED["tuning"]["trials"]
    assert more == {"extends": "tiny.yaml", "image_sets": {"compare": compare}}
    assert {*methods} - {*of_default} == {"low_frequency", "noise_policy", "supervised"}
    # On three models: two networks of the default run, and one of each that is added.
    assert counts(done)["train"] == 3 * (2 + 3)
    assert counts(done)["generate"] == 3 * len(methods)


def test_trials_are_trained_scored_and_chosen_by_a_target_of_their_own(folder: Path) -> None:
    (folder / "workflows" / "benchmarks" / "micro_validation.smk").write_text(
        MICRO_BENCHMARK.replace('"micro"', '"micro_validation"').replace("evaluation", "validation")
    )
    grids = {
        "hypernoise": {"learning_rate": [0.001, 0.01], "ema_decay": [0.5], "keep": ["best"]},
        "lora_finetune": {"steps": [1, 2], "keep": ["best"]},
    }
    tuning = {"benchmark": "micro_validation", "trials": 2, "seeds": [7], "criterion": "reward"}
    tuning |= {"grids": grids, "searches": {"reno": {"learning_rate": [0.1, 0.2]}}}
    sets = {"authors_choices": {"methods": ["hypernoise", "hypernoise:noise=step"]}}
    config = {**MICRO, "tuning": tuning, "image_sets": sets}
    done = snakemake(folder, "tuning", "authors_choices", "--cores", "2", config=config)
    assert done.returncode == 0, said(done)
    tables = folder / "results" / "tables"
    tried = pd.read_csv(tables / "tuning.csv")
    kinds = ["hypernoise", "lora_finetune", "reno"]
    assert tried["kind"].to_list()[1:] == [kind for kind in kinds for _ in range(2)]
    assert tried["validation_reward"].notna().sum() == 6
    assert tried.groupby("kind")["is_chosen"].sum().to_dict() == dict.fromkeys(kinds, 1)
    layers = pd.read_csv(tables / "tuning_chosen.csv")
    assert set(layers["layer"]) == {f"tiny_sana {kind}" for kind in kinds}
    # The config keeps the last checkpoint and has no average.
    assert not layers[layers["option"].isin(["keep", "ema_decay"])]["agrees"].any()
    assert "The config's options are not those chosen" in (tables / "tuning.md").read_text()
    gains = pd.read_csv(tables / "authors_choices.csv")
    assert gains["method"].to_list() == ["hypernoise", "hypernoise:noise=step"]
    assert verify(survey(folder / "results"), declared(folder / "workflows")) == []


def test_a_config_trains_every_method_with_three_seeds(folder: Path) -> None:
    seeds = "workflows/config/tiny_seeds.yaml"
    more = yaml.safe_load((REPOSITORY / seeds).read_text(encoding="utf-8"))
    assert more == {"extends": "tiny.yaml", "training_seeds": [0, 1, 2]}
    done = snakemake(folder, "--dry-run", "--cores", "2", "--configfile", seeds)
    assert done.returncode == 0, said(done)
    planned = counts(done)
    # Eight trainings of the default run; on each model three of six methods are trained.
    assert (planned["train"], planned["match"]) == (3 * 8, 3 * 3)
    assert planned["generate"] == 3 * (3 + 3 * 3)
    assert (planned["score"], planned["profile"]) == (3, 3)


def test_a_run_with_two_training_seeds_goes_on_from_one_with_one(finished: Path) -> None:
    methods = ["base", "hypernoise", "lora_finetune"]
    of_two = {**MICRO, "methods": methods, "training_seeds": [0, 1], "tables": ["table1"]}
    try:
        planned = counts(snakemake(finished, "--dry-run", "--cores", "2", config=of_two))
        # What there is of seed 0 stays.
        assert (planned["train"], planned["match"], planned["generate"]) == (2, 1, 2)
        done = snakemake(finished, "--cores", "2", config=of_two)
        assert done.returncode == 0, said(done)
        results = finished / "results"
        table = pd.read_parquet(results / "tables" / "table1.parquet").set_index("method")
        assert list(table.index) == methods
        assert table["n_training_seeds"].to_list() == [0, 2, 2]
        assert table["n_images"].to_list() == [12, 24, 24]
        scores = pd.read_parquet(results / "scores" / "main" / "tiny_sana.parquet")
        verdicts = scores[scores["metric"] == "geneval_correct"]
        by_seed = verdicts.groupby(["method", "training_seed", "task"])["value"].mean()
        means = by_seed.groupby(level=["method", "training_seed"]).mean().unstack()
        for method in methods[1:]:
            assert table.loc[method, "geneval_mean"] == pytest.approx(means.loc[method].mean())
            assert table.loc[method, "geneval_seed_sd"] == pytest.approx(means.loc[method].std())
        seconds = results / "matched" / "tiny_sana" / "matcher" / "lora_finetune+seed=1"
        record = json.loads((seconds / "match.json").read_text())
        assert record["hypernoise"] == "results/training/tiny_sana/matcher/hypernoise+seed=1"
        assert "training seeds (0, 1)" in (results / "tables" / "table1.md").read_text()
        # Figures that were not made again are of the scores before.
        found = verify(survey(results), declared(finished / "workflows"))
        assert not [each for each in found if re.search(r"table1|scores/main", each.file)]
        done = snakemake(finished, "--cores", "2", config=of_two)
        assert "Nothing to be done" in said(done)
    finally:
        assert snakemake(finished, "--cores", "2", config=MICRO).returncode == 0


def test_a_table_without_its_image_set_says_what_the_config_lacks(folder: Path) -> None:
    alone = {**SHIPPED, "image_sets": {}, "tables": ["table1"]}
    (folder / "alone.yaml").write_text(yaml.safe_dump(alone))
    done = snakemake(folder, "--dry-run", "table8", "--configfile", "alone.yaml")
    assert done.returncode != 0
    assert "error: alone.yaml: unknown image set that table8 needs: 'few_steps'" in said(done)
    assert "Traceback" not in said(done)


def test_one_network_can_be_trained_by_several_processes(finished: Path) -> None:
    arguments = ("--dry-run", "--printshellcmds", "--forcerun", "train", "--cores", "2")
    done = snakemake(finished, *arguments, config={**MICRO, "processes": 2})
    assert "torchrun --standalone --nproc-per-node 2 -m harness train --threads 2" in said(done)


def test_the_report_shows_table_and_figures(finished: Path) -> None:
    done = snakemake(finished, "--report", "report.html", config=MICRO)
    assert done.returncode == 0, said(done)
    report = (finished / "report.html").read_text()
    for name in ("table1.html", "figure4.png", "pareto.png", "grid_tiny_sana.png"):
        assert name in report


def test_a_run_keeps_others_out_of_its_folder_until_its_last_job_is_done(finished: Path) -> None:
    file, log = finished / "results" / ".lock", finished / "held.log"
    file.write_text("")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--forcerun", "table1"]
    with log.open("w") as out, subprocess.Popen(command, cwd=finished, stderr=out) as run:
        while not file.read_text() and run.poll() is None:
            time.sleep(0.05)
        with file.open("a") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            # Whoever holds it next finds all of it done.
            assert "Rule: table1" in log.read_text().partition("Finished jobid")[2]
    assert run.returncode == 0, log.read_text()
    with file.open("a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        done = snakemake(finished, "--cores", "2", "--forcerun", "table1", config=MICRO)
    assert done.returncode != 0
    assert "another run is at work in this folder" in said(done)
