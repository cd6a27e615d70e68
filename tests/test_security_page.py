"""The page on what is trusted names tests that exist."""

from __future__ import annotations

import re

from paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_statement_on_what_is_not_trusted_names_a_test_that_exists() -> None:
    rows = [row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| ")]
    assert len(rows) > 20
    for row in rows[1:]:
        found = NAMED.findall(row)
        assert len(found) == 1, f"names no test: {row}"
        file, name = found[0]
        source = (REPOSITORY / file).read_text(encoding="utf-8")
        assert f"\ndef {name}(" in source, f"{file} has no {name}"
