"""How texts name what is downloaded. Standard library only: Snakemake reads declarations."""

from __future__ import annotations

import re

from hypernoise.weights.digests import COMMIT

#: A hub repository, or a folder in a folder.
REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")
#: A file of a hub repository, at a commit or at none.
HUB_FILE = re.compile(
    rf"hf://(?P<repository>[^/@]+/[^/@]+)(?:@(?P<revision>{COMMIT.pattern}))?/(?P<path>.+)"
)
#: Comes between a file's place and the SHA-256 that it must have.
HASH_MARK = "#sha256="
_REMOTE = ("hf://", "https://")


def is_remote(place: str) -> bool:
    """Whether a file is of the hub or the web, and not of this machine."""
    return place.startswith(_REMOTE)
