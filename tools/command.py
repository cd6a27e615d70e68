"""What the tools' command lines share: options of what is measured, and errors in one line."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def parser_of(module: str, described: str | None) -> ArgumentParser:
    """A parser for ``python -m tools.MODULE``; it describes itself with the module's docstring."""
    return ArgumentParser(prog=f"python -m tools.{module}", description=described)


def measuring_options(
    parser: ArgumentParser, models: Sequence[str], reward: str, rank: int, out: str
) -> None:
    """Add what each tool asks that measures declared models; arguments are the defaults."""
    parser.add_argument("--models", nargs="+", default=models, metavar="NAME", help="models")
    parser.add_argument("--reward", default=reward, metavar="NAME", help="what is trained on")
    parser.add_argument("--benchmark", default="shapeworld", metavar="NAME", help="its prompts")
    parser.add_argument("--rank", type=int, default=rank, metavar="N", help="of untrained LoRA")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch's threads")
    parser.add_argument("--device", default="", help="cpu or cuda; a GPU where there is one")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="FOLDER", help="gets files")
    parser.add_argument(
        "--components", type=_one_path, default=[Path("workflows")], metavar="FOLDER"
    )


def _one_path(text: str) -> list[Path]:
    return [Path(text)]


def main(parser: ArgumentParser, run: Callable[..., Any], given: Sequence[str] | None) -> int:
    """Call a tool with its options by name; the exit code is its own, or 2 for a wrong option."""
    try:
        return run(**vars(parser.parse_args(given))) or 0
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
