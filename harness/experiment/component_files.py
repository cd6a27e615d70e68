"""The components that ``.smk`` files declare.

A component file is Python that knows one function, which is named after its folder: ``add_model``
in ``models``.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from harness.base.errors import SpecError
from harness.experiment import pins
from harness.experiment.components import Registry
from hypernoise.text_files import read_text
from hypernoise.weights.pins import Missing

KINDS = ("models", "rewards", "methods", "benchmarks", "tables")


def declared(folder: Path) -> Registry:
    """A registry of all components below a folder, with the pins that lie there.

    Raises:
        FileNotFoundError: there is no such folder.
        SpecError: a declaration or pin is wrong; names its file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder} with component files: run this in a checkout of the project, or "
            "name the folder with --components"
        )
    registry = Registry()
    for kind in KINDS:
        # Sorted, so that their order is everywhere the same.
        for file in sorted((folder / kind).glob("*.smk")):
            add = f"add_{kind.removesuffix('s')}"
            text = read_text(file)
            try:
                code = compile(text, str(file), "exec")
                exec(code, {add: partial(getattr(registry, add), file=str(file))})
            except (SpecError, Missing):
                raise
            except Exception as error:  # Whatever a declaration does wrong.
                has_rule = re.search(r"^\s*(rule|checkpoint)\b.*:", text, re.MULTILINE)
                advice = "a rule belongs in workflows/rules: " if has_rule else ""
                raise SpecError(f"{file}: {advice}{str(error) or type(error).__name__}") from error
    registry.check_rewards()
    pins.use(registry, folder)
    return registry
