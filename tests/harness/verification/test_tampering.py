"""Whoever changes a finished run by hand is found out: by its files alone, or by a rerun.

A careless forger changes rows, and leaves the provenance. A careful one reads this project's code
and makes digest and seal again; what he cannot know is what other frames, and reruns, say.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import micro_runs
import pandas as pd
import pyarrow.parquet as pq
import pytest
from forgeries import forge, rewrite
from paths import REPOSITORY
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from harness.cli.verify import verify
from harness.experiment.components import Registry
from harness.experiment.jobs import ScoreJob, TableJob
from harness.experiment.validation import checked, from_json
from harness.report import front_page, make
from harness.results import frames, provenance
from harness.results.results_folder import survey
from harness.stages import score
from harness.verification.findings import Folder
from harness.verification.reruns import Reruns

IMAGES = Path("results/images/micro/tiny_sana")
BASE, BEST = (IMAGES / name / "steps1" for name in ("base/none", "best_of_n/matcher"))
SCORES, PAIRS, TIMINGS = (
    Path(f"results/{name}/tiny_sana.parquet")
    for name in ("scores/main", "pairs/diversity", "timings/main")
)
TRAINING = Path("results/training/tiny_sana/matcher/hypernoise")
FINETUNE = TRAINING.with_name("lora_finetune")
MATCHED = Path("results/matched/tiny_sana/matcher/lora_finetune")
AUDITS = Path("results/audits/tiny_sana/matcher/hypernoise.parquet")
TABLE = Path("results/tables/table1.parquet")
WEIGHTS = Path("hypernoise/shapeworld/weights")
Change = Callable[[pd.DataFrame], pd.DataFrame]


class Run(NamedTuple):
    """A finished run that nobody has touched."""

    folder: Path
    registry: Registry


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("micro")
    return Run(folder, micro_runs.run(folder))


@pytest.fixture
def registry(finished: Run, tmp_path: Path) -> Iterator[Registry]:
    """The working folder is a copy of the run, which a test may spoil."""
    shutil.copytree(finished.folder / "results", tmp_path / "results")
    weights = tmp_path / WEIGHTS
    weights.parent.parent.mkdir()
    shutil.copytree(REPOSITORY / WEIGHTS, weights)
    with chdir(tmp_path):
        yield finished.registry


def findings(registry: Registry) -> list[str]:
    return [str(finding) for finding in verify(survey("results"), registry)]


def assert_found(registry: Registry, path: Path | str, *words: str) -> None:
    """Some finding is about a file, and says all the words."""
    found = findings(registry)
    about = [line for line in found if line.startswith(f"{path}: ")]
    assert any(all(word in line for word in words) for line in about), found


def forge_sidecar(path: Path) -> None:
    """Make the hashes and the seal of a folder's provenance again."""
    record = json.loads(path.read_text())
    hashes = {name: provenance.digest(path.parent / name) for name in record["outputs"]}
    path.write_text(json.dumps(provenance.sealed(record, outputs=hashes)))


def made_table_again() -> None:
    """As `snakemake` does by itself where a frame is newer than its table."""
    record = frames.read_provenance(TABLE)
    make.run(from_json(json.dumps(record["spec"]), TableJob))


def made_all_again() -> None:
    """Tables, figures, gallery and pages, as a whole run makes them of its frames."""
    for made in survey("results").made:
        if made.kind.partition(" ")[0] in ("table", "figure", "gallery", "page"):
            make.run(from_json(json.dumps(dict(made.spec)), TableJob))
    front_page.run("results")


def at(rows: pd.DataFrame, column: str, place: int, value: Any) -> pd.DataFrame:
    changed = rows.copy()
    changed.loc[changed.index[place], column] = value
    return changed


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def best_tenfold(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(ms=rows["ms"].mask(rows["method"] == "best_of_n", rows["ms"] / 10))


def test_a_run_that_nobody_touched_has_no_finding(registry: Registry) -> None:
    assert findings(registry) == []


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (SCORES, lambda rows: rows.assign(value=1.0)),
        (TIMINGS, best_tenfold),
        (PAIRS, lambda rows: rows.assign(value=rows["value"] * 2)),
        (AUDITS, lambda rows: rows.assign(kl_nats=0.0)),
        (TRAINING / "steps.parquet", lambda rows: at(rows, "value", 0, 9.0)),
        (BEST / "trajectories.parquet", lambda rows: at(rows, "value", 0, 99.0)),
        (BASE / "images.parquet", lambda rows: rows.assign(nfe=0.5)),
    ],
    ids=["scores", "timings", "pairs", "audits", "training", "trajectories", "images"],
)
def test_edited_rows_are_found_though_tables_were_made_again(
    registry: Registry, path: Path, change: Change
) -> None:
    rewrite(path, change)
    made_table_again()
    assert_found(registry, path, "its rows are not those that were written")


