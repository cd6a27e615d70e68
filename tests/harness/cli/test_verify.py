"""``harness verify``: whatever is edited, cut, swapped or mixed in a results folder is named."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pandas as pd
import pytest
from forgeries import forge
from harness_toys import BENCHMARK, MODEL, REWARD, damage
from measured import METHODS, MODELS
from paths import REPOSITORY
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from harness.base.errors import SpecError
from harness.cli import verify as verify_verb
from harness.cli.command_line import main
from harness.cli.verify import verify
from harness.experiment.component_files import declared
from harness.experiment.components import MethodSpec, Registry, TableSpec
from harness.experiment.jobs import GenerateJob, ScoreJob, TableJob, Timed, TimingJob
from harness.report import figure_diff, make
from harness.report.frame_inputs import call
from harness.results import frames, provenance
from harness.results.results_folder import survey

KINDS = ("scores", "images", "timings")
WORKFLOWS = REPOSITORY / "workflows"
COMPONENTS = ("--components", str(WORKFLOWS))
REGISTRY = declared(WORKFLOWS)


FRAMES = {
    "images": [f"results/images/{m}/{n}/images.parquet" for m in MODELS for n in METHODS],
    "scores": ["results/scores/scores.parquet"],
    "timings": [f"results/timings/{model}.parquet" for model in MODELS],
}


def write_frames(results: Path, version: int = 1) -> None:
    """Images, their scores and timings as a run leaves them, with a 2 x 2 px file per image."""
    images = measured.images()
    images["path"] = [f"png/{number:04d}.png" for number in range(len(images))]
    benchmark = replace(BENCHMARK, name="shapes")
    for path in FRAMES["images"]:
        *_, model, method, _ = Path(path).parts
        rows = images[(images["model"] == model) & (images["method"] == method)]
        png = results / "images" / model / method / "png"
        png.mkdir(parents=True)
        for name in rows["path"]:
            number = int(Path(name).stem)
            Image.fromarray(np.full((2, 2, 3), number, np.uint8)).save(png.parent / name)
        job = GenerateJob(
            model=replace(MODEL, name=model),
            method=MethodSpec(method, "harness_toys:ToyMethod", 1),
            reward=None if method == "base" else replace(REWARD, name="matcher"),
            benchmark=benchmark,
            steps=1,
            seed=7,
            batch_size=4,
            adapter=None,
            out=path,
            work="work",
        )
        hashes = {"png": provenance.digest(png)}
        frames.write(rows, png.with_name("images.parquet"), "images", job, outputs=hashes)
    rewards = {"train_reward": replace(REWARD, version=version)}
    scored = ScoreJob(benchmark, rewards, tuple(FRAMES["images"]), *FRAMES["scores"])
    frames.write(measured.scores(), results / "scores" / "scores.parquet", "scores", scored)
    write_timings(results)


def write_timings(results: Path) -> None:
    timings, benchmark = measured.timings(), replace(BENCHMARK, name="shapes")
    for path in FRAMES["timings"]:
        model = Path(path).stem
        methods = tuple(Timed(MethodSpec(name, "harness_toys:ToyMethod", 1)) for name in METHODS)
        timed = TimingJob(replace(MODEL, name=model), methods, benchmark, path)
        rows = timings[timings["model"] == model]
        frames.write(rows, results / "timings" / Path(path).name, "timings", timed)


def table_job(**changes: Any) -> TableJob:
    spec = REGISTRY.tables["table1"]
    inputs = {kind: tuple(FRAMES[kind]) for kind in KINDS}
    return TableJob(spec, inputs | changes, "results/tables/table1")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder that nobody has touched."""
    monkeypatch.chdir(tmp_path)
    write_frames(Path("results"))
    make.run(table_job())
    return Path("results")


@pytest.fixture
def figure(results: Path) -> Path:
    """The PNG of a figure in the same folder."""
    spec = TableSpec("pareto", "harness.report.pareto:pareto", 1)
    make.run(TableJob(spec, table_job().inputs, "results/figures/pareto"))
    return results / "figures" / "pareto.png"


def findings(results: Path) -> list[str]:
    return [str(finding) for finding in verify(survey(results), REGISTRY)]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_untouched_folder_has_no_findings_wherever_it_is(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "results", *COMPONENTS]) == 0
    summary = capsys.readouterr().out.splitlines()[-1]
    counted = "1 tables, 0 figures, 0 galleries, 0 pages, 0 matches, 10 frames"
    assert summary == f"{counted}: every number can be traced"
    shutil.copytree(results, tmp_path / "elsewhere" / "renamed")
    shutil.rmtree(results)
    assert findings(tmp_path / "elsewhere" / "renamed") == []


