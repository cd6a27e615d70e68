"""The gallery and the tables in a real browser: they render, filter, fit a phone and need no mouse.

Needs a Chromium: Debian's package, any on the PATH, or ``python -m playwright install chromium``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import first_pages
import galleries
import pytest
from browsers import chromium, open_page

from harness.report.pages import plain, tables_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
PER_PAGE, METHODS = 12, 3


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery that was moved after it was made: 24 rows of two models, three methods."""
    made = galleries.made_in(tmp_path_factory.mktemp("made"))
    moved = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.move(made, moved)
    return moved


class Opened:
    """A page, with what its console said and what it asked for."""

    def __init__(self, browser: playwright.Browser, path: Path, size: dict[str, int]) -> None:
        self.page = open_page(browser, viewport=size)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def count(self, change: str) -> int:
        return int(self.page.locator(f"[value={change}] + span b").inner_text())

    def choose(self, change: str) -> None:
        self.page.locator(f"#change label:has([value={change}])").click()

    def prompts(self) -> list[str]:
        texts: list[str] = self.page.locator(".card h2").all_inner_texts()
        return texts


@pytest.fixture
def desktop(browser: playwright.Browser, folder: Path) -> Iterator[Opened]:
    opened = Opened(browser, folder / "index.html", DESKTOP)
    yield opened
    opened.page.close()
    assert opened.said == [], "the console has something to say"
    assert all(url.startswith(("file:", "data:")) for url in opened.asked), (
        "something left the disk"
    )


def test_it_draws_a_page_of_rows_with_crisp_images_that_load(desktop: Opened) -> None:
    page = desktop.page
    assert page.locator(".card").count() == PER_PAGE
    assert page.locator(".card img").count() == PER_PAGE * METHODS
    first = page.locator(".card img").first
    playwright.expect(first).to_have_js_property("naturalWidth", 32)
    assert first.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"


def test_every_image_says_in_words_what_it_shows(desktop: Opened) -> None:
    alts = desktop.page.locator(".card img").evaluate_all("images => images.map(i => i.alt)")
    assert len(alts) == PER_PAGE * METHODS
    assert all(": right" in alt or ": wrong (expected a cat>=1, found 0)" in alt for alt in alts)
    assert "base, image 0 of “a photo of single_object-0”: right" in alts


def test_verdicts_differ_in_sign_and_line_not_in_colour_alone(desktop: Opened) -> None:
    for kind, sign, line in (("right", "✓", "solid"), ("wrong", "✗", "dashed")):
        shot = desktop.page.locator(f".card .shot.{kind}").first
        assert sign in shot.locator(".sign").inner_text()
        border = shot.locator(".open").evaluate("e => getComputedStyle(e).borderTopStyle")
        assert border == line


def test_counts_of_fixed_and_broken_are_those_worked_out_by_hand(desktop: Opened) -> None:
    counts = {
        change: desktop.count(change) for change in ("all", "fixed", "broken", "right", "wrong")
    }
    assert counts == {"all": 24, "fixed": 6, "broken": 0, "right": 12, "wrong": 6}
    desktop.page.select_option("#method", "reno")
    counts = {
        change: desktop.count(change) for change in ("all", "fixed", "broken", "right", "wrong")
    }
    assert counts == {"all": 24, "fixed": 0, "broken": 12, "right": 0, "wrong": 12}


def test_filters_by_change_task_and_text_combine(desktop: Opened) -> None:
    desktop.choose("fixed")
    assert len(desktop.prompts()) == 6
    assert all(text.endswith("-0") or text == galleries.NASTY for text in desktop.prompts())
    desktop.page.select_option("#task", label="counting")
    assert desktop.prompts() == ["a photo of counting-0"]
    desktop.page.fill("#text", "NO SUCH")
    assert desktop.prompts() == []
    assert "No image fits" in desktop.page.locator("#cards").inner_text()


def test_a_prompt_is_text_whatever_it_holds(desktop: Opened) -> None:
    desktop.page.fill("#text", "</SCRIPT>")
    assert desktop.prompts() == [galleries.NASTY] * 2


