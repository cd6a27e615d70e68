"""What keeps the house easy to find one's way in, counted."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import REPOSITORY

from harness.experiment.component_files import declared

SOURCES = ("harness", "hypernoise", "tools", "workflows")
#: A file that is longer holds more than one thing.
MOST_LINES_OF_A_SOURCE = 400
MOST_LINES_OF_A_FUNCTION = 62
MOST_METHODS = 24
MOST_LINES_OF_A_TABLE = 6
#: Of private functions, those that are called once: each is a jump that a reader makes for nothing.
LARGEST_SHARE_CALLED_ONCE = 0.40


def sources() -> Iterator[Path]:
    for folder in SOURCES:
        for suffix in ("*.py", "*.smk"):
            yield from sorted((REPOSITORY / folder).rglob(suffix))
    yield REPOSITORY / "Snakefile"


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_source_file_is_long() -> None:
    long = {str(path): n for path in sources() if (n := lines_of(path)) > MOST_LINES_OF_A_SOURCE}
    assert not long


def test_no_function_is_long() -> None:
    long = {
        f"{path.name}:{function.name}": n
        for path in sources()
        if path.suffix == ".py"
        for function in functions(path)
        if (n := _body_lines(function)) > MOST_LINES_OF_A_FUNCTION
    }
    assert not long


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("package", ["harness", "hypernoise"])
def test_few_private_functions_are_called_once(package: str) -> None:
    once, private = [], 0
    for path in (REPOSITORY / package).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and re.match(r"_[a-z]", node.name):
                private += 1
                if len(re.findall(rf"\b{node.name}\b", text)) <= 2:
                    once.append(f"{path.name}:{node.name}")
    assert len(once) < LARGEST_SHARE_CALLED_ONCE * private, sorted(once)


def test_methods_are_few_because_values_are_arguments() -> None:
    methods = declared(REPOSITORY / "workflows").methods
    assert len(methods) <= MOST_METHODS
    assert not [name for name in methods if re.search(r"\d_\d|_\d+$", name)]


def test_a_table_is_declared_in_six_lines_and_has_no_rule_of_its_own() -> None:
    for path in (REPOSITORY / "workflows" / "tables").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*rule\b", text, re.MULTILINE), path
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        added = [call for call in calls if ast.unparse(call.func) == "add_table"]
        assert added, path
        for call in added:
            assert (call.end_lineno or 0) - call.lineno + 1 <= MOST_LINES_OF_A_TABLE, path
        code = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert len(code) <= MOST_LINES_OF_A_TABLE * len(added) + 1, path


def test_no_contract_of_imports_ignores_an_edge() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    assert len(contracts) >= 4
    assert not [contract["name"] for contract in contracts if "ignore_imports" in contract]


def test_tools_of_developers_are_not_installed() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert packages == ["harness*", "hypernoise*"]
    users = [
        str(path)
        for package in packages
        for path in (REPOSITORY / package.rstrip("*")).rglob("*.py")
        if re.search(r"^\s*(from|import) tools\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not users
