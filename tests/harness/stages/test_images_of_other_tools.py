"""Images of other tools as a row: scored as ours, without pretending to share noise."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import MICRO_BENCHMARK, load
from micro_runs import CONFIG, MODEL, prepared
from PIL import Image

from harness.analysis.pairing import UNPAIRED
from harness.analysis.statistics import unpaired_difference
from harness.analysis.tables import table1
from harness.cli.geneval_folder import export
from harness.cli.verify import verify
from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.plan import Experiment, Run
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.report import make
from harness.results import frames
from harness.results.results_folder import survey
from harness.stages import generate, score
from harness.timing import profile
from harness.verification.findings import Folder
from harness.verification.reruns import Reruns

TARGET = "harness.benchmarks.given_images:GivenImages"
METHODS = ["theirs_folder", "theirs_table"]


def declare(folder: Path, name: str, images: str) -> None:
    file = folder / "workflows" / "methods" / f"{name}.smk"
    call = f'add_method("{name}", target="{TARGET}", images="{images}", version=1)\n'
    file.write_text(call, encoding="utf-8")


def frame(run: Run, folder: Path) -> Path:
    return next(
        (folder / "results" / "images" / "micro" / MODEL / run.method).rglob("images.parquet")
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which the base's own images come back as those of another tool."""
    folder = tmp_path_factory.mktemp("run")
    prepared(folder)
    # Two prompts of each task, which intervals need.
    more = MICRO_BENCHMARK.replace("n=6", "n=12")
    (folder / "workflows" / "benchmarks" / "micro.smk").write_text(more)
    declare(folder, "theirs_folder", "theirs/folder")
    declare(folder, "theirs_table", "theirs/images.csv")
    asked = {"methods": ["base", *METHODS], "image_sets": {}}
    with chdir(folder):
        registry = declared(Path("workflows"))
        shipped = load("tiny.yaml")
        experiment = Experiment(read(shipped | CONFIG | asked, "m.yaml"), registry, "m.yaml")
        planned = Planned(experiment)
        base, *theirs = experiment.runs("main", MODEL)
        generate.run(planned.generate(**base._asdict()))
        export(frame(base, folder), folder / "theirs" / "folder")
        rows = frames.read_images([frame(base, folder)])
        rows["file"] = [
            f"{p}_{i}.webp" for p, i in zip(rows["prompt_id"], rows["image_index"], strict=True)
        ]
        for path, file in zip(rows["path"], rows["file"], strict=True):
            red, green, blue = Image.open(path).convert("RGB").split()
            swapped = Image.merge("RGB", (blue, red, green))
            swapped.save(folder / "theirs" / file, lossless=True)
        named = {"prompt_id": rows["prompt_id"], "image_index": rows["image_index"]}
        pd.DataFrame(named | {"path": rows["file"]}).to_csv("theirs/images.csv", index=False)
        for wanted in theirs:
            assert planned.needs_of(wanted)[-1].startswith("theirs/")
            generate.run(planned.generate(**wanted._asdict()))
        score.run(planned.score("main", MODEL))
        assert [timed.method.name for timed in planned.profile("main", MODEL).methods] == ["base"]
        profile.run(planned.profile("main", MODEL))
        for name in ("table1", "pareto", "provenance", "gallery"):
            make.run(Table(experiment, registry.tables[name]).job())
    return folder


def test_images_of_other_tools_land_in_table_1_with_unpaired_gains(finished: Path) -> None:
    table = pd.read_parquet(finished / "results" / "tables" / "table1.parquet").set_index("method")
    rows = table.loc[METHODS]
    assert rows["gain_over_base"].notna().all() and rows["gain_ci_low"].notna().all()
    # Those of the folder are the base's own images.
    for column in ("geneval_mean", "train_reward_mean", "judge_reward_mean"):
        assert rows.loc["theirs_folder", column] == table.loc["base", column]
    assert rows.loc["theirs_table", "train_reward_mean"] < table.loc["base", "train_reward_mean"]
    unknown = ["nfe", "params_m", "generation_ms", "end_to_end_ms"]
    assert rows[unknown].isna().all(axis=None)
    assert table.loc["base", unknown].notna().all()
    page = (finished / "results" / "tables" / "table1.md").read_text()
    assert UNPAIRED.format("theirs_folder, theirs_table") in " ".join(page.split())


def test_a_gain_over_another_tool_is_the_unpaired_difference_of_statistics(finished: Path) -> None:
    results = finished / "results"
    scores = frames.read(results / "scores" / "main" / f"{MODEL}.parquet", "scores")
    images = frames.read_all(sorted(results.rglob("images.parquet")), "images")
    timings = frames.read(results / "timings" / "main" / f"{MODEL}.parquet", "timings")
    table = table1(scores, images, timings).set_index("method")
    correct = scores[scores["metric"] == "geneval_correct"]
    sides = [correct[correct["method"] == name] for name in ("theirs_table", "base")]
    keys = [(s["value"], s["task"], s["prompt_meaning"]) for s in sides]
    wanted = unpaired_difference(*[tuple(map(np.asarray, key)) for key in keys])
    assert table.loc["theirs_table", "gain_ci_low"] == pytest.approx(wanted.low)
    assert table.loc["theirs_table", "gain_ci_high"] == pytest.approx(wanted.high)


def test_their_frames_say_that_noise_and_cost_are_unknown(finished: Path) -> None:
    (path,) = (finished / "results" / "images" / "micro" / MODEL / "theirs_table").rglob(
        "images.parquet"
    )
    rows = frames.read(path, "images")
    assert set(rows["seed"]) == {frames.NO_SEED}
    assert rows[["nfe", "reward_calls", "backward_passes"]].isna().all(axis=None)
    assert all((path.parent / name).read_bytes()[:4] == b"\x89PNG" for name in rows["path"])


def test_verify_passes_them_and_takes_them_again(finished: Path) -> None:
    with chdir(finished):
        registry, found = declared(Path("workflows")), survey("results")
        assert not verify(found, registry)
        assert not list(Reruns(Folder(found, registry)).images(2))


def test_a_missing_image_stops_the_run_before_anything_is_made(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "theirs" / "folder", finished / "theirs" / "cut")
    (finished / "theirs" / "cut" / "00002" / "samples" / "0001.png").unlink()
    declare(finished, "theirs_cut", "theirs/cut")
    with chdir(finished):
        asked = {"methods": ["base", "theirs_cut"], "image_sets": {}}
        config = read(load("tiny.yaml") | CONFIG | asked, "m.yaml")
        experiment = Experiment(config, declared(Path("workflows")), "m.yaml")
        wanted = experiment.runs("main", MODEL)[-1]
        job = Planned(experiment).generate(**wanted._asdict())
        with pytest.raises(ValueError, match=r"theirs/cut: missing images: prompt '\S+' image 1$"):
            generate.check_ahead(job)
