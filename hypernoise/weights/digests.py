"""What names content: a commit of the hub, and the SHA-256 of a file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

#: Branches and tags move, commits do not.
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


class Unpinned(ValueError):
    """A download that lacks its commit or hash: tomorrow it could be another one."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
