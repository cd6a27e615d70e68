"""Tables 3 and 4: how networks are trained, ours beside the paper's."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from experiments import load
from paths import REPOSITORY
from shared_data import SHARED, needs

from harness.analysis import published
from harness.analysis.hyperparameters import hyperparameters
from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.jobs import TableJob
from harness.experiment.plan import Experiment
from harness.experiment.providers import Table
from harness.report import make
from harness.report.formats import markdown

FACTS = "paper/hyperparameters.csv"


def job_of(config: str, table: str) -> TableJob:
    made = Experiment(read(load(config), config), declared(REPOSITORY / "workflows"), config)
    assert table in made.config.tables
    return Table(made, made.registry.tables[table]).job()


def made(config: str, table: str) -> pd.DataFrame:
    # As a job carries it, as JSON.
    return hyperparameters(**json.loads(json.dumps(dict(job_of(config, table).table.arguments))))


def value(table: pd.DataFrame, model: str, method: str, name: str) -> pd.Series:
    rows = table.set_index(["model", "method", "hyperparameter"])
    return rows.loc[(model, method, name)]


@needs(FACTS)
def test_the_published_hyperparameters_are_the_facts() -> None:
    shipped = Path(published.__file__).with_name("hyperparameters.csv")
    assert shipped.read_text("utf-8") == (SHARED / FACTS).read_text("utf-8")


@pytest.mark.parametrize(("name", "trainings", "printed"), [("table3", 2, 2), ("table4", 6, 4)])
def test_the_papers_trainings_have_its_hyperparameters_in_every_row(
    name: str, trainings: int, printed: int
) -> None:
    table = made("paper.yaml", name)
    assert len(table.groupby(["model", "method"])) == trainings
    known = table[table["published"].notna()]
    assert len(known) == 12 * printed
    compared = known[known["hyperparameter"] != "gpus"]
    assert compared["agrees"].all(), compared[~compared["agrees"]]
    assert "its code makes that 640" in markdown(table, "origin")


def test_both_sides_have_the_papers_numbers() -> None:
    table = made("paper.yaml", "table3")
    for method, rate in (("hypernoise", "0.001"), ("lora_finetune", "0.0001")):
        assert list(value(table, "sana_sprint_0_6b", method, "learning_rate")) == [rate, rate, True]
    table = made("paper.yaml", "table4")
    flux = [value(table, "flux_schnell", "hypernoise", n) for n in ("alpha", "optimizer", "epochs")]
    assert [list(row) for row in flux] == [
        ["640", "640", True],
        ["adamw", "adamw", True],
        ["25", "25", True],
    ]
    assert value(table, "sd_turbo", "hypernoise", "gpus")["published"] == "6xH100"
    assert pd.isna(value(table, "sd_turbo", "lora_finetune", "alpha")["published"])


def test_what_differs_from_the_paper_says_so() -> None:
    arguments = dict(job_of("paper.yaml", "table4").table.arguments)
    recipes = [{**recipe, "learning_rate": 0.002} for recipe in arguments["recipes"]]
    table = hyperparameters(recipes=recipes, printed_as="table4")
    rate = value(table, "sd_turbo", "hypernoise", "learning_rate")
    assert list(rate) == ["0.002", "0.001", False]
    with pytest.raises(ValueError, match=r"'table5'.*table3, table4"):
        hyperparameters(recipes=recipes, printed_as="table5")


def test_the_embedded_world_has_its_own_alone_and_options_that_are_defaults_too() -> None:
    table = made("tiny_full.yaml", "table4")
    assert list(table) == ["model", "method", "hyperparameter", "ours"]
    assert len(table.groupby(["model", "method"])) == 6
    assert value(table, "tiny_sana", "hypernoise", "rank")["ours"] == "16"
    assert value(table, "tiny_sana", "hypernoise", "optimizer")["ours"] == "adamw"
    assert value(table, "tiny_sana", "hypernoise", "images")["ours"] == str(350 * 32)
    assert "None of these trainings is the paper's" in markdown(table, "origin")
    redness = made("tiny_full.yaml", "table3")
    assert value(redness, "tiny_sana", "hypernoise", "n_prompts")["ours"] == "30"


def test_a_table_that_needs_no_frame_is_written_with_no_rows_behind_it(tmp_path: Path) -> None:
    job = job_of("paper.yaml", "table3")
    make.run(TableJob(job.table, {}, str(tmp_path / "table3")))
    assert len(pd.read_parquet(tmp_path / "table3.rows.parquet")) == 0
    assert "| sana_sprint_0_6b | hypernoise | rank | 128 | 128 | True |" in (
        tmp_path / "table3.md"
    ).read_text("utf-8")
