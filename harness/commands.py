"""Verbs that a user types with options of their own; verbs of the workflow take a job instead.

Standard library only, so that ``--help`` is quick: a command's work is named, not imported.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


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


def _geneval(parser: ArgumentParser) -> None:
    parser.add_argument(
        "images", type=Path, help="folder in GenEval's layout, or a results.jsonl to summarise"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("results.jsonl"), help="default: %(default)s"
    )
    parser.add_argument(
        "--detector",
        default="",
        help="folder or hub name of Mask2Former (default: the published one); shapeworld; or "
        "package.module:function that gives an Evaluator",
    )
    parser.add_argument("--revision", default="", help="commit of the detector's hub repository")
    parser.add_argument("--clip", default="", help="file that tells colours, if not the published")
    parser.add_argument("--prompts", type=int, help="how many prompts there must be")
    parser.add_argument("--samples", type=int, help="how many images each prompt must have")


def _export_geneval(parser: ArgumentParser) -> None:
    parser.add_argument("images", type=Path, help="images.parquet of one method")
    parser.add_argument("out", type=Path, help="folder to make")


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
    "geneval": Command(
        "score a folder of images in GenEval's layout, or summarise its results",
        "harness.geneval_folder:geneval",
        _geneval,
    ),
    "export-geneval": Command(
        "write a method's images into GenEval's layout, for other tools",
        "harness.geneval_folder:export",
        _export_geneval,
    ),
}
