"""The first page of a results folder, and the end of a run in the terminal, are its answer."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import first_pages
import pandas as pd
import pytest

from harness.analysis import published
from harness.report import front_page, rehearsal
from harness.results.results_folder import survey


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return first_pages.made_in(tmp_path / "results")


def test_the_headline_asks_benchmark_gain_rewards_and_cost_in_this_order() -> None:
    shown = [n for n in front_page.headline(first_pages.table1()) if "_ci_" not in n]
    assert shown == [
        "model",
        "method",
        "geneval_mean",
        "gain_over_base",
        "p_holm",
        "train_reward_mean",
        "nfe",
        "generation_ms",
    ]


def test_an_interval_follows_its_column_so_that_people_see_it_there() -> None:
    names = list(front_page.headline(first_pages.table1()))
    for name in ("geneval_mean", "train_reward_mean", "generation_ms"):
        place = names.index(name)
        assert names[place + 1 : place + 3] == [f"{name}_ci_low", f"{name}_ci_high"]


def test_what_tells_rows_of_one_method_apart_is_shown() -> None:
    table = first_pages.table1()
    again = table.assign(steps=4)
    both = front_page.headline(pd.concat([table, again]))
    assert list(both)[:3] == ["model", "method", "steps"]


def test_rows_that_are_only_published_are_left_to_the_table() -> None:
    table = first_pages.table1()
    is_ours = table["method"] != "reno"
    table[published.SOURCE_COLUMN] = is_ours.map({True: "", False: published.PRINTED})
    assert "reno" not in set(front_page.headline(table)["method"])


def test_every_link_and_picture_is_a_file_of_the_folder_wherever_that_lies(page: Path) -> None:
    moved = page.parent.with_name("elsewhere")
    shutil.move(page.parent, moved)
    text = (moved / page.name).read_text(encoding="utf-8")
    places = [unquote(p) for p in re.findall(r'(?:href|src)="(?!data:)([^"]+)"', text)]
    assert {"tables/table1.html", "figures/pareto.png", "figures/grid_tiny_b.png"} <= set(places)
    assert [p for p in places if not (moved / p).is_file()] == []
    # It is written anew as it was: nothing in it is of the place or the hour.
    assert front_page.page(moved, survey(moved).made, front_page.answer_of(moved)) == text


def test_it_shows_the_figure_of_time_and_the_first_models_grid(page: Path) -> None:
    pictures = re.findall(r'<img src="([^"]+)"', page.read_text(encoding="utf-8"))
    assert pictures == ["figures/pareto.png", "figures/grid_tiny_a.png"]


def test_what_a_folder_says_of_itself_is_text_and_no_markup(tmp_path: Path) -> None:
    page = first_pages.made_in(tmp_path / "results", label="<script>alert(1)</script>")
    assert "<script>alert" not in page.read_text(encoding="utf-8")


def test_the_terminal_ends_with_the_answer_and_the_place_of_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = first_pages.made_in(tmp_path / "results")
    lines = capsys.readouterr().out.splitlines()
    assert "0.750 [0.65, 0.85]" in lines[1]
    assert "+0.100 [+0.05, +0.15]" in lines[1]
    assert lines[-1] == f"All of it: {page}"
    assert max(map(len, lines[:-1])) <= 120


def test_a_folder_without_a_table_1_has_a_page_of_what_is_there(page: Path) -> None:
    for file in (page.parent / "tables").iterdir():
        file.unlink()
    front_page.run(page.parent)
    text = page.read_text(encoding="utf-8")
    assert "<table>" not in text
    assert "figures/pareto.png" in text


def test_a_folder_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no results"):
        front_page.run(tmp_path)


def test_a_rehearsal_says_so_before_any_number() -> None:
    table = first_pages.table1()
    table.insert(0, rehearsal.COLUMN, published.REHEARSAL)
    assert next(iter(front_page.headline(table))) == rehearsal.COLUMN


def test_the_notes_of_the_table_stand_below_the_headline(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "Intervals in brackets: 95 %" in text
    assert "torch" in text


def test_a_table_without_the_text_beside_it_or_a_mean_is_shown_all_the_same(page: Path) -> None:
    (page.parent / "tables" / "table1.md").unlink()
    front_page.run(page.parent)
    assert "<table>" in page.read_text(encoding="utf-8")
    assert list(front_page.headline(first_pages.table1()[["model", "method", "reward", "steps"]]))
