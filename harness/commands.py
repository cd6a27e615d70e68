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
