"""Which code this is, and what comes with it: of a checkout, or of the wheel that was built of one.

Standard library only, and nothing of this project: `setup.py` runs this file, too.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

#: The packages' folder: a checkout, or what they are installed into.
INSTALLED = Path(__file__).resolve().parents[2]
#: What a project is made of, beside the packages.
PROJECT = ("Snakefile", "workflows", "profiles")
#: Where a wheel has it, and its commit, below :data:`INSTALLED`.
IN_WHEEL = Path("harness", "project")
COMMIT_FILE = "commit.json"


def project() -> Path:
    """The folder that holds :data:`PROJECT`."""
    in_wheel = INSTALLED / IN_WHEEL
    return in_wheel if in_wheel.is_dir() else INSTALLED


def shipped(path: str | Path) -> Path:
    """A path of this folder, or, where there is no such one here, of what comes with the code."""
    path = Path(path)
    own = project() / path
    is_ours = not path.exists() and path.parts and path.parts[0] in PROJECT
    return own if is_ours and own.exists() else path


@cache
def commit() -> dict[str, Any]:
    """The commit of the running code, and whether tracked files differ from it.

    Of a wheel, it is that of the checkout that it was built of. ``{"commit": "unknown", "dirty":
    True}`` where nobody knows: of code that was copied out of a checkout.
    """
    # A folder of installed packages may lie in somebody else's checkout.
    if _git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        note = project() / COMMIT_FILE
        known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        return {"commit": "unknown", "dirty": True, **known}
    status = _git("status", "--porcelain", "--untracked-files=no")
    head = _git("rev-parse", "HEAD")
    return {"commit": head or "unknown", "dirty": status is None or bool(status)}


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(INSTALLED), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
