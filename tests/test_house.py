"""What holds the repository together: commands, versions, layers."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from paths import REPOSITORY

from harness.cli.verbs import COMMANDS
from harness.experiment.component_files import declared
from harness.experiment.jobs import JOBS

SOURCES = ("harness", "hypernoise", "tests", "workflows", "profiles", "examples")
PROTOCOLS = ("hypernoise.models.protocol", "hypernoise.rewards.protocol")


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def imports(path: Path) -> set[str]:
    """Modules that a file imports, at its top or inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def text_files() -> Iterator[Path]:
    suffixes = {".py", ".smk", ".yaml", ".toml", ".md", ".txt", ".rst", ".def", ""}
    for folder in SOURCES:
        paths = (REPOSITORY / folder).rglob("*")
        yield from (p for p in paths if p.is_file() and p.suffix in suffixes and is_ours(p))
    # In a worktree .git is a file, and not the project's.
    own = (p for p in REPOSITORY.iterdir() if p.is_file() and p.name != ".git")
    yield from (p for p in own if p.suffix in suffixes)


@cache
def committed() -> frozenset[Path]:
    """The files that git knows; none where this is no checkout of git's."""
    command = ["git", "-C", str(REPOSITORY), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return frozenset(REPOSITORY / name for name in done.stdout.split("\0") if name)


def is_ours(path: str | Path) -> bool:
    """Whether a file is the project's: a user's components beside ours are held to nothing."""
    return not committed() or REPOSITORY / path in committed()


def normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_every_make_command_that_the_documents_name_exists() -> None:
    text = "\n".join(documents().values())
    named = set(re.findall(r"`make ([a-z][\w-]*)", text))
    named |= set(re.findall(r"^(?:\$ )?make ([a-z][\w-]*)", text, re.MULTILINE))
    made = set(re.findall(r"^([a-z][\w-]*):", read("Makefile"), re.MULTILINE))
    assert {"run", "test"} <= named
    assert named <= made


def documents() -> dict[str, str]:
    """README and docs by their path."""
    pages = [REPOSITORY / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING")]
    paths = [*pages, *sorted((REPOSITORY / "docs").glob("*.md"))]
    return {str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8") for path in paths}


def targets() -> set[str]:
    """Names of rules: of the rule files, of tables and their groups, and of image sets."""
    rules = {
        name
        for path in (REPOSITORY / "workflows").rglob("*.smk")
        for name in re.findall(r"^rule (\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    config: dict[str, Any] = yaml.safe_load(read("workflows/config/tiny.yaml"))
    tables = declared(REPOSITORY / "workflows").tables.values()
    made = {table.name for table in tables} | {table.group for table in tables}
    return rules | made | set(config["image_sets"])


def test_every_verb_that_the_documents_name_exists() -> None:
    text = "\n".join(documents().values())
    named = set(re.findall(r"python -m harness (?:--\S+ )*([a-z][\w-]*)", text))
    named |= set(re.findall(r"(?:^|`)hypernoise ([a-z][\w-]*)", text, re.MULTILINE))
    assert {"compare", "verify", "geneval", "profile"} <= named
    assert named <= COMMANDS.keys() | JOBS.keys()


def test_every_snakemake_target_that_the_documents_name_exists() -> None:
    text = "\n".join(documents().values())
    commands = re.findall(r"\bsnakemake (.+?)(?:`|#|  |$)", text, re.MULTILINE)
    options = r"--(?:cores|configfile|profile|snakefile) \S+|\w+=\S+|-\S+"
    named = {word for command in commands for word in re.sub(options, "", command).split()}
    # The table of targets names them alone, and several in a cell.
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", documents()["docs/targets.md"], re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"\w+", row)}
    assert {"compare", "table9"} <= named
    assert {"controls", "audit", "reno_sweep", "pretrain"} <= listed
    assert named | listed <= targets()


def test_every_file_that_the_documents_link_to_or_run_with_exists() -> None:
    for name, text in documents().items():
        linked = re.findall(r"\]\(([^)#:]+)\)", text)
        folder = (REPOSITORY / name).parent
        configs = re.findall(r"--(?:configfile|profile) ([\w./]+)", text)
        missing = [path for path in linked if not (folder / path).exists()]
        missing += [path for path in configs if not (REPOSITORY / path).exists()]
        assert not missing, name


def test_no_line_of_the_documents_is_too_long() -> None:
    for name, text in {**documents(), "CHANGELOG.md": read("CHANGELOG.md")}.items():
        lines = [line for line in text.splitlines() if not line.startswith("|")]
        assert not [line for line in lines if len(line) > 112], name


def test_continuous_integration_runs_make_test() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8")


def test_every_dependency_has_a_version_that_was_tried() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    names = {normal(re.split(r"[<>=!~ \[]", item)[0]) for item in wanted}
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", read("constraints.txt"), re.MULTILINE))
    assert names <= {normal(name) for name in pins}


def test_every_dependency_says_what_it_is_for() -> None:
    lists = re.findall(r"^(?:dependencies|dev) = \[\n(.*?)^\]", read("pyproject.toml"), re.M | re.S)
    packages = [line for each in lists for line in each.splitlines()]
    assert len(packages) > 40
    assert not [line for line in packages if not re.search(r'",  # \w+|",  # `\w+', line)]


def test_the_licence_is_apache_2() -> None:
    licence = read("LICENSE")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_no_file_names_a_place_of_one_machine() -> None:
    # The pattern is put together so that this file is none of its own hits.
    place = re.compile("|".join("/" + name for name in ("work/", "tmp/", "root/", "home/")))
    hits = [
        f"{path.relative_to(REPOSITORY)}: {line.strip()}"
        for path in text_files()
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(not _inside_a_path(line, match.start()) for match in place.finditer(line))
    ]
    assert not hits


def _inside_a_path(line: str, start: int) -> bool:
    return start > 0 and (line[start - 1].isalnum() or line[start - 1] in "}_.-")


def test_the_method_knows_nothing_of_the_measurement() -> None:
    guilty = [p for p in (REPOSITORY / "hypernoise").rglob("*.py") if _uses(p, "harness")]
    assert not guilty


@pytest.mark.parametrize("part", ["models", "rewards", "methods"])
def test_models_rewards_and_methods_share_protocols_only(part: str) -> None:
    others = {"models", "rewards", "methods"} - {part}
    for path in (REPOSITORY / "hypernoise" / part).glob("*.py"):
        foreign = {
            name
            for name in imports(path)
            if name.startswith(tuple(f"hypernoise.{other}" for other in others))
        }
        assert foreign <= set(PROTOCOLS), path


def _uses(path: Path, package: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in imports(path))


def test_what_snakemake_parses_imports_nothing_heavy() -> None:
    code = (
        "import sys, harness.experiment.plan, harness.experiment.jobs\n"
        "heavy = {'torch', 'numpy', 'pandas', 'diffusers', 'transformers', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_jobs_without_a_network_start_without_torch() -> None:
    own = {"report.make", "stages.stop_at_reward", "cli.verify", "cli.compare"}
    modules = {f"harness.{name}" for name in own}
    for path in (REPOSITORY / "workflows" / "tables").glob("*.smk"):
        modules |= set(re.findall(r'\btarget="([\w.]+):', path.read_text(encoding="utf-8")))
    # The first measures, too; the other reads its groups from a file that may be downloaded.
    modules -= {"harness.stages.audit"}
    code = (
        "import importlib, sys; sys.modules['torch'] = None\n"
        f"for name in {sorted(modules)}: importlib.import_module(name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_jobs_without_a_generator_start_without_what_only_generators_need() -> None:
    heavy = ("accelerate", "diffusers", "peft", "transformers")
    code = (
        "import sys; from pathlib import Path\n"
        f"for name in {heavy}: sys.modules[name] = None\n"
        "import harness.stages.overlap, harness.stages.compare_images, harness.stages.score\n"
        "from harness.build.rewards import build_reward, check_reward\n"
        "from harness.experiment.component_files import declared\n"
        "from harness.benchmarks.build import check_benchmark\n"
        "found = declared(Path('workflows'))\n"
        "reward = found.reward('matcher')\n"
        "check_reward(reward); build_reward(reward, 'cpu')\n"
        "check_benchmark(found.benchmarks['shapeworld'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_component_files_declare_one_kind_each() -> None:
    for kind in ("models", "rewards", "methods", "benchmarks", "tables"):
        files = list(filter(is_ours, sorted((REPOSITORY / "workflows" / kind).glob("*.smk"))))
        assert files
        for path in files:
            declared = set(re.findall(r"\badd_(\w+)\(", path.read_text(encoding="utf-8")))
            assert declared == {kind.removesuffix("s")}, path


def test_whatever_the_report_shows_has_a_caption() -> None:
    folder = REPOSITORY / "workflows"
    captions = {path.stem for path in (folder / "report").glob("*.rst") if is_ours(path)}
    tables = declared(folder).tables.values()
    shown = (table for table in tables if table.label and is_ours(table.file))
    used = {table.caption or table.name for table in shown}
    assert captions - {"workflow"} == used


def test_tests_stand_in_the_folders_of_what_they_test_and_use_no_other_test() -> None:
    tests = REPOSITORY / "tests"
    for path in tests.rglob("test_*.py"):
        assert (REPOSITORY / path.parent.relative_to(tests)).is_dir(), path
        assert not [name for name in imports(path) if "test_" in name], path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 600, path


def test_the_citation_names_this_version_and_licence() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["preferred-citation"]["url"].endswith("2508.09968")


def test_whoever_reports_something_is_asked_for_what_helps() -> None:
    forms = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [form.stem for form in forms] == ["component", "fault", "number"]
    for form in forms:
        asked = yaml.safe_load(form.read_text(encoding="utf-8"))
        assert asked["name"] and asked["description"]
        assert all(part["validations"]["required"] for part in asked["body"])
