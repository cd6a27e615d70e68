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


#: Name of the verb -> its command.
COMMANDS: dict[str, Command] = {
    "verify": Command(
        "recompute every table of a results folder and say which numbers cannot be traced",
        "harness.verify:run",
        _verify,
    ),
}
