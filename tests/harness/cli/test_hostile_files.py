"""Files that come from somebody else choose neither what code runs nor which files are read."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import measured
import pandas as pd
import pyarrow.parquet as pq
import pytest
from harness_toys import BENCHMARK, REWARD
from paths import REPOSITORY
from PIL import Image

from harness.analysis.notebook import load
from harness.base.errors import SpecError
from harness.base.safe_paths import below
from harness.cli.command_line import main
from harness.experiment.component_files import declared
from harness.experiment.jobs import ScoreJob, TableJob
from harness.experiment.validation import to_json
from harness.report import make
from harness.report.grids import read_pixels
from harness.results import frames, provenance
from harness.results.image_files import check_intact, decoded, upright
from harness.results.resume import Work
from harness.results.training_folder import NETWORK_FILES, copy_network
from hypernoise.weights.folders import check_folder

WORKFLOWS = REPOSITORY / "workflows"
COMPONENTS = ("--components", str(WORKFLOWS))
TABLES = declared(WORKFLOWS).tables
RESULTS = Path("results")
IMAGES = RESULTS / "images" / "images.parquet"
SCORES = RESULTS / "scores" / "set" / "scores.parquet"
TABLE = RESULTS / "tables" / "table1.parquet"


def table_job(name: str, *kinds: str, out: str = "results/tables/x", **given: Any) -> TableJob:
    files = {"images": str(IMAGES), "scores": str(SCORES), "timings": "results/timings/t.parquet"}
    spec = replace(TABLES[name], arguments={**TABLES[name].arguments, **given})
    return TableJob(spec, {kind: (files[kind],) for kind in kinds}, out)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a results folder as a run leaves it."""
    folder = tmp_path_factory.mktemp("untouched")
    with chdir(folder):
        rows = measured.images()
        rows["path"] = [f"png/{number:03}.png" for number in range(len(rows))]
        (IMAGES.parent / "png").mkdir(parents=True)
        for name in rows["path"]:
            Image.new("RGB", (8, 8)).save(IMAGES.parent / name)
        frames.write(rows, IMAGES, "images", {"out": str(IMAGES)})
        job = ScoreJob(BENCHMARK, {"train_reward": REWARD}, (str(IMAGES),), str(SCORES))
        frames.write(measured.scores(), SCORES, "scores", job)
        timings = RESULTS / "timings" / "t.parquet"
        frames.write(measured.timings(), timings, "timings", {"out": str(timings)})
        out = str(TABLE.with_suffix(""))
        make.run(table_job("table1", "scores", "images", "timings", out=out))
    return folder