def test_forged_metadata_is_found_though_the_table_was_made_again(registry: Registry) -> None:
    table = pq.read_table(SCORES)
    record = frames.read_provenance(SCORES) | {"commit": "0" * 40}
    record["packages"]["torch"] = "9.9"
    told = json.dumps(record).encode()
    pq.write_table(table.replace_schema_metadata({b"hypernoise": told}), SCORES)
    made_table_again()
    assert_found(registry, SCORES, "its provenance was edited after it was written")


@pytest.mark.parametrize("suffix", [".md", ".html", ".tex"])
def test_any_word_in_a_provenance_line_is_found(registry: Registry, suffix: str) -> None:
    path = TABLE.with_suffix(suffix)
    edit(path, "; commit ", "; GenEval mean of best_of_n: 0.999; commit ")
    assert_found(registry, path, "line ", "GenEval mean of best_of_n: 0.999")


def another_judge(path: Path) -> None:
    """The judge with other numbers; the reward's file would not load in its place."""
    with safe_open(WEIGHTS / "matcher_judge.safetensors", "pt") as file:
        tensors = {name: 1.5 * file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, file.metadata())


def test_a_judge_with_other_weights_is_found(registry: Registry, tmp_path: Path) -> None:
    record = frames.read_provenance(SCORES)
    judge = WEIGHTS / "matcher_judge.safetensors"
    kept = judge.read_bytes()
    another_judge(tmp_path / "judge.safetensors")
    shutil.copy(tmp_path / "judge.safetensors", judge)
    try:
        score.run(from_json(json.dumps(record["spec"]), ScoreJob))
    finally:
        judge.write_bytes(kept)
    made_table_again()
    named = "was made with other weights of reward matcher_judge"
    assert_found(registry, SCORES, named, "the SHA-256 differs of weights")


def test_a_judge_under_another_declaration_is_found(registry: Registry) -> None:
    job = from_json(json.dumps(frames.read_provenance(SCORES)["spec"]), ScoreJob)
    other = Path("other_judge.safetensors")
    another_judge(other)
    twin = replace(job.rewards["judge_reward"], arguments={"weights": str(other)})
    score.run(replace(job, rewards={**job.rewards, "judge_reward": twin}))
    made_table_again()
    assert_found(registry, SCORES, "other_judge.safetensors as weights of reward matcher_judge")


def test_provenance_without_hashes_of_weights_is_found(registry: Registry) -> None:
    forge(SCORES, weights={})
    assert_found(registry, SCORES, "lacks the SHA-256 of weights of reward matcher_judge")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_every_checkpoint_is_compared_the_unused_ones_too(registry: Registry, step: int) -> None:
    path = FINETUNE / "checkpoints" / f"step_{step:06d}" / "adapter_model.safetensors"
    other = TRAINING / "checkpoints" / f"step_{step:06d}" / "adapter_model.safetensors"
    shutil.copy(other, path)
    assert_found(registry, path, "was changed after it was made")


@pytest.mark.parametrize("content", [b"", b"%PDF-1.4 other"])
def test_an_emptied_or_replaced_pdf_is_found(registry: Registry, content: bytes) -> None:
    path = Path("results/figures/pareto.pdf")
    path.write_bytes(content)
    assert_found(registry, path, "was changed after it was made")


def test_a_swapped_picture_is_found_though_its_hash_was_put_into_the_scores(
    registry: Registry,
) -> None:
    first, second = sorted((BASE / "png").glob("*.png"))[:2]
    shutil.copy(second, first)
    spec = frames.read_provenance(SCORES)
    inputs = spec["inputs"] | {str(BASE / "png"): provenance.digest(BASE / "png")}
    forge(SCORES, inputs=inputs)
    made_table_again()
    assert_found(registry, BASE / "png", "was changed after it was made")


