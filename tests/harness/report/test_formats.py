"""Formats of tables and the files that they are written to."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from paths import REPOSITORY

from harness.analysis.pairing import FrameError
from harness.analysis.tables import table1
from harness.base.errors import SpecError
from harness.experiment.components import TableSpec
from harness.experiment.jobs import TableJob
from harness.report.formats import PAGE_CHARACTERS, for_people, latex, markdown, page, write
from harness.report.make import run
from harness.results import frames

Frames = dict[str, pd.DataFrame]


def world() -> Frames:
    return {
        "scores": measured.scores(),
        "images": measured.images(),
        "timings": measured.timings(),
    }


def table_job(target: str, out: Path, **inputs: tuple[str, ...]) -> TableJob:
    return TableJob(TableSpec("mine", target, 3, file="tables/mine.smk"), inputs, str(out))


def written(folder: Path, world: Frames) -> dict[str, tuple[str, ...]]:
    for kind, frame in world.items():
        frames.write(frame, folder / f"{kind}.parquet", kind, {"made": "for a test"})
    return {kind: (str(folder / f"{kind}.parquet"),) for kind in world}


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.79234, 0.7551, 0.8249, "0.792 [0.76, 0.82]"),
        (0.5, 0.5, 0.5, "0.500"),
        (0.5, np.nan, np.nan, "0.500 [\N{EN DASH}, \N{EN DASH}]"),
        (0.1, 0.0034, 0.21, "0.100 [0.003, 0.21]"),
        (0.1, -0.0034, 0.21, "0.100 [-0.003, 0.21]"),
        (np.nan, np.nan, np.nan, "\N{EN DASH}"),
    ],
)
def test_intervals_are_rounded_but_never_onto_zero(
    value: float, low: float, high: float, text: str
) -> None:
    table = pd.DataFrame({"geneval_mean": [value], "x_ci_low": [low], "x_ci_high": [high]})
    assert for_people(table).to_dict("list") == {"geneval_mean": [text]}


def test_bounds_of_times_are_rounded_as_times_are() -> None:
    measured = {"generation_ms": [1065.03, 8.0], "generation_ms_ci_low": [1023.9, np.nan]}
    table = pd.DataFrame({**measured, "generation_ms_ci_high": [1114.98, np.nan]})
    dash = "\N{EN DASH}"
    assert list(for_people(table)["generation_ms"]) == [
        "1065 [1024, 1115]",
        f"8.00 [{dash}, {dash}]",
    ]


@pytest.mark.parametrize(
    ("name", "values", "texts"),
    [
        ("generation_ms", [1.2345, 13.41, 329.4, 0.123], ["1.23", "13.4", "329", "0.123"]),
        ("gain_over_base", [0.1812, -0.0004, -0.25, 0.0], ["+0.181", "+0.000", "-0.250", "0.000"]),
        ("learning_rate", [0.0005, 0.02, 5.0], ["0.0005", "0.02", "5"]),
        ("nfe", [1.0, 51.0], ["1", "51"]),
        ("params_m", [2.913728, 3.1], ["2.914", "3.100"]),
        ("train_reward_mean", [2.0, -0.00001], ["2.000", "0.000"]),
        ("n_images", [400, 96], ["400", "96"]),
        ("method", ["base", "a|b"], ["base", "a|b"]),
    ],
)
def test_numbers_are_rounded_as_their_unit_asks(
    name: str, values: list[Any], texts: list[str]
) -> None:
    assert for_people(pd.DataFrame({name: values}))[name].to_list() == texts


def small_table() -> pd.DataFrame:
    return table1(**world())


def test_markdown_shows_value_and_interval_together_and_escapes_pipes() -> None:
    table = small_table()
    table["reward"] = table["reward"].replace("matcher", "a|b")
    # What ties is said of rows by name, so of no row that is renamed here.
    table.attrs.pop("tied")
    table.loc[1, ["gain_ci_low", "gain_ci_high"]] = [0.0003, 0.4997]
    lines = markdown(table, "made by a test").splitlines()
    head = "| model | method | reward | steps | world | nfe | backbone_params_m | params_m |"
    assert lines[0].startswith(head)
    assert lines[1].startswith("| :-- | :-- | :-- | --: | :-- |")
    assert lines[3].startswith(
        "| tiny_a | hypernoise | a\\|b | 1 | shapes | 2 | 1.5 | 2.5 | "
        "4.50 [\N{EN DASH}, \N{EN DASH}] | "
        "5.00 [\N{EN DASH}, \N{EN DASH}] | 3 | 0 | 24 | 12 | **0.750 [0"
    )
    assert "| **+0.250 [+0.0003, +0.50]** |" in lines[3]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[:8]}) == 1
    assert lines[-1] == "made by a test"
    assert any("95 %" in line for line in lines)


def tabulars(text: str) -> list[list[list[str]]]:
    """The cells of each tabular of a LaTeX text, row by row; its column letters come first."""
    found = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    rows = [[line for line in body.splitlines() if line.endswith(r"\\")] for _, body in found]
    return [
        [list(shape), *(re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in lines)]
        for (shape, _), lines in zip(found, rows, strict=True)
    ]


def test_latex_has_as_many_cells_as_columns_and_no_bare_specials() -> None:
    text = latex(small_table().assign(reward="50%_&"), "50% of a_test")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert not [line for line in body if re.search(r"(?<!\\)[_%]", line)]
    for rows in tabulars(text):
        assert len(rows) == 2 + 6
        assert len({len(row) for row in rows}) == 1
    assert text.count(r"\midrule") == 2 * len(tabulars(text))
    assert r"50\%\_\&" in text


def test_a_latex_table_that_is_too_wide_comes_in_parts_with_every_column_once() -> None:
    table = small_table()
    texts = for_people(table)
    parts = tabulars(latex(table, "origin"))
    assert len(parts) > 1
    heads = [[cell.strip().replace(r"\_", "_") for cell in rows[1]] for rows in parts]
    # Model and method tell the rows apart.
    assert all(head[:2] == ["model", "method"] for head in heads)
    assert [name for head in heads for name in head[2:]] == list(texts.columns)[2:]
    for rows in parts:
        longest = [max(map(len, column)) for column in zip(*rows[1:], strict=True)]
        assert sum(longest) < 1.5 * PAGE_CHARACTERS


def test_a_latex_table_that_fits_is_one_tabular() -> None:
    text = latex(small_table()[["model", "method", "nfe"]], "origin")
    assert len(tabulars(text)) == 1
    assert "resizebox" not in text


class Cells(HTMLParser):
    """The texts of a page's table cells, row by row, its other tags, and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.references: set[str | None] = set()
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references |= {value for name, value in attrs if name in ("src", "href", "srcset")}
        self.inside = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        if self.inside:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def test_page_holds_the_same_cells_and_loads_nothing_from_elsewhere() -> None:
    table = small_table().assign(reward="<b>")
    cells = Cells()
    cells.feed(page(table, "table <1>", "made by a test"))
    assert cells.rows[1:] == for_people(table).to_numpy().tolist()
    assert not cells.tags & {"img", "b"}
    assert cells.references == {"data:,"}


