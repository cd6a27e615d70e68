"""Commands that documents and configs show work as they are written."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import REPOSITORY
from snakemake_runs import run_snakemake

from harness.cli.command_line import _parser
from harness.cli.verbs import COMMANDS

PLACES = (
    *("README.md", "CONTRIBUTING.md", "docs/*.md", "examples/**/*", "profiles/**/*"),
    *("workflows/*/*.smk", "workflows/config/*.yaml", "workflows/report/*", "workflows/*/*/*.yaml"),
)
_PROGRAMS = "snakemake|make|hypernoise|python -m harness"
_STARTS = rf"(?:(?:{_PROGRAMS})\s|python -m (?:tools|parity|benchmarks)[.])"
#: A line of a block of code or of a comment, or what stands between backticks; it may set where
#: modules are found.
_PATH = r"(?:PYTHONPATH=\S+ )?"
SHOWN = re.compile(rf"^(?:# +)?{_PATH}({_STARTS}[^`#\n]+)|`{_PATH}({_STARTS}[^`]+)`", re.MULTILINE)


def shown() -> list[str]:
    files = sorted({file for place in PLACES for file in REPOSITORY.glob(place) if file.is_file()})
    found: dict[str, None] = {}
    for file in files:
        for groups in SHOWN.findall(file.read_text(encoding="utf-8")):
            command = " ".join("".join(groups).replace("\n#", "\n").split())
            found[command.rstrip(".,:;")] = None
    return list(found)


SHOWN_COMMANDS = shown()
#: `make run` gives what stands in RUN to Snakemake.
GIVEN = [
    found[1] for found in map(re.compile(r'make run RUN="(.+)"$').match, SHOWN_COMMANDS) if found
]
WORKFLOW = [
    *(command for command in SHOWN_COMMANDS if command.startswith("snakemake ")),
    *(f"snakemake --cores all {given}" for given in GIVEN),
]
#: Several places show one command, with and without the cores.
PLANNED = {frozenset(command.split()) - {"--cores", "all", "-n"}: command for command in WORKFLOW}
VERBS = [c for c in SHOWN_COMMANDS if c.startswith(("python -m harness ", "hypernoise "))]
MODULES = [
    re.split(r"\s", command)[2]
    for command in SHOWN_COMMANDS
    if re.match(r"python -m (?!harness\b)", command)
]
MAKE = [command for command in SHOWN_COMMANDS if command.startswith("make ")]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh checkout, as far as the workflow goes."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(REPOSITORY / "Snakefile", folder)
    for name in ("workflows", "profiles", "examples"):
        shutil.copytree(REPOSITORY / name, folder / name)
    # README says to copy the examples.
    shutil.copytree(REPOSITORY / "examples", folder.parent / "mine")
    for name in ("harness", "hypernoise"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


def test_commands_are_found_where_readers_find_them() -> None:
    assert "snakemake --cores all --configfile workflows/config/paper.yaml" in WORKFLOW
    assert any(
        "compare --configfile workflows/config/tiny_every_method.yaml" in c for c in WORKFLOW
    )
    assert "python -m harness list methods" in VERBS
    assert "make snapshot" in MAKE
    assert "--configfile workflows/config/first.yaml" in GIVEN
    assert {"tools.training_trace", "benchmarks.scorer_throughput"} <= set(MODULES)
    assert "snakemake --profile workflows/profiles/slurm" in WORKFLOW
    assert "snakemake white_reno_sweep" in WORKFLOW


@pytest.mark.parametrize("module", dict.fromkeys(MODULES))
def test_a_module_that_a_document_runs_can_be_run(module: str) -> None:
    folders = ("", "tests", "tests/support")
    places = [REPOSITORY / folder / f"{module.replace('.', '/')}.py" for folder in folders]
    (source,) = (place.read_text(encoding="utf-8") for place in places if place.is_file())
    assert '\nif __name__ == "__main__":\n' in source


@pytest.mark.parametrize("command", PLANNED.values())
def test_a_command_of_the_workflow_plans_what_it_names(command: str, checkout: Path) -> None:
    if "slurm" in command:
        pytest.importorskip("snakemake_executor_plugin_slurm")
    # What is missing for it is no matter here, and is not looked for.
    arguments = [*shlex.split(command)[1:], "--dry-run", "--no-hooks"]
    done = run_snakemake(checkout, *arguments)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert "This was a dry-run" in done.stdout + done.stderr


def test_targets_of_the_page_of_targets_are_planned_together(checkout: Path) -> None:
    page = (REPOSITORY / "docs" / "targets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|.*\| .*\|$", page, re.MULTILINE)
    targets = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert {"controls", "tuning", "validation", "pretrain"} <= set(targets)
    # Those are for configs of another benchmark, and of a set that has a config of its own.
    targets = [name for name in targets if name not in ("hpsv2_styles", "hacking")]
    test_a_command_of_the_workflow_plans_what_it_names(f"snakemake {' '.join(targets)}", checkout)
    own = "snakemake hacking --configfile workflows/config/tiny_hacking.yaml"
    test_a_command_of_the_workflow_plans_what_it_names(own, checkout)
    styles = checkout / "styles.yaml"
    styles.write_text(
        "extends: workflows/config/paper.yaml\nbenchmark: hpsv2\n"
        "models: [sd_turbo]\nmethods: [base]\njudges: {hpsv2_1: hpsv2_1}\n"
    )
    command = "snakemake hpsv2_styles --configfile styles.yaml"
    test_a_command_of_the_workflow_plans_what_it_names(command, checkout)
    with pytest.raises(AssertionError, match="hpsv2_styles needs reward hpsv2_1: benchmark hpsv2"):
        styles.write_text(styles.read_text().replace("{hpsv2_1: hpsv2_1}", "{}"))
        test_a_command_of_the_workflow_plans_what_it_names(command, checkout)


@pytest.mark.parametrize("command", VERBS)
def test_a_command_of_the_harness_takes_its_words(command: str) -> None:
    # What `run` does not know is Snakemake's, and run in tests/test_wheel.py.
    words = shlex.split(command.removeprefix("python -m harness").removeprefix("hypernoise"))
    options, others = _parser().parse_known_args(words)
    assert not others or COMMANDS[options.verb].passes_on
    given = [value for value in vars(options).values() if isinstance(value, Path)]
    assert not [path for path in given if path.suffix == ".yaml" and not path.is_file()]


@pytest.mark.parametrize(
    "command", ["list methods", "explain tiny_sd reno matcher", "pin"], ids=lambda text: text
)
def test_a_command_that_only_tells_tells(command: str) -> None:
    assert f"python -m harness {command}" in SHOWN_COMMANDS
    done = subprocess.run(
        [sys.executable, "-m", "harness", *command.split()],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", MAKE)
def test_a_target_of_make_is_one(command: str) -> None:
    target, *_ = [word for word in shlex.split(command)[1:] if "=" not in word]
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), command
