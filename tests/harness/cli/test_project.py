"""Projects outside of a checkout: what is laid down, what is refused, what Snakemake is given."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from paths import REPOSITORY

from harness.base import own_code
from harness.cli.command_line import main
from harness.experiment.component_files import declared
from harness.experiment.config_files import extended, load_yaml
from hypernoise.weights.pins import located

TINY_SD = "hypernoise/shapeworld/weights/tiny_sd"


@pytest.fixture
def given_to_snakemake(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a command line was replaced by, if it was."""
    seen: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, words: seen.extend([program, *words]))
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    return seen


def test_a_project_is_laid_down_whole_and_without_what_python_left_there(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "project"
    assert main(["init", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {"Snakefile", "workflows", "profiles"}
    for name in own_code.PROJECT:
        files = [path for path in (REPOSITORY / name).rglob("*") if path.is_file()]
        for file in files or [REPOSITORY / name]:
            copy = folder / file.relative_to(REPOSITORY)
            assert copy.is_file() == ("__pycache__" not in file.parts), file
    assert declared(folder / "workflows").models.keys() == declared(Path("workflows")).models.keys()


@pytest.mark.parametrize("name", own_code.PROJECT)
def test_a_folder_that_holds_something_of_the_name_is_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    # Not even a link that leads nowhere is written through.
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert f"error: {tmp_path} holds {name} already" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {name, "notes.txt"}


def test_a_file_is_no_folder_for_a_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 2
    assert f"{tmp_path / 'file'} is no folder" in capsys.readouterr().err


def test_a_copy_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert main(["init", str(tmp_path)]) == 2
    assert "no space left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], ["--cores", "all"]),
        (["-n", "table1", "--configfile", "a.yaml", "b.yaml"], ["--cores", "all"]),
        (["table1", "--cores=2"], []),
        (["-c2"], []),
        (["-j", "2"], []),
        (["--jobs", "8", "--executor", "slurm"], []),
        (["--profile", "workflows/profiles/slurm"], []),
    ],
)
def test_snakemake_gets_its_arguments_in_their_order_and_cores_where_none_are_named(
    given_to_snakemake: list[str], typed_in_root: None, given: list[str], added: list[str]
) -> None:
    main(["run", *given])
    snakemake = [sys.executable, sys.executable, "-m", "snakemake"]
    assert given_to_snakemake == [*snakemake, *added, *given]


def test_a_run_without_a_snakefile_says_how_to_get_one(
    given_to_snakemake: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chdir(tmp_path):
        assert main(["run", "-n"]) == 2
        assert "`hypernoise init DIR` lays one down" in capsys.readouterr().err
        assert not given_to_snakemake
        main(["run", "--snakefile", "elsewhere/Snakefile"])
    assert given_to_snakemake


def test_words_that_no_other_verb_knows_are_still_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["list", "models", "--cores", "2"])
    assert "unrecognized arguments: --cores 2" in capsys.readouterr().err


def test_verbs_find_what_ships_wherever_one_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chdir(tmp_path):
        assert main(["list", "models"]) == 0
        assert "tiny_sd" in capsys.readouterr().out
        assert main(["explain", "tiny_sd", "reno", "matcher"]) == 0
        assert "learning_rate" in capsys.readouterr().out
        # The pins are a project's own: nothing is written beside the installed code.
        assert main(["pin", "--write"]) == 2
        assert "hypernoise init DIR" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
        (tmp_path / "workflows" / "models").mkdir(parents=True)
        assert main(["list", "models"]) == 0
        assert capsys.readouterr().out == "0 models\n"


def test_shipped_weights_are_of_the_working_directory_or_else_of_the_package(
    tmp_path: Path,
) -> None:
    with chdir(tmp_path):
        assert located(TINY_SD) == REPOSITORY / TINY_SD
        assert located("hypernoise/nothing") == Path("hypernoise/nothing")
        assert located("weights/own") == Path("weights/own")
        (tmp_path / TINY_SD).mkdir(parents=True)
        assert located(TINY_SD) == Path(TINY_SD)


def test_relative_places_of_declarations_are_also_beside_their_project(tmp_path: Path) -> None:
    project, own, elsewhere = (tmp_path / name for name in ("project", "own", "elsewhere"))
    declaration = 'add_{}("{}", target="{}", weights="{}", version=1{})\n'
    model = declaration.format("model", "m", "hypernoise.models.unet:SdTurbo", "w/m", ", size_px=8")
    matcher = "hypernoise.rewards.matcher:ShapeMatcher"
    reward = declaration.format("reward", "r", matcher, "w/r.safetensors", "")
    for folder, kind, text in ((project / "workflows", "models", model), (own, "rewards", reward)):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "one.smk").write_text(text)
    for folder in (project / "w" / "m", own / "w", elsewhere):
        folder.mkdir(parents=True)
    (own / "w" / "r.safetensors").write_text("")
    with chdir(elsewhere):
        found = declared(project / "workflows", own)
        assert found.models["m"].weights == str(project / "w" / "m")
        assert found.rewards["r"].arguments["weights"] == str(own / "w" / "r.safetensors")
        (elsewhere / "w" / "m").mkdir(parents=True)
        assert declared(project / "workflows", own).models["m"].weights == "w/m"
    with chdir(project):
        assert declared(Path("workflows")).models["m"].weights == "w/m"


def test_a_config_anywhere_extends_one_that_ships_which_extends_its_neighbour(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.yaml").write_text("extends: workflows/config/tiny_seeds.yaml\nseed: 7\n")
    with chdir(tmp_path):
        content = extended(load_yaml(tmp_path / "own.yaml"), tmp_path)
    assert content["seed"] == 7
    assert content["training_seeds"] == [0, 1, 2]
    assert "tiny_sana" in content["models"]
