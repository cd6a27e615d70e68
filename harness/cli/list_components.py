"""``python -m harness list [KIND]``: every component that can be named, what it is, its file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from harness.experiment.component_files import KINDS, declared


def run(kind: str | None, components: Sequence[Path]) -> None:
    """Print a line per component: its name, what its file's first sentence says, the file.

    Raises:
        FileNotFoundError: there is no such folder of component files.
        SpecError: a declaration is wrong.
    """
    registry = declared(*components)
    for shown in [kind] if kind else KINDS:
        specs = [spec for _, spec in sorted(getattr(registry, shown).items())]
        width = max((len(spec.name) for spec in specs), default=0)
        print(f"{len(specs)} {shown}")
        for spec in specs:
            print(f"  {spec.name:<{width}}  {first_sentence(Path(spec.file))}  ({spec.file})")


@cache
def first_sentence(file: Path) -> str:
    """The first sentence of the comment that a component file starts with; empty without one."""
    comment = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.strip("# "))
    return re.split(r"(?<=[^.][.!?]) |(?<=[^.])[;:] ", " ".join(comment), maxsplit=1)[0].rstrip(".")
