"""A smaller choice of the paper's own run, rehearsed from its downloads to its last table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from paths import REPOSITORY

from harness.analysis import published
from harness.base.errors import SpecError
from harness.cli import rehearse
from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.config_files import load_yaml
from harness.report.gallery import Gallery
from harness.report.rehearsal import marked

MODEL, TABLES = "sd_turbo", ("table1", "grids", "gallery", "provenance")


class Rehearsed(NamedTuple):
    folder: Path
    account: str


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    """Paper.yaml's run with one model, as a user starts it, where nothing can be downloaded."""
    folder = tmp_path_factory.mktemp("whole") / "rehearsal"
    chosen = ("--models", MODEL, "--tables", *TABLES, "--out", str(folder))
    # An address that nobody answers at: what is not on the shelf cannot come from elsewhere.
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", "rehearse", *chosen],
        cwd=REPOSITORY,
        env={**os.environ, **nowhere, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Rehearsed(folder, done.stdout)


def test_every_kind_of_face_says_that_it_is_a_rehearsal(rehearsed: Rehearsed) -> None:
    results = rehearsed.folder / "results"
    for ending in ("md", "csv", "tex", "html"):
        assert published.REHEARSAL in (results / f"tables/table1.{ending}").read_text()
    assert published.REHEARSAL in (results / "gallery/index.html").read_text()
    assert published.REHEARSAL in (results / "tables/provenance.html").read_text()
    assert (results / f"figures/grid_{MODEL}.png").is_file()


def test_no_published_number_stands_in_a_rehearsals_table(rehearsed: Rehearsed) -> None:
    table = pd.read_parquet(rehearsed.folder / "results/tables/table1.parquet")
    assert set(table["method"]) == {
        "base",
        "hypernoise",
        "lora_finetune",
        "lora_finetune_final",
        "best_of_n",
        "reno",
    }
    assert not [name for name in table if "published" in name]
    assert set(table["world"]) == {published.REHEARSAL}


def test_the_account_says_what_ran_and_what_was_replaced(rehearsed: Rehearsed) -> None:
    said = rehearsed.account
    for part in (
        "passed: the workflow ran to its end",
        "144 images",
        "4 steps of training",
        "model sd_turbo: stabilityai/sd-turbo",
        "facebook/mask2former-swin-small-coco-instance",
        "What only the real run can show",
        "## Jobs and GPU hours",
    ):
        assert part in said
    assert (rehearsed.folder / "account.md").read_text(encoding="utf-8") in said
    checks = pd.read_csv(rehearsed.folder / "checks.csv")
    assert len(checks) == 7
    assert checks["passed"].all()
    machine = json.loads((rehearsed.folder / "provenance.json").read_text(encoding="utf-8"))
    assert machine["packages"]["torch"] == torch.__version__


def test_a_rehearsal_has_the_real_ones_declarations_but_for_what_was_replaced(
    rehearsed: Rehearsed,
) -> None:
    real, made = declared(REPOSITORY / "workflows"), declared(rehearsed.folder / "workflows")
    config = read(load_yaml(rehearsed.folder / "rehearsal.yaml"), "rehearsal.yaml")
    assert config.rehearsal
    assert config.training["default"].model_dump()["precision"] == "bf16"
    spec = made.models[MODEL]
    assert spec.target == real.models[MODEL].target
    assert spec.revision == real.models[MODEL].revision
    assert spec.arguments["dtype"] == "bfloat16"
    assert spec.size_px < real.models[MODEL].size_px


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("done")
    config = REPOSITORY / "workflows/config/paper.yaml"
    with pytest.raises(SpecError, match="no rehearsal's folder"):
        rehearse.run(config, (), (), tmp_path, 1, REPOSITORY / "workflows", resume=False)


def test_figures_galleries_and_pages_are_marked() -> None:
    assert [text.get_text() for text in marked(Figure()).texts] == [published.REHEARSAL]
    assert published.REHEARSAL in marked(Gallery({"models": []}, {})).data["rehearsal"]
    assert published.REHEARSAL in marked("<style></style><p>numbers</p>")


def test_printed_numbers_are_hidden_only_where_they_are_asked_to_be() -> None:
    with published.hidden():
        assert published.results().empty
        assert not published.hyperparameters("table4")
        assert published.world("geneval") == published.REHEARSAL
    assert len(published.results()) > 0
    assert published.hyperparameters("table4")
    assert published.world("geneval") == "paper"
