"""The components that ``.smk`` files declare.

A component file is Python that knows one function, which is named after its folder: ``add_model``
in ``models``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError
from harness.base.own_code import shipped
from harness.experiment import pins
from harness.experiment.components import Registry
from hypernoise.text_files import read_text
from hypernoise.weights.pins import Missing

KINDS = ("models", "rewards", "methods", "benchmarks", "tables")
#: Names of modules that no folder on the path may show, as an editable package's.
_TAKEN = {*sys.stdlib_module_names, "harness", "hypernoise"}


def declared(folder: Path, *more: Path) -> Registry:
    """A registry of all components below some folders, with the pins that lie there.

    A component of one folder may name those of another; no name is there twice.

    Args:
        folder: of the project; ``workflows``, where it is not here, is that of the installed code.
        more: folders of a user's own components; their targets may be modules that lie there.

    Raises:
        FileNotFoundError: there is no such folder.
        SpecError: a declaration or pin is wrong, and its file is named; or a folder of ``more``
            is missing, has no component files, or has modules that are not the only ones of their
            name.
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
    # The config may name a folder that the command line names, too.
    once = {own.resolve(): own for own in (folder, *more)}
    more = tuple(own for place, own in once.items() if place != folder.resolve())
    for own in more:
        if not any(file for kind in KINDS for file in (own / kind).glob("*.smk")):
            said = "has no .smk file in" if own.is_dir() else "is missing: it needs one of"
            raise SpecError(f"components folder {own} {said} the folders {', '.join(KINDS)}")
    check_modules(more)
    make_importable(more)
    registry = Registry()
    for kind in KINDS:
        for each, home in [(folder, folder.parent), *((own, own) for own in more)]:
            # Sorted, so that their order is everywhere the same.
            for file in sorted((each / kind).glob("*.smk")):
                read_file(registry, kind, file, home)
    registry.check_rewards()
    pins.use(registry, (folder, *more))
    return registry


def check_modules(folders: Sequence[Path]) -> None:
    """Check that each module of some folders is the only one of its name, in every process.

    Raises:
        SpecError: Python, an installed package or another folder has one of that name, or a
            folder's own name cannot stand in ``PYTHONPATH``.
    """
    homes = list(dict.fromkeys(folder.resolve() for folder in folders))
    searched = list(dict.fromkeys([*map(Path.resolve, map(Path, sys.path)), *homes]))
    for home in homes:
        if os.pathsep in str(home):
            raise SpecError(
                f"components folder {home} has {os.pathsep!r} in its name, which separates the "
                "folders of PYTHONPATH: rename it"
            )
        others = [str(other) for other in searched if other != home]
        for path in sorted(home.iterdir()):
            holds_modules = path.is_dir() and any(path.glob("*.py"))
            if path.stem == "__init__" or not (holds_modules or path.suffix == ".py"):
                continue
            found = PathFinder.find_spec(path.stem, others)
            where = found.origin if found else None
            if found and not where:
                # Folders without __init__.py are joined to one package, wherever they lie.
                joined = map(Path, found.submodule_search_locations or ())
                where = next((str(each) for each in joined if each.parent in homes), None)
            if where or path.stem in _TAKEN:
                raise SpecError(
                    f"components folder {home}: {where or 'Python or this project'} is a module "
                    f"{path.stem!r} too, and which of both is imported depends on the process: "
                    f"rename {path}"
                )


def make_importable(folders: Iterable[Path]) -> None:
    """Let this process, and those that it starts, import modules of folders.

    They come after everything else here; a process that is started has them before installed
    packages, as ever with ``PYTHONPATH``. So no module there may have the name of another one
    (:func:`check_modules`).
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
    except NameError as error:
        raise SpecError(
            f"{file}: there is no {error.name}: a file in {file.parent} declares with {name}"
        ) from error
    except Exception as error:  # Whatever a declaration does wrong.
        has_rule = re.search(r"^\s*(rule|checkpoint)\b.*:", text, re.MULTILINE)
        advice = "a rule belongs in workflows/rules: " if has_rule else ""
        raise SpecError(f"{file}: {advice}{str(error) or type(error).__name__}") from error