def test_files_keep_every_digit_and_say_where_they_come_from(tmp_path: Path) -> None:
    table = small_table()
    job = table_job("harness.analysis.tables:table1", tmp_path / "deep" / "table1.5")
    files = write(table, job.out, job)
    assert [path.name for path in files] == [
        f"table1.5.{suffix}" for suffix in ("csv", "md", "tex", "html", "parquet")
    ]
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == sorted(
        path.name for path in files
    )
    assert_frame_equal(pd.read_parquet(files[-1]), table, check_exact=True)
    with files[0].open(encoding="utf-8", newline="") as lines:
        as_csv = list(csv.DictReader(lines))
    assert list(as_csv[0]) == list(table.columns)
    numbers = table.columns[5:]
    found = [[float(line[name] or "nan") for name in numbers] for line in as_csv]
    np.testing.assert_array_equal(found, table[numbers].to_numpy(dtype=float))
    origin = frames.read_provenance(files[-1])
    assert origin["kind"] == "table mine"
    assert origin["spec"]["table"]["version"] == 3
    assert {"commit", "packages", "hardware", "written"} <= origin.keys()
    for path in files[1:4]:
        assert "mine, version 3; commit" in path.read_text(encoding="utf-8")


def test_an_empty_table_is_refused_before_any_file_is_written(tmp_path: Path) -> None:
    job = table_job("harness.analysis.tables:table1", tmp_path / "table1")
    with pytest.raises(ValueError, match="table 'mine' has no rows"):
        write(small_table().head(0), job.out, job)
    assert not list(tmp_path.iterdir())


def test_run_makes_the_table_of_the_files(tmp_path: Path) -> None:
    inputs = written(tmp_path, world())
    half = {
        name: measured.scores()[lambda frame, name=name: frame["model"] == name]
        for name in measured.MODELS
    }
    for name, frame in half.items():
        frames.write(frame, tmp_path / f"{name}.parquet", "scores", {})
    inputs["scores"] = tuple(str(tmp_path / f"{name}.parquet") for name in half)
    run(table_job("harness.analysis.tables:table1", tmp_path / "table1", **inputs))
    assert_frame_equal(pd.read_parquet(tmp_path / "table1.parquet"), table1(**world()))