@pytest.fixture
def secret(untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image outside of the results folder, beside the folder that tests run in."""
    shutil.copytree(untouched, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    return secret


def rewrite(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    stored = pq.read_table(path)
    changed = type(stored).from_pandas(
        change(stored.to_pandas()), schema=stored.schema, preserve_index=False
    )
    pq.write_table(changed, path)


def say(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the provenance of a parquet file."""
    stored = pq.read_table(path)
    record = provenance.parse(stored.schema.metadata[b"hypernoise"].decode())
    change(record)
    pq.write_table(
        stored.replace_schema_metadata({b"hypernoise": json.dumps(record).encode()}), path
    )


def name_image(place: str) -> None:
    """Let the first row of the image frame name another file."""
    rewrite(IMAGES, lambda rows: rows.assign(path=[place, *rows["path"][1:]]))


def link_image(secret: Path) -> str:
    """Put a link in the place of the first image."""
    (IMAGES.parent / "png" / "000.png").unlink()
    (IMAGES.parent / "png" / "000.png").symlink_to(secret)
    return "png/000.png"


def link_folder(secret: Path) -> str:
    """Put a link in the place of the images' folder."""
    png = IMAGES.parent / "png"
    png.rename(secret.parent / "elsewhere")
    png.symlink_to(secret.parent / "elsewhere")
    return "png/000.png"


#: What a hostile frame of images does -> the path that it then names.
PATHS: Mapping[str, Callable[[Path], str]] = {
    "absolute": lambda secret: str(secret),
    "above": lambda secret: "../../../secret.png",
    "through a folder": lambda secret: "png/../../../../secret.png",
    "link": link_image,
    "folder that is a link": link_folder,
}
SCORE = ScoreJob(BENCHMARK, {"train_reward": REWARD}, (str(IMAGES),), "out/scores.parquet")


def job_of(verb: str, job: Any) -> list[str]:
    return [verb, "--job", to_json(job)]


#: Every verb that reads frames of images.
READERS: Mapping[str, Callable[[], list[str]]] = {
    "score": lambda: job_of("score", SCORE),
    "gallery": lambda: job_of(
        "gallery", table_job("gallery", "images", "scores", out="out/gallery/index")
    ),
    "table": lambda: job_of("table", table_job("table1", "scores", "images", "timings")),
    "figure": lambda: job_of("figure", table_job("pareto", "scores", "images", "timings")),
    "compare": lambda: ["compare", "results", "results"],
    "export-geneval": lambda: ["export-geneval", str(IMAGES), "out/geneval"],
}


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("way", PATHS)
def test_no_frame_leads_out_of_its_folder(
    secret: Path, way: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = PATHS[way](secret)
    name_image(place)
    capsys.readouterr()
    assert main(READERS[verb]()) == 2
    said = capsys.readouterr().err
    assert f"{IMAGES} names {place!r}" in said
    assert f"outside {IMAGES.parent}" in said
    assert not [path for path in Path("out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("way", PATHS)
def test_verify_names_a_frame_that_leads_out_of_its_folder(
    secret: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = PATHS[way](secret)
    name_image(place)
    assert main(["verify", "results", *COMPONENTS]) == 1
    assert f"{IMAGES} names {place!r}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "place", ["/etc/secret.parquet", "results/../../secret.parquet", "secret.parquet"]
)
def test_verify_reads_no_frame_outside_the_folder(
    secret: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say(TABLE, lambda record: record["spec"]["inputs"].update(scores=[place]))
    say(TABLE, lambda record: record["inputs"].update({place: "0" * 64}))
    assert main(["verify", "results", *COMPONENTS]) == 1
    lines = capsys.readouterr().out.splitlines()
    (found,) = (line for line in lines if line.startswith(f"{TABLE}: cannot be recomputed: "))
    assert re.search(r"names .[^ ]*secret.parquet., which is outside", found)
    assert not any("SHA-256 differs" in line for line in lines)


def test_a_frame_that_is_a_link_out_of_the_folder_is_not_read(
    secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SCORES.rename(secret.parent / "scores.parquet")
    SCORES.symlink_to(secret.parent / "scores.parquet")
    assert main(["verify", "results", *COMPONENTS]) == 1
    assert "a link to" in capsys.readouterr().out
    assert main(["compare", "results", "results"]) == 2
    assert "a link to" in capsys.readouterr().err
    with pytest.raises(SpecError, match="a link to"):
        load("results")


def everywhere(value: Any, target: str) -> None:
    """Put a target into every declaration inside a record, and a command into its arguments."""
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            everywhere(inner, target)
    if isinstance(value, dict) and "target" in value:
        value["target"] = target
        value["arguments"] = {"of": "os:system", "command": "touch ran", "n": 1}


@pytest.mark.parametrize("target", ["os:system", "harness.benchmarks.prompts:subset"])
def test_no_file_chooses_what_code_runs(secret: Path, target: str) -> None:
    say(IMAGES, lambda record: record.update(spec={"benchmark": {"name": "x", "target": ""}}))
    for file in (IMAGES, SCORES, TABLE):
        say(file, lambda record: everywhere(record["spec"], target))
    verbs = [reader() for reader in READERS.values()]
    for verb in [*verbs, ["verify", "results", *COMPONENTS]]:
        main(verb)
        assert not Path("ran").exists(), verb
    load("results")
    page = replace(TABLES["provenance"], arguments={"config": {}})
    make.run(TableJob(page, {"scores": (str(SCORES),)}, "out/page"))
    assert not Path("ran").exists()


def test_paths_below_a_folder_may_be_reached_by_links_that_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").touch()
    (tmp_path / "real" / "b.png").symlink_to("a.png")
    (tmp_path / "link").symlink_to("real")
    names = ["real/a.png", "real/b.png", "link/a.png", "real/not_there.png", "real/../real/a.png"]
    assert below(tmp_path, names, "f") == [f"{tmp_path}/{name}" for name in names]
    # The folder itself may be a link.
    assert below(tmp_path / "link", ["a.png"], "f") == [f"{tmp_path}/link/a.png"]
    for name in ("..", "real/../..", "/", str(tmp_path / "real" / "a.png")):
        with pytest.raises(SpecError, match="which is outside"):
            below(tmp_path, [name], "f")


def test_a_job_from_a_file_names_declared_code_and_places_below_the_folder_only(
    secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("workflows").symlink_to(WORKFLOWS)
    honest = table_job("table1", "scores", "images", "timings")
    hostile = {
        "subprocess:getoutput": replace(
            honest, table=replace(honest.table, target="subprocess:getoutput", arguments={})
        ),
        "os:system": replace(
            honest, table=replace(honest.table, arguments={"of": "os:system", "command": "touch"})
        ),
        str(secret): replace(honest, out=str(secret)),
        "../x": replace(honest, out="../x"),
        "results/../../scores.parquet": replace(
            honest, inputs={"scores": ("results/../../scores.parquet",)}
        ),
    }
    for word, job in hostile.items():
        Path("job.json").write_text(to_json(job))
        assert main(["table", "--job", "job.json"]) == 2
        said = capsys.readouterr().err
        assert repr(word) in said
        assert "job.json" in said
    Path("job.json").write_text(to_json(honest))
    assert main(["table", "--job", "job.json"]) == 0
    assert main(["table", "--job", "nowhere.json"]) == 2
    assert "job file nowhere.json is missing" in capsys.readouterr().err


def test_an_image_in_postscript_reaches_no_interpreter(
    secret: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bin").mkdir()
    Path("bin/gs").write_text("#!/bin/sh\ntouch ran\n")
    Path("bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")
    Image.new("RGB", (8, 8)).save(IMAGES.parent / "png" / "000.png", "EPS")
    capsys.readouterr()
    assert main(READERS["gallery"]()) == 2
    assert "000.png" in capsys.readouterr().err
    for read in (read_pixels, decoded, upright, check_intact):
        with pytest.raises(ValueError, match=r"000\.png (is truncated|cannot be read)"):
            read(str(IMAGES.parent / "png" / "000.png"))
    assert not Path("ran").exists()


@pytest.mark.parametrize("suffix", [".md", ".csv", ".tex", ".html"])
def test_verify_shows_no_line_of_a_file_that_a_text_of_a_table_links_to(
    secret: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (secret.parent / "secret.txt").write_text("the key\nis this,and that\n")
    stored = TABLE.with_suffix(suffix)
    stored.unlink()
    stored.symlink_to(secret.parent / "secret.txt")
    assert main(["verify", "results", *COMPONENTS]) == 1
    said = capsys.readouterr().out
    assert "a link to" in said
    assert "the key" not in said
    assert "is this" not in said


def test_verify_hashes_no_folder_with_a_link_out_of_it(
    secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = RESULTS / "models" / "net"
    network.mkdir(parents=True)
    (network / "weights").symlink_to(secret)
    say(SCORES, lambda record: record["inputs"].update({str(network): "0" * 64}))
    assert main(["verify", "results", *COMPONENTS]) == 1
    assert f"{SCORES}: cannot be traced: {network} names 'weights'" in capsys.readouterr().out


def test_no_link_in_a_trained_network_is_copied(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the key")
    network = tmp_path / "net"
    network.mkdir()
    (network / NETWORK_FILES[0]).symlink_to(tmp_path / "secret")
    (network / NETWORK_FILES[1]).touch()
    with pytest.raises(SpecError, match="a link to"):
        copy_network(network, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_work_folder_with_a_link_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the key\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    for name, place in (("rows.jsonl", "secret"), ("png", "elsewhere")):
        Work(tmp_path / "work", "same")
        (tmp_path / "work" / name).symlink_to(tmp_path / place)
        work = Work(tmp_path / "work", "same")
        work.add([{"path": "a"}])
        assert work.rows() == [{"path": "a"}]
        assert not (tmp_path / "work" / "png").exists()
    assert (tmp_path / "secret").read_text() == "the key\n"
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_a_gallery_stays_in_its_folder_whatever_models_are_called(secret: Path) -> None:
    for file in (IMAGES, SCORES):
        first = frames.read_any(file)["model"].min()
        rewrite(file, lambda rows, first=first: rows.assign(model=rows.model.replace(first, "..")))
    job = table_job("gallery", "images", "scores", out="out/gallery/index")
    make.run(job)
    inside = [path.parts[:3] for path in Path("out").rglob("*.png")]
    assert set(inside) == {("out", "gallery", "images")}


@pytest.mark.parametrize("name", ["../elsewhere", "/etc"])
def test_no_index_of_weights_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({name: ["diffusers", "UNet"]}))
    with pytest.raises(ValueError, match="which is no folder's name"):
        check_folder(str(tmp_path))
    (tmp_path / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet"]}))
    (tmp_path / "unet").mkdir()
    index = tmp_path / "unet" / "x.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": f"{name}/x.safetensors"}}))
    with pytest.raises(ValueError, match="which is not in its folder"):
        check_folder(str(tmp_path))