def test_a_frame_of_another_run_in_its_place_is_found(registry: Registry) -> None:
    shutil.copy(BASE / "images.parquet", BEST / "images.parquet")
    assert_found(registry, BEST / "images.parquet", "so it is another file's")


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        (TIMINGS, best_tenfold, "a backbone pass of best_of_n"),
        (TIMINGS, lambda rows: rows.assign(ms=rows["ms"] * 1e6), "says that all took"),
        (
            TIMINGS,
            lambda rows: rows.assign(ms=rows["ms"].mask(rows["stage"] == "backbone", 1e5)),
            "and its stages",
        ),
        (PAIRS, lambda rows: rows.iloc[1:], "pairs of images"),
        (SCORES, lambda rows: rows.iloc[1:], "rows for 48 images"),
        (SCORES, lambda rows: at(rows, "image_index", 0, 7), "row 1 is of no image"),
        (AUDITS, lambda rows: rows.assign(is_kept=~rows["is_kept"]), "column is_kept"),
        (AUDITS, lambda rows: rows.assign(dropped_nats=0.5), "column dropped_nats"),
        (BEST / "trajectories.parquet", lambda rows: at(rows, "best_value", 1, 99.0), "row 2"),
        (BEST / "trajectories.parquet", lambda rows: rows.assign(nfe=1.0), "column nfe"),
        (BEST / "images.parquet", lambda rows: rows.assign(method="base"), "column method"),
    ],
)
def test_what_a_careful_forger_overlooks_is_found(
    registry: Registry, path: Path, change: Change, words: str
) -> None:
    forge(path, change)
    assert_found(registry, path, words)


def test_a_kept_step_whose_checkpoint_is_not_the_result_is_found(registry: Registry) -> None:
    path = TRAINING / "steps.parquet"
    rows = pd.read_parquet(path)
    is_kept = rows["kind"] == "kept"
    other = next(step for step in (1, 2, 3) if step != rows.loc[is_kept, "step"].iloc[0])
    forge(path, lambda rows: rows.assign(step=rows["step"].mask(is_kept, other)))
    assert_found(registry, path, f"is not that of the checkpoint of step {other}")


def test_a_matched_checkpoint_that_the_rewards_do_not_choose_is_found(registry: Registry) -> None:
    chosen = json.loads((MATCHED / "match.json").read_text())["step"]
    other = next(step for step in (1, 2, 3) if step != chosen)
    source = FINETUNE / "checkpoints" / f"step_{other:06d}" / "adapter_model.safetensors"
    shutil.copy(source, MATCHED / "adapter_model.safetensors")
    edit(MATCHED / "match.json", f'"step": {chosen}', f'"step": {other}')
    forge_sidecar(MATCHED / "provenance.json")
    assert_found(registry, MATCHED / "match.json", f"step: {other}", f"rows say {chosen}")
    assert_found(registry, MATCHED / "adapter_model.safetensors", "is not that of the checkpoint")


def test_an_edited_gallery_is_found_though_its_hashes_were_made_again(registry: Registry) -> None:
    page = Path("results/gallery/index.html")
    pictures = sorted(page.with_name("images").rglob("*.png"))
    shutil.copy(pictures[1], pictures[0])
    edit(page, '"benchmark":"micro"', '"benchmark":"GenEval"')
    forge_sidecar(page.with_name("provenance.json"))
    assert_found(registry, page, "written anew", "micro")
    assert_found(registry, page.with_name("images"), "other pictures", pictures[0].name)


def test_an_edited_page_of_provenance_is_found(registry: Registry) -> None:
    page = Path("results/tables/provenance.html")
    edit(page, "tiny_sana", "tiny_sana_x")
    assert_found(registry, page, "written anew")


def test_a_report_that_shows_another_table_is_found(registry: Registry) -> None:
    def write(content: bytes) -> None:
        uri = f"data:text/html;charset=utf8;filename=table1.html;base64,{content.decode()}"
        Path("results/report.html").write_text(json.dumps({"data_uri": uri}))

    table = TABLE.with_suffix(".html").read_bytes()
    write(base64.b64encode(table))
    assert findings(registry) == []
    write(base64.b64encode(table.replace(b"0.", b"0.9", 1)))
    assert_found(registry, "results/report.html", "shows another table1.html")
    # Older than the table, it is one of before.
    made = TABLE.with_suffix(".html").stat().st_mtime
    os.utime("results/report.html", (made - 60, made - 60))
    assert_found(registry, "results/report.html", "stale: ", "--report", "makes it again")


