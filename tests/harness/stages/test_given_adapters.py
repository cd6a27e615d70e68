"""Adapters of other tools as rows: declared, generated, scored, timed, in table 1, verified."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest
from experiments import load
from foreign_loras import LAYOUTS, save_peft, write
from micro_runs import CONFIG, MODEL, prepared
from toys import build_generator

from harness.cli.verify import verify
from harness.experiment.component_files import declared
from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.rehearsal import replacements
from harness.report import make
from harness.results import frames
from harness.results.results_folder import survey
from harness.stages import generate, score
from harness.timing import profile
from hypernoise.weights.pins import sha256_of
from hypernoise.weights.stand_ins import Shelf

TARGET = "hypernoise.methods.given_adapter:GivenAdapter"
METHODS = ["theirs_peft", *(f"theirs_{layout}" for layout in LAYOUTS), "theirs_noise"]


def declare(folder: Path, name: str, weights: str, more: str = "") -> None:
    file = folder / "workflows" / "methods" / f"{name}.smk"
    call = f'add_method("{name}", target="{TARGET}", weights="{weights}"{more}, version=1)\n'
    file.write_text(call, encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the base and of the same adapter in every layout."""
    folder = tmp_path_factory.mktemp("run")
    prepared(folder)
    generator = build_generator(MODEL)
    save_peft(generator, folder / "adapters" / "peft").adapter.remove()
    for layout in LAYOUTS:
        write(layout, folder / "adapters" / "peft", generator, folder / "adapters" / layout)
    for layout in ("peft", *LAYOUTS):
        declare(folder, f"theirs_{layout}", f"adapters/{layout}")
    declare(folder, "theirs_noise", "adapters/peft", ", moves_noise=True")
    asked = {"methods": ["base", *METHODS], "image_sets": {}, "tables": ["table1"]}
    with chdir(folder):
        registry = declared(Path("workflows"))
        shipped = load("tiny.yaml")
        experiment = Experiment(read(shipped | CONFIG | asked, "m.yaml"), registry, "m.yaml")
        planned = Planned(experiment)
        for wanted in experiment.runs("main", MODEL):
            assert wanted.method == "base" or [
                file for file in planned.needs_of(wanted) if file.startswith("adapters/")
            ]
            generate.run(planned.generate(**wanted._asdict()))
        score.run(planned.score("main", MODEL))
        profile.run(planned.profile("main", MODEL))
        make.run(Table(experiment, registry.tables["table1"]).job())
    return folder


def test_adapters_in_every_layout_land_in_table_1_with_paired_gains(finished: Path) -> None:
    table = pd.read_parquet(finished / "results" / "tables" / "table1.parquet").set_index("method")
    assert set(table.index) == {"base", *METHODS}
    rows = table.loc[METHODS]
    assert rows["gain_over_base"].notna().all()
    assert rows["params_m"].gt(table.loc["base", "params_m"]).all()
    assert rows["generation_ms"].gt(0).all()
    # One network in four layouts: the same images but for rounding, so the same verdicts.
    same = rows.drop(index="theirs_noise")
    assert same["geneval_mean"].nunique() == 1
    assert same["train_reward_mean"].max() - same["train_reward_mean"].min() < 0.05
    assert table.loc["theirs_noise", "nfe"] == 2
    assert abs(same["train_reward_mean"].iloc[0] - table.loc["base", "train_reward_mean"]) > 0.01


def test_a_given_adapter_is_in_the_provenance_of_its_images(finished: Path) -> None:
    (frame,) = (finished / "results" / "images" / "micro" / MODEL / "theirs_kohya").rglob(
        "images.parquet"
    )
    weights = frames.read_provenance(frame)["weights"]["method theirs_kohya"]
    file = finished / "adapters" / "kohya" / "their_style.safetensors"
    assert weights == {f"weights/{file.name}": sha256_of(file)}


def test_verify_passes_a_run_with_given_adapters_and_names_one_that_was_exchanged(
    finished: Path, tmp_path: Path
) -> None:
    with chdir(finished):
        registry = declared(Path("workflows"))
        assert not verify(survey("results"), registry)
        shutil.copytree("adapters", tmp_path / "adapters")
        shutil.copy(
            "adapters/diffusers/pytorch_lora_weights.safetensors",
            "adapters/kohya/their_style.safetensors",
        )
        faults = [str(finding) for finding in verify(survey("results"), registry)]
    assert faults and all("theirs_kohya" in fault for fault in faults)


def test_a_rehearsal_has_a_stand_in_for_an_adapter_of_the_hub(tmp_path: Path) -> None:
    registry = Registry()
    place = f"somebody/lora@{'0123456789' * 4}"
    registry.add_method("theirs", target=TARGET, weights=place, file="x.smk", version=1)
    (made,) = replacements.replaced(registry, {"theirs"}, {}, Shelf(tmp_path))
    assert made.places == ("somebody/lora",)
    assert registry.methods["theirs"].arguments["weights"] == "random"


def test_an_adapter_of_another_base_stops_before_anything_is_loaded(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(finished, "theirs_sd", "adapters/sd")
    generator = build_generator("tiny_sd")
    save_peft(generator, finished / "adapters" / "sd")
    with chdir(finished):
        asked = {"methods": ["theirs_sd"], "image_sets": {}}
        config = read(load("tiny.yaml") | CONFIG | asked, "m.yaml")
        experiment = Experiment(config, declared(Path("workflows")), "m.yaml")
        (wanted,) = experiment.runs("main", MODEL)
        job = Planned(experiment).generate(**wanted._asdict())
        with pytest.raises(ValueError, match=r"'theirs_sd' on model 'tiny_sana': .* another base"):
            generate.check_ahead(job)
