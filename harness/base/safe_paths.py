"""Paths that a file names: they lie below a folder, and no link leads out of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import SpecError


def below(folder: str | Path, names: Iterable[str], file: str | Path) -> list[str]:
    """Where some names of a file lead to, below its folder.

    What is read from disk must not choose which files are read: a results folder may come from
    somebody else.

    Args:
        folder: where the names start from; it may itself be a link.
        names: relative paths, to files that need not exist.
        file: whose names they are, for the message.

    Raises:
        SpecError: a name is absolute or leads out of the folder, by itself or by a link.
    """
    root = os.path.realpath(folder)
    inside = os.path.join(root, "")
    real_folders: dict[str, str] = {}
    paths = []
    for name in names:
        path = os.path.join(folder, name)
        parent, last = os.path.split(path)
        if parent not in real_folders:
            real_folders[parent] = os.path.realpath(parent)
        is_plain = last not in ("", ".", "..") and not os.path.islink(path)
        real = os.path.join(real_folders[parent], last) if is_plain else os.path.realpath(path)
        if os.path.isabs(name) or not (real == root or real.startswith(inside)):
            led = f" a link to {real}," if os.path.islink(path) else ""
            raise SpecError(f"{file} names {name!r},{led} which is outside {folder}")
        paths.append(path)
    return paths
