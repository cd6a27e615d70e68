"""Files that are written in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.atomic_files import in_one_go, write_text


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "first, …")

    def fail() -> None:
        with in_one_go(path) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text(encoding="utf-8") == "first, …"
    assert list(path.parent.iterdir()) == [path]


def test_a_path_that_was_not_written_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), in_one_go(tmp_path / "a.txt"):
        pass
