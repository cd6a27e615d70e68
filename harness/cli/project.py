"""``hypernoise init DIR`` and ``hypernoise run``: a project without a checkout. Standard library
only."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from harness.base import own_code
from harness.base.atomic_files import check_place
from hypernoise.errors import Mendable

_IGNORED = shutil.ignore_patterns("__pycache__", ".*")
#: Options that say how many jobs run at once, or where, in any form that Snakemake takes.
_CORES = re.compile(r"-[cje]|--(cores?|jobs?|executor|profile)(=|$)")
_SNAKEFILE = re.compile(r"-s|--snakefile(=|$)")


def init(folder: Path) -> None:
    """Lay down what a run needs: Snakefile, workflows with all declarations and configs, profiles.

    Raises:
        Mendable: the folder holds something of one of these names; nothing is written then.
        OSError: it is a file, or cannot be written in.
    """
    there = [name for name in own_code.PROJECT if os.path.lexists(folder / name)]
    if there:
        raise Mendable(
            f"{folder} holds {' and '.join(there)} already, and nothing is overwritten: name a "
            "folder that is new, or that has none of them"
        )
    check_place(folder / own_code.PROJECT[0])
    folder.mkdir(parents=True, exist_ok=True)
    # All of it or nothing: half a project would be refused the next time.
    with tempfile.TemporaryDirectory(prefix=".hypernoise-init-", dir=folder) as laid:
        for name in own_code.PROJECT:
            source, copy = own_code.project() / name, Path(laid, name)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=_IGNORED, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(source, copy)
        for name in own_code.PROJECT:
            Path(laid, name).rename(folder / name)
    print(f"{folder} has {', '.join(own_code.PROJECT)} now; go on with:")
    print(f"    cd {folder}\n    hypernoise run -n   # what would be done\n    hypernoise run")


def run(arguments: Sequence[str]) -> NoReturn:
    """Become Snakemake, with all cores unless the arguments say how many.

    Args:
        arguments: of Snakemake, as they are.

    Raises:
        Mendable: there is no Snakefile here, and no other is named.
    """
    if not Path("Snakefile").is_file() and not any(map(_SNAKEFILE.match, arguments)):
        raise Mendable(
            f"no Snakefile in {Path.cwd()}: `hypernoise init DIR` lays one down, to be run in DIR; "
            "--snakefile names one elsewhere"
        )
    says_cores = "SNAKEMAKE_PROFILE" in os.environ or any(map(_CORES.match, arguments))
    cores = () if says_cores else ("--cores", "all")
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *cores, *arguments])
