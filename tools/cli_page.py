"""Write docs/cli.md, the reference of ``python -m harness``, from its argument parser.

``make reference`` runs it; a test compares the page with the parser.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from harness.base.atomic_files import write_text
from harness.cli.command_line import _parser
from harness.cli.verbs import COMMANDS

PAGE = Path("docs/cli.md")
_HEAD = """\
# The command line

`python -m harness` takes a verb, which does one thing and ends with 0; with 2 where it cannot,
after one line on standard error that says why; `verify` ends with 1 where it found a fault. Words
in capitals are yours to give. What runs the workflow is `snakemake` ([targets.md](targets.md)).

This page is made of the argument parser by `make reference`.

## Every verb
"""
_WORKFLOW = """\
## Verbs of the workflow

Snakemake calls them, a job each: `--job` is its job as JSON (the classes in
`harness/experiment/jobs.py`), or the file that holds it.

| verb | what it does | may have |
|---|---|---|"""
_TABLE = ["", "| option | value | default | meaning |", "|---|---|---|---|"]
#: Options that every verb has, by their longest name.
_COMMON = ("--help", "--data", "--traceback")


def page() -> str:
    """The page, as Markdown."""
    found = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    verbs: dict[str, argparse.ArgumentParser] = found.choices
    common = [a for a in verbs["list"]._actions if a.option_strings[-1:] in _ENDS]
    lines = [_HEAD.rstrip(), *_TABLE, *map(_row, common), ""]
    for verb in COMMANDS:
        said = str(verbs[verb].description)
        own = [a for a in verbs[verb]._actions if a.option_strings[-1:] not in _ENDS]
        lines += [f"## `{verb}`", "", f"{said[0].upper()}{said[1:]}.", *_TABLE, *map(_row, own), ""]
    lines.append(_WORKFLOW)
    for verb in (name for name in verbs if name not in COMMANDS):
        names = {a.option_strings[-1] for a in verbs[verb]._actions} - {"--job", *_COMMON}
        options = ", ".join(f"`{name}`" for name in sorted(names))
        lines.append(f"| `{verb}` | {verbs[verb].description} | {options} |")
    return "\n".join(lines) + "\n"


_ENDS = [[name] for name in _COMMON]


def _row(action: argparse.Action) -> str:
    """The row of an option, or of an argument, which has no dashes."""
    metavar = str(action.metavar or action.dest).upper()
    value = " or ".join(f"`{choice}`" for choice in action.choices or ()) or f"`{metavar}`"
    value = "" if action.nargs == 0 else value + " …" * (action.nargs in ("+", "*"))
    default = action.default if action.option_strings else None
    if isinstance(default, (tuple, list)):
        default = " ".join(map(str, default))
    none = default in (None, "", argparse.SUPPRESS) or default is False
    shown = "" if none else f"`{default}`"
    if action.option_strings and action.required:
        shown = "has to be given"
    # The help of a terminal repeats what the page has a column for.
    meaning = re.sub(r" \(default: %\(default\)s\)", "", action.help or "").replace("|", "\\|")
    name = ", ".join(action.option_strings) or metavar
    return f"| `{name}` | {value} | {shown} | {meaning} |"


def write(root: Path = Path()) -> None:
    """Write the page into a checkout."""
    write_text(root / PAGE, page())


if __name__ == "__main__":
    write()
