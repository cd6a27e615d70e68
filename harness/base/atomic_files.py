"""Files that are written in one go: whole, or not there at all. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_one_go(path: str | Path) -> Iterator[Path]:
    """Gives a path to write to, which becomes ``path`` at the end; folders are made.

    Whoever is killed or fails in between leaves ``path`` as it was. Processes that write the same
    file side by side do not meet: each has a path of its own, hidden beside ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8, in one go."""
    with in_one_go(path) as partial:
        partial.write_text(text, encoding="utf-8")