def test_the_rows_behind_a_table_lie_beside_it_and_say_which_file_they_are_from(
    tmp_path: Path,
) -> None:
    inputs = written(tmp_path, world())
    run(table_job("harness.analysis.tables:table1", tmp_path / "table1", **inputs))
    rows = pd.read_parquet(tmp_path / "table1.rows.parquet")
    assert list(rows.columns[:2]) == ["frame_kind", "file"]
    for kind, (file,) in inputs.items():
        own = rows[rows["frame_kind"] == kind]
        assert set(own["file"]) == {file}
        there = frames.read(file, kind)
        kept = own[list(there.columns)].reset_index(drop=True)
        assert_frame_equal(kept.astype(there.dtypes), there)
        assert own.drop(columns=[*there.columns, "frame_kind", "file"]).isna().all(axis=None)
    origin = frames.read_provenance(tmp_path / "table1.rows.parquet")
    assert origin["kind"] == "rows mine"
    assert set(origin["inputs"]) == {file for (file,) in inputs.values()}


def test_a_column_is_number_or_text_in_all_kinds_of_frames_so_that_one_file_holds_them() -> None:
    dtypes: dict[str, set[str]] = {}
    for schema in frames.SCHEMAS.values():
        assert not {"frame_kind", "file"} & set(schema.names)
        for column in schema.columns:
            number = column.dtype in ("int64", "float64")
            dtypes.setdefault(column.name, set()).add("number" if number else column.dtype)
    assert {name: found for name, found in dtypes.items() if len(found) > 1} == {}


def test_run_names_the_files_that_a_fault_is_about(tmp_path: Path) -> None:
    inputs = written(tmp_path, world())
    files = []
    for name in measured.MODELS:
        scores = measured.scores()
        where = {"model": "tiny_a", "method": "reno", "metric": "train_reward"}
        where |= {"prompt_id": "counting-0", "image_index": 1}
        lost = (scores[list(where)] == pd.Series(where)).all(axis=1)
        path = tmp_path / "scores" / f"{name}.parquet"
        frames.write(scores[~lost & (scores["model"] == name)], path, "scores", {})
        files.append(str(path))
    inputs["scores"] = tuple(files)
    with pytest.raises(FrameError) as caught:
        run(table_job("harness.analysis.tables:table1", tmp_path / "table1", **inputs))
    assert "train_reward: image without a score: prompt 'counting-0'" in str(caught.value)
    # Only tiny_a's images lack one.
    assert files[0] in str(caught.value) and files[1] not in str(caught.value)


def test_run_says_which_frames_or_arguments_do_not_fit(tmp_path: Path) -> None:
    inputs = written(tmp_path, world())
    out, target = tmp_path / "table", "harness.analysis.tables:table1"
    with pytest.raises(SpecError, match=r"smk: 'mine' is made of .*; no files with timings"):
        run(table_job(target, out, scores=inputs["scores"], images=inputs["images"]))
    with pytest.raises(SpecError, match="unknown kind of frame 'timing'; did you mean 'timings'"):
        run(table_job(target, out, timing=("x",)))
    with pytest.raises(FileNotFoundError, match=r"frame gone\.parquet is missing"):
        run(table_job(target, out, **(inputs | {"scores": ("gone.parquet",)})))
    spec = TableSpec("mine", target, 1, {"method": ["base"]}, file="tables/mine.smk")
    with pytest.raises(SpecError, match=r"mine\.smk: unknown argument .*did you mean 'methods'"):
        run(TableJob(spec, inputs, str(out)))
    assert not list(tmp_path.glob("table*"))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex on this machine")
def test_latex_compiles_onto_a_page_whatever_names_and_notes_hold(tmp_path: Path) -> None:
    table = small_table().assign(reward="<a|b> & 50% of_it #1 {x} ~^\\")
    assert r"\textbf{" in latex(table, "origin")
    (tmp_path / "table.tex").write_text(latex(table, "made by a_test, 100 %"), encoding="utf-8")
    document = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}\usepackage[margin=1in]{geometry}"
        r"\begin{document}\noindent\input{table.tex}\end{document}"
    )
    (tmp_path / "page.tex").write_text(document)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_lines_between_models_go_only_where_a_reader_sorts_a_table() -> None:
    style = (REPOSITORY / "harness" / "report" / "templates" / "table.css").read_text()
    rules = re.findall(r"^(.*tr\.group td) \{ border-top: (\S+)", style, re.MULTILINE)
    assert rules == [("tr.group td", "1px"), (".sorted tr.group td", "0;")]