def test_frames_of_other_packages_in_one_table_are_told_and_are_no_finding(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = provenance.packages()
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "packages", lambda: here | {"diffusers": "0.0"})
        write_timings(results)
    make.run(table_job())
    assert main(["verify", "results", *COMPONENTS]) == 0
    assert (
        "note: results/tables/table1.parquet: Made with different versions, side by side: "
        "diffusers 0.0 (2 of 9 frames, e.g. results/timings/tiny_a.parquet) and "
        f"{here['diffusers']} (7 of 9 frames, e.g. results/"
    ) in capsys.readouterr().out


def test_a_table_with_empty_cells_of_whole_numbers_is_recomputed(results: Path) -> None:
    arguments = {
        "models": ["tiny_a"],
        "runs": {"base": [1], "hypernoise": [1]},
        "ranks": {"tiny_a": {"hypernoise": 16}},
        "printed_as": "table2",
    }
    spec = TableSpec("table2", "harness.analysis.paper_tables:geneval", 1, arguments=arguments)
    inputs = {kind: table_job().inputs[kind] for kind in ("scores", "images")}
    job = TableJob(spec, inputs, "results/tables/table2")
    make.run(job)
    assert pd.read_parquet("results/tables/table2.parquet")["lora_rank"].isna().any()
    assert findings(results) == []


def test_a_number_edited_in_the_csv_is_named_with_row_and_column(results: Path) -> None:
    path = results / "tables" / "table1.csv"
    table = pd.read_csv(path)
    edit(path, str(table["geneval_mean"][1]), "0.9999")
    (found,) = findings(results)
    assert found.startswith(f"{path}: row 2 (tiny_a hypernoise")
    assert "column geneval_mean: 0.9999, recomputed 0." in found


def test_a_number_edited_in_the_markdown_is_named(results: Path) -> None:
    path = results / "tables" / "table1.md"
    head, _, _, row, *_ = path.read_text(encoding="utf-8").splitlines()
    cells, place = row.split(" | "), head.split(" | ").index("nfe")
    edit(path, row, " | ".join([*cells[:place], "17", *cells[place + 1 :]]))
    (found,) = findings(results)
    assert re.search(rf"^{path}: row 2 \(.*\), column nfe: 17, recomputed \d", found)


@pytest.mark.parametrize("suffix", [".tex", ".html"])
def test_an_edited_line_of_the_other_formats_is_named(results: Path, suffix: str) -> None:
    path = results / "tables" / f"table1{suffix}"
    edit(path, "0.7", "0.8")
    (found,) = findings(results)
    assert found.startswith(f"{path}: line ")


def test_a_number_edited_in_the_parquet_is_named(results: Path) -> None:
    path = results / "tables" / "table1.parquet"
    forge(path, lambda table: table.assign(generation_ms=table["generation_ms"] * [2, *[1] * 5]))
    (found,) = findings(results)
    assert found.startswith(f"{path}: row 1 (tiny_a base shapes), column generation_ms: ")


def test_rows_beside_a_table_that_are_not_those_of_its_frames_are_named(results: Path) -> None:
    path = results / "tables" / "table1.rows.parquet"
    forge(path, lambda rows: rows.assign(value=rows["value"].mask(rows.index == 3, 0.5)))
    (found,) = findings(results)
    assert found == f"{path}: holds other rows than the frames that it names"


def test_a_truncated_frame_is_named_and_what_hangs_on_it(results: Path) -> None:
    damage(results / "scores" / "scores.parquet")
    found = findings(results)
    assert any("scores.parquet is truncated or not parquet" in line for line in found)
    assert any("table1.parquet: cannot be recomputed" in line for line in found)
    assert main(["verify", "results", *COMPONENTS]) == 1


def test_frames_that_changed_after_the_table_was_made_are_named(results: Path) -> None:
    path = results / "scores" / "scores.parquet"
    forge(path, lambda rows: rows.assign(value=1.0))
    found = findings(results)
    table = results / "tables" / "table1.parquet"
    assert f"{table}: was made from another state of {path}: its SHA-256 differs" in found
    assert any("column geneval_mean" in line for line in found)
    assert sum(line.startswith(f"{table}: row") for line in found) <= 20


