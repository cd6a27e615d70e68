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
#: A file of a hub repository, at a commit or at none.
HUB_FILE = re.compile(
    rf"hf://(?P<repository>[^/@]+/[^/@]+)(?:@(?P<revision>{COMMIT.pattern}))?/(?P<path>.+)"
)
#: Comes between a file's place and the SHA-256 that it must have.
HASH_MARK = "#sha256="
_REMOTE = ("hf://", "https://")


class Unpinned(ValueError):
    """A download that lacks its commit or hash: tomorrow it could be another one."""


def is_remote(place: str) -> bool:
    """Whether a file is of the hub or the web, and not of this machine."""
    return place.startswith(_REMOTE)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
