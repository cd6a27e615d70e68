"""The site of docs: it builds without a warning or a network, and is read without one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browsers import chromium, open_page
from paths import REPOSITORY

from tools import site_pages

#: MkDocs with a socket that reaches nothing.
BUILD = """
import socket, sys
def refuse(*_):
    raise AssertionError("the build asks the network")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(sys.argv[1:])
"""
#: What a browser loads by itself; links that a reader follows may lead anywhere.
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(\S+)")
STYLED = re.compile(r"<link\b[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload)[^>]*>")
NAMED = re.compile(r"(?:url\(|@import)\s*[\"']?(?!data:)([^)\"']*)")


def build(repository: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BUILD, "build", "--strict", "--site-dir", str(site)],
        cwd=repository,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page_of_docs_and_of_the_root(site: Path) -> None:
    pages = {path.stem for path in (REPOSITORY / "docs").glob("*.md")}
    pages |= {Path(place).stem for place in site_pages.PLACES.values()}
    assert not [
        name for name in pages if name != "CITATION" and not (site / f"{name}.html").exists()
    ]
    front = (site / "index.html").read_text(encoding="utf-8")
    assert not [name for name in pages if f"{name}." not in front]


def test_links_of_readme_lead_to_pages_of_the_site(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    assert '<a href="config.html">docs/config.md</a>' in front
    assert '<a href="architecture.html">ARCHITECTURE.md</a>' in front
    assert '<a href="CITATION.cff">' in front and (site / "CITATION.cff").is_file()
    assert '<a href="index.html">README</a>' in (site / "start.html").read_text(encoding="utf-8")


def test_a_page_of_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "assets/iframe-worker.js" in text or page.name == "404.html"
        loaded = LOADED.findall(text) + STYLED.findall(text)
        assert loaded
        assert not [tag for tag in loaded if "//" in tag], page.name
    for sheet in site.rglob("*.css"):
        named = NAMED.findall(sheet.read_text(encoding="utf-8"))
        assert not [name for name in named if "//" in name], sheet.name


def test_a_site_of_files_can_be_searched(site: Path) -> None:
    with chromium() as browser:
        page, asked, said = open_page(browser), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((site / "start.html").as_uri())
        # Key by key, as a reader does: the theme reads the box when a key goes up.
        page.locator(".md-search__input").press_sequentially("enable_sequential_cpu_offload")
        page.locator(".md-search-result__item").first.wait_for()
        assert page.locator(".md-search-result__link[href*='scripts.html']").count()
    assert not said
    assert all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.parametrize(("wished", "shown"), [("light", "default"), ("dark", "slate")])
def test_a_page_of_the_site_is_as_dark_as_its_reader_wishes(
    site: Path, wished: str, shown: str
) -> None:
    with chromium() as browser:
        page, said = open_page(browser, color_scheme=wished), []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((site / "start.html").as_uri())
        page.locator(f"body[data-md-color-scheme={shown}]").wait_for()
    assert not said


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A checkout, as far as the site goes."""
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", *site_pages.PLACES):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for name in ("tools", "harness", "hypernoise"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    return tmp_path


#: File -> a line that it must not have, and what the build says of it.
FAULTS = (
    ("docs/new.md", "# New", "new.md"),
    ("docs/start.md", "[a page](nowhere.md)", "'nowhere.md'"),
    ("docs/start.md", "[a heading](protocol.md#nowhere)", "#nowhere"),
    ("README.md", "[a page](docs/elsewhere.md)", "elsewhere.md"),
    ("README.md", "[a file](harness/cli/verbs.py)", "verbs.py"),
)


def test_a_page_that_the_menu_lacks_or_a_link_that_leads_nowhere_stops_the_build(
    changed: Path,
) -> None:
    for name, line, _ in FAULTS:
        with (changed / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    done = build(changed, changed / "site")
    assert done.returncode != 0
    assert f"Aborted with {len(FAULTS)} warnings" in done.stdout + done.stderr
    for _, _, said in FAULTS:
        assert said in done.stdout + done.stderr


def test_a_name_that_the_code_does_not_have_stops_the_build(changed: Path) -> None:
    with (changed / "docs" / "api.md").open("a", encoding="utf-8") as file:
        file.write("\n::: hypernoise.nothing\n")
    done = build(changed, changed / "site")
    assert done.returncode != 0
    assert "hypernoise.nothing" in done.stdout + done.stderr


def test_make_docs_builds_strictly() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^docs:.*\n\t.*mkdocs build --strict", makefile, re.MULTILINE)
