"""What names content: a commit of the hub, and the SHA-256 of a file."""

from __future__ import annotations

import re

#: Branches and tags move, commits do not.
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