def test_an_image_that_changed_after_scoring_is_noticed(results: Path) -> None:
    png = results / "images" / "tiny_a" / "base" / "png"
    Image.new("RGB", (2, 2)).save(png / "0003.png")
    folder, scored = findings(results)
    assert folder == f"{png}: is missing or was changed after it was made"
    assert f"scores.parquet: was made from another state of {png}" in scored


def test_image_files_that_a_frame_names_must_exist(results: Path) -> None:
    (results / "images" / "tiny_a" / "base" / "png" / "0003.png").unlink()
    assert any("1 of 24 image files are missing: png/0003.png" in f for f in findings(results))


def test_a_frame_without_provenance_is_named(results: Path) -> None:
    measured.timings().to_parquet(results / "timings" / "tiny_a.parquet")
    found = findings(results)
    path = results / "timings" / "tiny_a.parquet"
    assert f"{path}: no provenance: none of its numbers can be traced" in found


def test_provenance_without_a_commit_is_no_provenance(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "unknown", "dirty": True})
    make.run(table_job())
    found = findings(results)
    assert [line.partition(":")[0] for line in found] == [
        str(results / "tables" / name) for name in ("table1.parquet", "table1.rows.parquet")
    ]
    assert all(line.endswith("provenance lacks commit: cannot be traced") for line in found)


def test_uncommitted_code_is_a_note_but_no_finding(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "f" * 40, "dirty": True})
    make.run(table_job())
    assert main(["verify", "results", *COMPONENTS]) == 0
    printed = capsys.readouterr().out
    assert "made by code with uncommitted changes" in printed
    assert "ffffffffffff" in printed


def test_a_figure_that_nobody_touched_is_redrawn_as_it_was(results: Path, figure: Path) -> None:
    shutil.copytree(results, results.parent / "elsewhere")
    assert findings(results) == findings(results.parent / "elsewhere") == []


def test_a_figure_with_other_pixels_is_named(results: Path, figure: Path) -> None:
    with Image.open(figure) as image:
        about = PngInfo()
        for name, text in image.info.items():
            if isinstance(text, str):
                about.add_text(name, text)
        image.putpixel((40, 30), (255, 0, 0, 255))
        image.save(figure, pnginfo=about)
    digest, found = findings(results)
    assert digest.startswith(f"{figure}: its pixels are not those that were written")
    assert found.startswith(f"{figure}: differs from what its frames give in 1 pixels, within x 40")