def test_a_time_that_other_work_explains_is_told_apart_from_a_wrong_one(registry: Registry) -> None:
    forge(TIMINGS, lambda rows: best_tenfold(rows).assign(slowdown=0.0))
    assert not [line for line in findings(registry) if "busy machine: " in line]
    forge(TIMINGS, lambda rows: rows.assign(slowdown=0.5))
    assert_found(registry, TIMINGS, "busy machine: ", "other work ran", "idle")


@pytest.mark.parametrize(
    "name",
    ["tables/best.csv", "figures/best.png", "numbers.txt", "gallery/more.html", "scores/x.json"],
)
def test_a_file_that_belongs_to_nothing_is_found(registry: Registry, name: str) -> None:
    path = Path("results", name)
    path.write_text("0.999") if path.suffix != ".png" else Image.new("RGB", (2, 2)).save(path)
    assert any(line.startswith(f"{path}: ") for line in findings(registry))


def reruns(registry: Registry, n: int) -> list[list[str]]:
    """What scoring, and generating, ``n`` images of each frame again finds."""
    again = Reruns(Folder(survey("results"), registry), seed=1)
    return [list(map(str, check(n))) for check in (again.scores, again.images)]


def test_reruns_of_a_run_that_nobody_touched_find_nothing(registry: Registry) -> None:
    assert reruns(registry, 3) == [[], []]


def test_scores_that_a_careful_forger_raised_are_found_by_scoring_again(registry: Registry) -> None:
    forge(SCORES, lambda rows: rows.assign(value=rows["value"].mask(rows.index < 40, 1.0)))
    made_all_again()
    # Nothing in the folder can tell: its seal, digest and table agree.
    assert findings(registry) == []
    scored, _ = reruns(registry, 48)
    assert any(line.startswith(f"{SCORES}: row of tiny_sana") for line in scored)
    assert any("column value: 1, measured again" in line for line in scored)


def test_pairs_that_a_careful_forger_raised_are_found_by_measuring_again(
    registry: Registry,
) -> None:
    forge(PAIRS, lambda rows: rows.assign(value=rows["value"] + 1))
    scored, _ = reruns(registry, 2)
    assert any(line.startswith(f"{PAIRS}: ") and "measured again" in line for line in scored)


def test_pictures_that_no_generator_made_are_found_by_generating_again(
    registry: Registry,
) -> None:
    first = sorted((BASE / "png").glob("*.png"))[0]
    Image.new("RGB", (32, 32), (255, 0, 0)).save(first)
    folder = provenance.digest(BASE / "png")
    forge(BASE / "images.parquet", outputs={"png": folder})
    score.run(from_json(json.dumps(frames.read_provenance(SCORES)["spec"]), ScoreJob))
    made_table_again()
    scored, made = reruns(registry, 48)
    assert not [line for line in scored if str(SCORES) in line]
    assert any(line.startswith(f"{first}: differs by") for line in made)


def test_a_frame_chooses_no_code_that_a_rerun_runs(registry: Registry) -> None:
    record = frames.read_provenance(SCORES)["spec"]
    record["rewards"]["judge_reward"]["name"] = "mine"
    record["rewards"]["judge_reward"]["target"] = "os:system"
    assert checked(record, ScoreJob, "job").rewards["judge_reward"].target == "os:system"
    forge(SCORES, spec=record)
    scored, _ = reruns(registry, 1)
    assert any("reward 'mine' is not declared here" in line for line in scored)


def test_a_number_on_the_first_page_that_no_table_gives_is_found(registry: Registry) -> None:
    page = Path("results/index.html")
    text = page.read_text(encoding="utf-8")
    number = re.search(r"<td[^>]*>(0\.\d{3})", text)
    assert number
    page.write_text(text.replace(number[1], "0.999", 1), encoding="utf-8")
    assert_found(registry, page, "0.999", "written anew", "harness summary")
