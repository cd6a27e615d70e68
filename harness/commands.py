"""Verbs that a user types with options of their own; verbs of the workflow take a job instead.

Standard library only, so that ``--help`` is quick: a command's work is named, not imported.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One verb.

    Attributes:
        help: one line.
        target: "package.module:function"; it gets what ``add_options`` declared by keyword and
            returns None, or the exit code. ValueError and OSError become a one-line message.
        add_options: declares the verb's arguments.
    """

    help: str
    target: str
    add_options: Callable[[ArgumentParser], None]


def _verify(parser: ArgumentParser) -> None:
    parser.add_argument("results", metavar="RESULTS", help="a results folder")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="let table functions of another package run, too",
    )


def _compare(parser: ArgumentParser) -> None:
    parser.add_argument("a", metavar="RESULTS_A", help="results folder of the earlier run")
    parser.add_argument("b", metavar="RESULTS_B", help="results folder of the later run")
    parser.add_argument(
        "--out", metavar="PATH", help="write PATH.md, PATH.csv and PATH.json besides"
    )


#: Name of the verb -> its command.
COMMANDS: dict[str, Command] = {
    "compare": Command(
        "say what moved between two runs, beyond noise or not, and what was done differently",
        "harness.comparison:run",
        _compare,
    ),
    "verify": Command(
        "recompute every table of a results folder and say which numbers cannot be traced",
        "harness.verify:run",
        _verify,
    ),
}
