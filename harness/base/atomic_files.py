"""Files that are written in one go: whole, or not there at all, after a power cut, too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypernoise.durable_files import partial_path, put


@contextmanager
def in_one_go(path: str | Path) -> Iterator[Path]:
    """Gives a path to write to, which becomes ``path`` at the end; folders are made.

    Whoever is killed or fails in between leaves ``path`` as it was. Processes that write the same
    file side by side do not meet: each has a path of its own, hidden beside ``path``.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        # A folder cannot be replaced; a device or pipe can, and would be gone.
        raise OSError(f"{path} is {'a folder' if path.is_dir() else 'no plain file'}: name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
        put(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def output_file(path: str | Path, default: str | Path = "") -> Path:
    """Where a file goes that a user names, asked before the work: through a link to its target.

    Args:
        path: as it was named; empty for the default.
        default: for where none was named. What is there is kept.

    Raises:
        OSError: it is a folder, or its folder cannot be made or written in.
        ValueError: the default is there already.
    """
    named = Path(default if path == "" else path)
    real = Path(os.path.realpath(named))
    if real.exists() and not real.is_file():
        raise OSError(f"{named} is {'a folder' if real.is_dir() else 'no plain file'}: name a file")
    check_place(named)
    if real.exists() and path == "":
        raise ValueError(f"{named} is there already: name a file with --out, this one or another")
    if real.exists():
        print(f"note: {named} is there already and will be written anew", file=sys.stderr)
    return real


def check_place(path: str | Path) -> None:
    """Check that something can be written at a path whose folders may not exist yet.

    Raises:
        OSError: a folder above it is none, or cannot be written in.
    """
    above = Path(os.path.realpath(path)).parent
    while not above.exists() and not above.is_symlink():
        above = above.parent
    if not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {above} is no folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {above} is not open to this user")


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8, in one go."""
    with in_one_go(path) as partial:
        partial.write_text(text, encoding="utf-8")
