"""The config's reference page and the editor's schema, which are made of the config's classes."""

from __future__ import annotations

from paths import REPOSITORY

from harness.experiment import reference


def test_the_reference_page_and_the_editors_schema_are_current() -> None:
    advice = "`make reference` writes it anew"
    page = (REPOSITORY / reference.PAGE_FILE).read_text(encoding="utf-8")
    assert page == reference.page(), advice
    schema = (REPOSITORY / reference.SCHEMA_FILE).read_text(encoding="utf-8")
    assert schema == reference.schema(), advice


def test_the_reference_says_every_key_with_its_meaning() -> None:
    rows = [line for line in reference.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 70
    assert not [row for row in rows if row.endswith("|  |")]