def test_pages_models_columns_and_scores(desktop: Opened) -> None:
    page = desktop.page
    first = desktop.prompts()
    page.get_by_role("button", name="Next").first.click()
    assert "13 to 24 of 24" in page.locator("#count").inner_text()
    assert desktop.prompts() != first
    assert page.get_by_role("button", name="Next").first.is_disabled()
    page.select_option("#model", label="tiny_b")
    assert "1 to 12 of 24" in page.locator("#count").inner_text()
    assert "tiny_b" in page.locator(".card .meta").first.inner_text()
    page.locator("summary").click()
    page.get_by_label("reno", exact=True).uncheck()
    assert page.locator(".card img").count() == PER_PAGE * (METHODS - 1)


def test_the_address_brings_a_view_back(browser: playwright.Browser, desktop: Opened) -> None:
    desktop.page.select_option("#task", label="colors")
    desktop.choose("wrong")
    again = open_page(browser)
    again.goto(desktop.page.url)
    assert again.locator("#change input:checked").get_attribute("value") == "wrong"
    assert again.locator(".card h2").all_inner_texts() == desktop.prompts() != []
    again.close()


def test_the_keyboard_is_enough(desktop: Opened) -> None:
    page = desktop.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#change [value=all]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#change input:checked").get_attribute("value") == "fixed"
    page.locator(".card .open").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#zoom").is_visible()
    assert page.locator("#zoom .name").all_inner_texts() == ["base"]
    page.keyboard.press("ArrowRight")
    assert page.locator("#zoom .name").all_inner_texts() == ["base", "hypernoise"]
    page.locator("#after").press("Enter")
    assert page.locator("#zoom .name").all_inner_texts() == ["base", "reno"]
    page.keyboard.press("Escape")
    assert not page.locator("#zoom").is_visible()
    assert "open" in page.evaluate("document.activeElement.className")


def test_every_control_has_a_name(desktop: Opened) -> None:
    unnamed = desktop.page.evaluate(
        "[...document.querySelectorAll('select, input, button')].filter(e => "
        "!(e.labels?.length || e.textContent.trim() || e.querySelector('img[alt]'))).length"
    )
    assert unnamed == 0


def test_it_fits_a_phone(browser: playwright.Browser, folder: Path) -> None:
    opened = Opened(browser, folder / "index.html", PHONE)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    opened.page.locator(".card .open").nth(1).click()
    box = opened.page.locator("#zoom").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    assert opened.page.locator("#zoom").evaluate("e => e.scrollWidth <= e.clientWidth")
    assert opened.said == []
    opened.page.close()


def test_of_thousands_of_images_only_a_page_is_drawn(
    browser: playwright.Browser, tmp_path: Path
) -> None:
    made = galleries.made_in(tmp_path, copies=60)
    opened = Opened(browser, made / "index.html", DESKTOP)
    assert opened.count("all") == 24 * 60
    assert opened.page.locator("img").count() == PER_PAGE * METHODS
    read = [url for url in opened.asked if url.endswith(".png")]
    assert len(read) <= PER_PAGE * METHODS
    opened.page.close()


@pytest.fixture(scope="module")
def sorted_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        ["b", "0.90 [0.8, 1.0]"],
        ["a", "\N{EN DASH}"],
        ["c", "-0.5"],
        ["d", "10"],
        ["e", "<0.001"],
    ]
    path = tmp_path_factory.mktemp("table") / "t.html"
    path.write_text(tables_page("T", [plain("T", ("name", "value"), rows)]), encoding="utf-8")
    return path


def test_tables_sort_by_number_and_by_name_and_back(
    browser: playwright.Browser, sorted_page: Path
) -> None:
    opened = Opened(browser, sorted_page, PHONE)
    head = opened.page.get_by_role("button", name="value")
    seen = []
    for _ in range(3):
        head.focus()
        opened.page.keyboard.press("Enter")
        seen.append("".join(opened.page.locator("td:first-child").all_inner_texts()))
    # Downwards, upwards, as made; what has no value comes last either way.
    assert seen == ["dbeca", "cebda", "bacde"]
    opened.page.get_by_role("button", name="name").click()
    assert opened.page.locator("th").first.get_attribute("aria-sort") == "descending"
    assert opened.page.locator("td:first-child").all_inner_texts() == list("edcba")
    assert opened.said == []
    opened.page.close()


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_first_page_fits_and_a_wide_table_keeps_names_in_sight(
    browser: playwright.Browser, tmp_path: Path, width: int
) -> None:
    size = {"width": width, "height": 900}
    opened = Opened(browser, first_pages.made_in(tmp_path / "results"), size)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator(".scroll").first
    assert table.is_visible()
    table.evaluate("e => { e.scrollLeft = e.scrollWidth }")
    name = page.get_by_role("cell", name="hypernoise").first.bounding_box()
    last = page.locator("tbody tr").nth(1).locator("td").last.bounding_box()
    assert name is not None
    assert last is not None
    assert name["x"] >= 0
    assert last["x"] + last["width"] <= width
    shown = page.locator("img").evaluate_all("l => l.every(i => i.complete && i.naturalWidth > 0)")
    assert shown
    assert opened.said == []
    page.close()


