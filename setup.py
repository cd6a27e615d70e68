"""What a wheel has beside the packages: the files that `hypernoise init` lays down, and its commit.

Everything else about the build is in pyproject.toml.
"""

import json
import shutil
from pathlib import Path
from runpy import run_path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

OWN = run_path("harness/base/own_code.py")


def note_commit(folder: Path) -> None:
    """Write which commit is packed; an unpacked sdist hands on what it was told."""
    (folder / OWN["COMMIT_FILE"]).write_text(json.dumps(OWN["commit"]()), encoding="utf-8")


class WithProject(build_py):
    """Copies Snakefile, workflows and profiles into the wheel; an editable install reads theirs."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, OWN["IN_WHEEL"])
        # What an earlier build left there may be gone from the checkout.
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in OWN["PROJECT"]:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy
            copy(name, target / name)
        note_commit(target)


class WithCommit(sdist):
    """Notes the commit in the sdist, where git is not there to be asked."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        note_commit(Path(base_dir))


setup(cmdclass={"build_py": WithProject, "sdist": WithCommit})