def test_a_figure_of_another_matplotlib_is_a_note_but_no_finding(
    results: Path,
    figure: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn_by = figure_diff.drawn_by(figure)
    monkeypatch.setattr("matplotlib.__version__", "0.1")
    forge(results / "scores" / "scores.parquet", lambda rows: rows.assign(value=1.0))
    assert main(["verify", "results", *COMPONENTS]) == 1
    printed = capsys.readouterr().out
    assert "note: 1 figures were not redrawn" in printed
    assert f"matplotlib {drawn_by} drew them, here is 0.1" in printed
    assert f"{figure}: was made from another state of" in printed
    assert "differs from what its frames give" not in printed


def test_a_figure_that_cannot_be_redrawn_or_lacks_its_pdf_is_named(
    results: Path, figure: Path
) -> None:
    # The benchmark's score of one image.
    forge(results / "scores" / "scores.parquet", lambda rows: rows.drop(index=3))
    figure.with_suffix(".pdf").unlink()
    found = findings(results)
    pdf = figure.with_suffix(".pdf")
    assert f"{pdf}: is missing or was changed after it was made" in found
    assert any(line.startswith(f"{figure}: cannot be redrawn: ") for line in found)


def test_a_table_without_its_parquet_cannot_be_traced(results: Path) -> None:
    shutil.copy(results / "tables" / "table1.csv", results / "tables" / "best.csv")
    (found,) = findings(results)
    assert found.startswith(f"{results / 'tables' / 'best.csv'}: no parquet with provenance")


def with_record(path: Path, job: TableJob, **changes: Any) -> None:
    """Put another provenance into a table's parquet."""
    record = provenance.parse(provenance.collect(f"table {job.table.name}", job))
    forge(path, **{**record, **changes})


def test_a_table_that_is_declared_nowhere_is_not_recomputed(results: Path) -> None:
    spec = TableSpec("table1b", "measured:scores", 1)
    with_record(results / "tables" / "table1.parquet", replace(table_job(), table=spec))
    (found,) = findings(results)
    assert "cannot be recomputed: unknown table 'table1b'; did you mean 'table1'?" in found


def test_the_function_of_a_table_is_the_declared_one_whatever_the_file_says(results: Path) -> None:
    job = table_job()
    elsewhere = replace(job.table, target="os:system")
    with_record(results / "tables" / "table1.parquet", replace(job, table=elsewhere))
    assert findings(results) == []


def test_a_table_of_another_version_says_which_is_declared(results: Path) -> None:
    job = table_job()
    newer = replace(job.table, version=99)
    with_record(results / "tables" / "table1.parquet", replace(job, table=newer))
    (found,) = findings(results)
    assert re.search(r"it is version 99 of table1, .*table1.smk declares \d", found)


def test_a_users_own_table_in_an_own_package_is_verified_where_it_is_declared(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_of_verify.py").write_text(
        "def counted(scores): return scores.groupby('method', as_index=False)['value'].count()"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "workflows" / "tables").mkdir(parents=True)
    (tmp_path / "workflows" / "tables" / "mine.smk").write_text(
        'add_table("mine", target="mine_of_verify:counted", version=1)\n'
    )
    registry = declared(tmp_path / "workflows")
    for path in (results / "tables").glob("table1.*"):
        path.unlink()
    make.run(TableJob(registry.tables["mine"], table_job().inputs, "results/tables/mine"))
    assert main(["verify", "results"]) == 0
    assert [str(finding) for finding in verify(survey(results), Registry())] == [
        f"{results}/tables/mine.parquet: cannot be recomputed: unknown table 'mine' (valid: none)"
    ]


def test_a_folder_of_another_layout_says_what_it_is(results: Path) -> None:
    path = results / "tables" / "table1.parquet"
    with_record(path, table_job(), layout=1, commit="abcdef0123456789")
    (found,) = findings(results)
    assert found.startswith(f"{results}: 1 of its files are of another layout of the harness")
    assert f"(commit abcdef012345; layout 1, here is {provenance.LAYOUT}), e.g." in found


def test_two_versions_of_one_component_make_no_table(results: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "old", version=2)
    both = ("results/scores/scores.parquet", "old/scores/scores.parquet")
    with pytest.raises(SpecError, match="reward 'toy_reward' is of version 1 in"):
        call(table_job(scores=both))


def test_a_table_of_mixed_versions_is_found_afterwards(results: Path) -> None:
    newer = replace(BENCHMARK, name="shapes", version=9)
    job = ScoreJob(newer, {}, (), "results/timings/tiny_a.parquet")
    frames.write(measured.timings(), "results/timings/tiny_a.parquet", "timings", job)
    found = findings(results)
    assert any("benchmark 'shapes' is of version 1 in" in f for f in found)


def test_a_missing_score_names_rows_and_files(results: Path) -> None:
    forge(results / "scores" / "scores.parquet", lambda rows: rows.drop(index=5))
    with pytest.raises(ValueError, match="image without a score: prompt '") as error:
        call(table_job())
    assert "see results/images/tiny_a/base/images.parquet" in str(error.value)


def test_a_missing_or_empty_folder_is_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path / "no"), *COMPONENTS]) == 2
    assert main(["verify", str(tmp_path), *COMPONENTS]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"error: results folder {tmp_path / 'no'} is missing"
    (tmp_path / "README.md").touch()
    assert main(["verify", str(tmp_path / "README.md"), *COMPONENTS]) == 2
    assert "README.md is a file: name the folder" in capsys.readouterr().err
    assert second.startswith(f"error: {tmp_path} holds no results")


def test_results_of_own_components_say_which_folder_verify_was_not_told_of(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify_verb.run(str(results), [WORKFLOWS], 0, 0, 0)
    assert "--components" not in capsys.readouterr().out
    file = str(Path("own", "rewards", "mine.smk").absolute())
    mine = {"train_reward": replace(REWARD, name="my_reward", file=file)}
    job = ScoreJob(replace(BENCHMARK, name="shapes"), mine, (), *FRAMES["scores"])
    frames.write(measured.scores(), Path(*FRAMES["scores"]), "scores", job)
    said = f"my_reward: not declared in the folders of --components; .* {Path('own').absolute()},"
    assert verify_verb.run(str(results), [WORKFLOWS], 0, 0, 0) == 1
    assert re.search(said, capsys.readouterr().out)
    Path(file).parent.mkdir(parents=True)
    Path(file).write_text('add_reward("my_reward", target="harness_toys:Redness", version=1)')
    verify_verb.run(str(results), [WORKFLOWS, Path("own")], 0, 0, 0)
    assert "--components" not in capsys.readouterr().out