def test_rows_in_which_reward_and_verdict_disagree_are_found(desktop: Opened) -> None:
    # ReNO breaks every image that the base has right, and its reward rises by three.
    assert desktop.count("disagree") == 0
    desktop.page.select_option("#method", label="reno")
    assert desktop.count("disagree") == 12
    desktop.choose("disagree")
    assert "1 to 12 of 12" in desktop.page.locator("#count").inner_text()
    desktop.page.select_option("#measure", label="geneval correct")
    assert desktop.count("disagree") == 0


def test_rows_come_in_the_order_of_the_chosen_measure(desktop: Opened) -> None:
    desktop.page.select_option("#order", "gain")
    desktop.page.select_option("#measure", label="geneval correct")
    desktop.choose("all")
    signs = desktop.page.locator(".card .shot.chosen .sign").all_inner_texts()
    assert ["fixed" in sign for sign in signs] == [True] * 6 + [False] * 6


def test_a_link_leads_to_one_row_and_escape_back_to_all(
    browser: playwright.Browser, desktop: Opened
) -> None:
    card = desktop.page.locator(".card").nth(4)
    meta = card.locator(".meta").inner_text()
    assert re.search(r"noise of seed 7, \w+-\d, image \d", meta)
    again = open_page(browser)
    again.goto(f"{desktop.page.url.partition('#')[0]}{card.locator('a.row').get_attribute('href')}")
    assert again.locator(".card .meta").all_inner_texts() == [meta]
    again.keyboard.press("Escape")
    assert again.locator(".card").count() == PER_PAGE
    again.close()


def test_keys_walk_through_rows_and_pages(desktop: Opened) -> None:
    page = desktop.page
    second = page.locator(".card").nth(1).locator("h2").inner_text()
    page.keyboard.press("j")
    page.keyboard.press("j")
    here = "document.activeElement.closest('.card').querySelector('h2').textContent"
    assert page.evaluate(here) == second
    page.keyboard.press("n")
    assert "13 to 24 of 24" in page.locator("#count").inner_text()
    page.keyboard.press("p")
    assert "1 to 12 of 24" in page.locator("#count").inner_text()
    page.keyboard.press("/")
    page.keyboard.type("jn")
    assert page.locator("#text").input_value() == "jn"


def test_an_image_that_is_left_out_is_neither_right_nor_wrong_and_no_change(
    browser: playwright.Browser, tmp_path: Path
) -> None:
    opened = Opened(browser, galleries.left_out_in(tmp_path) / "index.html", DESKTOP)
    counts = {name: opened.count(name) for name in ("all", "fixed", "broken", "right", "wrong")}
    assert counts == {"all": 24, "fixed": 6, "broken": 0, "right": 11, "wrong": 6}
    shot = opened.page.locator(".card .shot.unjudged")
    assert shot.count() == 1
    assert shot.locator(".sign").inner_text() == "left out"
    said = ": left out (no cat is asked for; no cat is asked for)"
    assert (shot.locator("img").get_attribute("alt") or "").endswith(said)
    # Its gain in the verdict is unknown: it comes last, whatever the order.
    opened.page.select_option("#measure", label="own")
    for order in ("gain", "loss"):
        opened.page.select_option("#order", order)
        opened.page.locator("main .pages button:last-of-type").first.click()
        assert opened.page.locator(".card").last.locator(".shot.unjudged").count() == 1
    assert opened.said == []
    opened.page.close()


def test_a_metric_that_is_no_verdict_judges_no_image(
    browser: playwright.Browser, tmp_path: Path
) -> None:
    folder = galleries.left_out_in(tmp_path, metric="train_reward")
    opened = Opened(browser, folder / "index.html", DESKTOP)
    assert opened.page.locator(".card").count() == PER_PAGE
    assert opened.page.locator(".card .shot.unjudged").count() == PER_PAGE * METHODS
    assert set(opened.page.locator(".card .sign").all_inner_texts()) == {""}
    assert opened.said == []
    opened.page.close()
