"""The wheel, installed where no checkout is: its files, and a project from nothing to a table."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml
from experiments import LEAST, MICRO_BENCHMARK
from paths import REPOSITORY

from harness.base import own_code
from harness.results import frames

PACKAGES = ("harness", "hypernoise")
OTHERS = ("python3.11", "python3.12", "python3.13")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
#: A run with hardly any work in it, of a model and a benchmark of one's own.
MICRO: dict[str, Any] = {
    **LEAST,
    "extends": "workflows/config/tiny.yaml",
    "components": "mine",
    "models": ["own"],
    "methods": ["base", "hypernoise"],
}


class Built(NamedTuple):
    """A wheel, the commit that it was built of, and the files of the project."""

    wheel: Path
    commit: str
    files: frozenset[str]


def call(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program, without what leads its Python to a checkout."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {**kept, "OMP_NUM_THREADS": "1"}
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    done = call(*command, cwd=cwd)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel of this working tree, by way of an sdist, as `python -m build` makes it."""
    folder = tmp_path_factory.mktemp("build")
    listed = call("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=REPOSITORY)
    if listed.returncode:
        pytest.skip("no wheel was built: without git, nobody knows which files are the project's")
    files = frozenset(n for n in listed.stdout.split("\0") if n and (REPOSITORY / n).is_file())
    source = folder / "source"
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, source / name)
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "all of it"]):
        succeed("git", *words, cwd=source)
    commit = succeed("git", "rev-parse", "HEAD", cwd=source).strip()
    make = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])('..'))"
    succeed(sys.executable, "-c", make, "build_sdist", cwd=source)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder)
    unpacked = folder / archive.name.removesuffix(".tar.gz")
    succeed(sys.executable, "-c", make, "build_wheel", cwd=unpacked)
    (wheel,) = folder.glob("*.whl")
    return Built(wheel, commit, files)


def installed(python: str, wheel: Path, folder: Path) -> Path:
    """A fresh environment of an interpreter with nothing but the wheel; gives its ``bin``."""
    succeed(python, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("install", "-q", "--no-deps", "--no-index", "--no-compile")
    succeed(*pip, "--python", folder / "bin" / "python", *options, wheel, cwd=folder.parent)
    return folder / "bin"


def test_the_wheel_has_all_that_runs_need_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as packed:
        found = {name for name in packed.namelist() if not name.endswith("/")}
    told = {name for name in found if ".dist-info/" in name}
    in_project = [name for name in built.files if name.partition("/")[0] in own_code.PROJECT]
    expected = {name for name in built.files if name.partition("/")[0] in PACKAGES}
    expected |= {f"{own_code.IN_WHEEL}/{name}" for name in in_project}
    expected.add(f"{own_code.IN_WHEEL}/{own_code.COMMIT_FILE}")
    assert found - told == expected
    assert any(name.endswith("entry_points.txt") for name in told)


@pytest.mark.parametrize("python", OTHERS)
def test_the_wheel_installs_and_lays_a_project_down_with_other_interpreters(
    built: Built, tmp_path: Path, python: str
) -> None:
    found = shutil.which(python)
    if not found or call(found, "-c", "import venv", cwd=tmp_path).returncode:
        pytest.skip(f"the wheel was not tried with {python}: there is none that starts")
    programs = installed(found, built.wheel, tmp_path / "env")
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    compiled = ("-W", "error", "-m", "compileall", "-q", *PACKAGES)
    succeed(programs / "python", *compiled, cwd=site)
    # Dependencies are not there: what needs none works.
    assert "hypernoise 0." in succeed(programs / "hypernoise", "--version", cwd=tmp_path)
    succeed(programs / "hypernoise", "init", "project", cwd=tmp_path)
    assert (tmp_path / "project" / "workflows" / "config" / "tiny.yaml").is_file()


@pytest.fixture(scope="module")
def programs(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel beside the packages that the tests run with, but for the checkout."""
    folder = tmp_path_factory.mktemp("environment") / "env"
    found = installed(sys.executable, built.wheel, folder)
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    scheme = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
    (site / "others.pth").write_text("\n".join(others) + "\n")
    where = "import harness, hypernoise; print(harness.__file__, hypernoise.__file__)"
    for file in succeed(found / "python", "-c", where, cwd=folder).split():
        assert Path(file).is_relative_to(folder), file
    return found


def commands() -> list[str]:
    """The commands of README's paragraph, without what is said of them."""
    block = re.search(r"## Without a checkout\n.*?```sh\n(.*?)```", README, re.DOTALL)
    assert block
    return [line.partition("#")[0].strip() for line in block[1].splitlines()]


def test_a_project_without_a_checkout_runs_to_a_finished_table_as_readme_says(
    built: Built, programs: Path, tmp_path: Path
) -> None:
    build, install, init, enter, plan, run, verify = commands()
    assert build.startswith("pip wheel --no-deps ") and install.startswith("pip install ")
    hypernoise, folder = str(programs / "hypernoise"), tmp_path / enter.removeprefix("cd ")
    succeed(hypernoise, *shlex.split(init)[1:], cwd=tmp_path)
    # Weights beside the Snakefile, and components of one's own beside the project.
    shipped = REPOSITORY / "hypernoise" / "shapeworld" / "weights" / "tiny_sd"
    shutil.copytree(shipped, folder / "weights" / "own")
    declared = (folder / "workflows" / "models" / "tiny_sd.smk").read_text()
    text = declared.replace('"tiny_sd"', '"own"').replace(
        "hypernoise/shapeworld/weights/tiny_sd", "weights/own"
    )
    (folder / "workflows" / "models" / "own.smk").write_text(text)
    (folder / "mine" / "benchmarks").mkdir(parents=True)
    (folder / "mine" / "benchmarks" / "micro.smk").write_text(MICRO_BENCHMARK)
    (folder / "micro.yaml").write_text(yaml.safe_dump(MICRO))
    assert "generate" in succeed(hypernoise, *shlex.split(plan)[1:], cwd=folder)
    wrong = call(hypernoise, *shlex.split(run)[1:], "--config", "reward=red", cwd=folder)
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert "error: " in wrong.stderr and "unknown reward 'red'" in wrong.stderr
    # Results go to another folder than that of the Snakefile.
    other = tmp_path / "elsewhere"
    micro = ("--configfile", "micro.yaml", "--directory", str(other), "--cores", "2")
    succeed(hypernoise, *shlex.split(run)[1:], *micro, cwd=folder)
    table = pd.read_parquet(other / "results" / "tables" / "table1.parquet")
    assert list(table["method"]) == MICRO["methods"]
    assert (other / "results" / "index.html").is_file()
    assert not (folder / "results").exists()
    record = frames.read_provenance(other / "results" / "tables" / "table1.parquet")
    assert (record["commit"], record["dirty"]) == (built.commit, False)
    own = [f"--components={folder / name}" for name in ("workflows", "mine")]
    succeed(hypernoise, *shlex.split(verify)[1:], *own, cwd=other)
