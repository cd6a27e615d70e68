"""Everything shipped and the examples, declared without a trace in where modules are found."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from paths import REPOSITORY

from harness.experiment.component_files import declared
from harness.experiment.components import Registry

EXAMPLES = REPOSITORY / "examples"


def with_examples(workflows: Path = REPOSITORY / "workflows") -> Registry:
    """The registry as the workflow's files and the examples' fill it.

    A path that stayed would make every later copy of the examples the second package of its name.
    """
    path, inherited = list(sys.path), os.environ.get("PYTHONPATH")
    try:
        registry = declared(workflows, EXAMPLES)
        for file in sorted((EXAMPLES / "my_package").glob("*.py")):
            importlib.import_module(f"my_package.{file.stem}")
    finally:
        sys.path[:] = path
        if inherited is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = inherited
    return registry
