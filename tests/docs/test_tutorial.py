"""The tutorial runs as it is written, on the results of a run, and is kept without outputs."""

from __future__ import annotations

import re
from contextlib import chdir
from pathlib import Path

import micro_runs
import nbformat
import pytest
from experiments import load
from nbclient import NotebookClient
from paths import REPOSITORY

from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.report import make
from harness.stages import generate, score, train
from harness.timing import profile

NOTEBOOK = REPOSITORY / "docs" / "tutorial.ipynb"
MODEL, REWARD = micro_runs.MODEL, micro_runs.REWARD


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the results of a run of one method beside the base."""
    registry = micro_runs.prepared(tmp_path)
    methods = {"methods": ["base", "hypernoise"], "image_sets": {}}
    config = load("tiny.yaml") | micro_runs.CONFIG | methods
    with chdir(tmp_path):
        experiment = Experiment(read(config, "micro.yaml"), registry, "micro.yaml")
        planned = Planned(experiment)
        for training in experiment.trainings():
            train.run(planned.train(*training))
        for wanted in experiment.runs("main", MODEL):
            generate.run(planned.generate(**wanted._asdict()))
        score.run(planned.score("main", MODEL))
        profile.run(planned.profile("main", MODEL))
        make.run(Table(experiment, registry.tables["table1"]).job())
    return tmp_path


def test_the_tutorial_runs_and_its_network_makes_images_redder(run: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(run)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    printed, pictures = "", 0
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            printed += output.get("text", "") if output.get("name") == "stdout" else ""
            pictures += "image/png" in output.get("data", {})
    mended, broken, n_images = map(
        int, re.findall(r"(\d+) mended, (\d+) broken, of (\d+) images", printed)[0]
    )
    assert mended + broken <= n_images == 12
    before, after = map(float, re.findall(r"redness (\S+) before, (\S+) with", printed)[0])
    assert after > before + 0.02
    assert pictures == 4
    assert (run / "tutorial" / "red" / "steps.parquet").is_file()


def test_the_tutorial_is_kept_without_what_it_shows() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert len(code) >= 8
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    assert NOTEBOOK.stat().st_size < 20_000
