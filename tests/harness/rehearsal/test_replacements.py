"""Every component that is downloaded brings its stand-in, or is named before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from experiments import load
from paths import REPOSITORY

from harness.base.errors import SpecError
from harness.benchmarks import stand_in_data
from harness.benchmarks.build import check_benchmark, prompts_of
from harness.benchmarks.training_prompts import preference
from harness.build import data_files
from harness.experiment.component_files import KINDS, declared
from harness.experiment.components import Registry
from harness.experiment.config_files import load_yaml
from harness.experiment.pins import STAND_INS
from harness.experiment.workflow import open_experiment
from harness.rehearsal import replacements
from hypernoise.weights.stand_ins import Shelf

COMMIT = "0123456789" * 4
ALL = declared(REPOSITORY / "workflows")
NAMES = {name for kind in KINDS for name in getattr(ALL, kind)}
SIMILARITIES = load("paper.yaml")["similarities"]


def test_every_declared_component_that_is_downloaded_brings_its_stand_in() -> None:
    assert not list(replacements._lacking(ALL, NAMES, SIMILARITIES))


def test_a_component_without_a_stand_in_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    registry = Registry()
    place = f"hf://a/b@{COMMIT}/w.safetensors#sha256={'0' * 64}"
    registry.add_reward(
        "mine", target="pinned_toys:Weighed", weights=place, version=1, file="mine.smk"
    )
    with pytest.raises(
        SpecError, match=r"mine.smk: reward 'mine' reads hf://a/b.*Weighed.*stand_in"
    ):
        replacements.replaced(registry, {"mine"}, {}, Shelf(tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_is_declared_anew_is_what_was_declared(tmp_path: Path) -> None:
    replacements.write(ALL, tmp_path)
    again = declared(tmp_path)
    for kind in KINDS:
        made, given = (
            {n: replacements.declaration(s) for n, s in getattr(r, kind).items()}
            for r in (again, ALL)
        )
        assert made == given


def test_a_stand_in_is_under_the_declared_names_and_commits_with_hashes_of_its_own(
    tmp_path: Path,
) -> None:
    registry = declared(REPOSITORY / "workflows")
    similarities = deepcopy(SIMILARITIES)
    names = {"sd_turbo", "hpsv2_1", "geneval", "dpg_bench", "prompt_search_llama"}
    found = replacements.replaced(registry, names, similarities, Shelf(tmp_path))
    assert len(found) == len(names) + len(similarities)
    model, was = registry.models["sd_turbo"], ALL.models["sd_turbo"]
    assert (model.weights, model.revision) == (was.weights, was.revision)
    assert model.arguments == was.arguments
    weights, before = (
        r.rewards["hpsv2_1"].arguments["weights"].split("#") for r in (registry, ALL)
    )
    assert weights[0] == before[0]
    assert weights[1] != before[1]
    answerer = registry.benchmarks["dpg_bench"].arguments["answerer"]
    assert answerer["weights"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert len(answerer["revision"]) == 40
    assert registry.methods["reno"] == ALL.methods["reno"]


def test_every_data_file_has_a_stand_in() -> None:
    contents = stand_in_data.contents()
    assert data_files.places().keys() <= contents.keys()


@pytest.mark.parametrize("name", ["geneval", "geneval2", "dpg_bench", "t2i_compbench", "hpsv2"])
def test_stand_ins_of_published_prompts_are_read_as_the_published_ones_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STAND_INS, str(replacements.lay_data(tmp_path)))
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    spec = ALL.benchmarks[name].prompts
    prompts = prompts_of(**spec.arguments)
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts) > 1
    apart = ["harness.benchmarks.geneval_coco:prompts"]
    assert len(preference(FEW_TRAINED, apart)) == FEW_TRAINED


FEW_TRAINED = 4


def test_a_stand_in_of_a_data_file_counts_in_a_rehearsal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replacements.lay_data(tmp_path)
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    monkeypatch.delenv(STAND_INS, raising=False)
    with pytest.raises(ValueError, match="expected"):
        data_files.locate("abc6k/ABC-6K.txt")


def test_a_stand_in_of_a_data_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STAND_INS, str(replacements.lay_data(tmp_path)))
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    assert data_files.locate("abc6k/ABC-6K.txt").is_file()
    (tmp_path / "abc6k/ABC-6K.txt").write_text("another prompt")
    with pytest.raises(ValueError, match="expected"):
        data_files.locate("abc6k/ABC-6K.txt")


def test_a_run_that_is_no_rehearsal_takes_no_stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv(STAND_INS, "some/list.json")
    file = REPOSITORY / "workflows/config/tiny.yaml"
    with pytest.raises(SpecError, match="HYPERNOISE_STAND_INS is set"):
        open_experiment(load_yaml(file), [str(file)])


def test_a_shelf_goes_before_whatever_cache_a_machine_has(tmp_path: Path) -> None:
    told = {**os.environ, "HF_HUB_CACHE": "/real", **Shelf(tmp_path).environment}
    command = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    done = subprocess.run(
        [sys.executable, "-c", command], env=told, capture_output=True, text=True, check=True
    )
    assert (
        Path(done.stdout.strip()) / "models--a--b"
        == Shelf(tmp_path).repository("a/b", "0" * 40).parents[1]
    )


def test_a_rehearsed_benchmark_passes_the_check_of_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = declared(REPOSITORY / "workflows")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))
    replacements.replaced(registry, {"dpg_bench"}, {}, Shelf(tmp_path))
    check_benchmark(registry.benchmarks["dpg_bench"])
