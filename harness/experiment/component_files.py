"""The components that ``.smk`` files declare.

A component file is Python that knows one function, which is named after its folder: ``add_model``
in ``models``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError
from harness.base.own_code import shipped
from harness.experiment import pins
from harness.experiment.components import Registry
from hypernoise.text_files import read_text
from hypernoise.weights.pins import Missing

KINDS = ("models", "rewards", "methods", "benchmarks", "tables")


def declared(folder: Path, *more: Path) -> Registry:
    """A registry of all components below some folders, with the pins that lie there.

    A component of one folder may name those of another; no name is there twice.

    Args:
        folder: of the project; ``workflows``, where it is not here, is that of the installed code.
        more: folders of a user's own components; their targets may be modules that lie there.

    Raises:
        FileNotFoundError: there is no such folder.
        SpecError: a declaration or pin is wrong, and its file is named; or a folder of ``more``
            is missing or has no component files.
    """
    folder = shipped(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder} with component files: name one with --components"
        )
    more = tuple(
        own if own.is_dir() or not (folder.parent / own).is_dir() else folder.parent / own
        for own in more
    )
    for own in more:
        if not any((own / kind).is_dir() for kind in KINDS):
            said = "has none of" if own.is_dir() else "is missing: it needs one of"
            raise SpecError(f"components folder {own} {said} the folders {', '.join(KINDS)}")
    make_importable(more)
    registry = Registry()
    for kind in KINDS:
        for each, home in [(folder, folder.parent), *((own, own) for own in more)]:
            # Sorted, so that their order is everywhere the same.
            for file in sorted((each / kind).glob("*.smk")):
                read_file(registry, kind, file, home)
    registry.check_rewards()
    for each in (folder, *more):
        pins.use(registry, each)
    return registry


def make_importable(folders: Iterable[Path]) -> None:
    """Let this process, and those that it starts, import modules of folders.

    They come after everything else here; a process that is started has them before installed
    packages, as ever with ``PYTHONPATH``.
    """
    for folder in map(str, map(Path.absolute, folders)):
        if folder not in sys.path:
            sys.path.append(folder)
        before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if folder not in before:
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*before, folder]))


def read_file(registry: Registry, kind: str, file: Path, home: Path = Path()) -> None:
    """Run a component file; a SpecError names it, whatever is wrong with it. Its relative places
    are of the working directory, or else of ``home``."""
    name = f"add_{kind.removesuffix('s')}"
    text = read_text(file)

    def add(*names: str, **given: Any) -> None:
        getattr(registry, name)(*names, file=str(file), **pins.beside(given, home))

    try:
        code = compile(text, str(file), "exec")
        exec(code, {name: add})
    except (SpecError, Missing):
        raise
    except Exception as error:  # Whatever a declaration does wrong.
        has_rule = re.search(r"^\s*(rule|checkpoint)\b.*:", text, re.MULTILINE)
        advice = "a rule belongs in workflows/rules: " if has_rule else ""
        raise SpecError(f"{file}: {advice}{str(error) or type(error).__name__}") from error
