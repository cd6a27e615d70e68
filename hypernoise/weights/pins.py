"""How texts name what is downloaded, and what makes it the same tomorrow: a commit, a SHA-256.

Standard library only: Snakemake reads declarations.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

#: Branches and tags move, commits do not.
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
#: A hub repository, or a folder in a folder.
REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")
#: The same with its commit.
AT_COMMIT = re.compile(rf"(?P<weights>{REPOSITORY.pattern})@(?P<revision>[^/]*)")
#: A file of a hub repository, at a commit or at none.
HUB_FILE = re.compile(
    rf"hf://(?P<repository>[^/@]+/[^/@]+)(?:@(?P<revision>{COMMIT.pattern}))?/(?P<path>.+)"
)
#: Comes between a file's place and the SHA-256 that it must have.
HASH_MARK = "#sha256="
_REMOTE = ("hf://", "https://")
_PACKAGE = Path(__file__).resolve().parents[1]


class Missing(FileNotFoundError, ValueError):
    """Something that a run needs and that is not here, and does not come by itself.

    Attributes:
        what: the place of a file or repository as it is declared, or a package: one thing that
            several jobs lack has one name.
        command: what to type to have it; empty where the message alone can say.
    """

    def __init__(self, text: str, what: str = "", command: str = "") -> None:
        super().__init__(text)
        self.what, self.command = what, command


class Unpinned(Missing):
    """A download that lacks its commit or hash: tomorrow it could be another one."""


def missing_in(error: BaseException | None) -> Missing | None:
    """The thing whose lack an error, or what it came from, tells of."""
    while error is not None and not (isinstance(error, Missing) and error.what):
        error = error.__cause__
    return error


def is_remote(place: str) -> bool:
    """Whether a file is of the hub or the web, and not of this machine."""
    return place.startswith(_REMOTE)


def located(place: str | Path) -> Path:
    """Where a file or folder of this machine is that a declaration names.

    Relative places are of the working directory; those below ``hypernoise/`` that are not there are
    of this package, wherever it is installed.
    """
    path = Path(place)
    own = _PACKAGE.parent / path
    is_own = path.parts[:1] == (_PACKAGE.name,) and not path.exists() and own.exists()
    return own if is_own else path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
