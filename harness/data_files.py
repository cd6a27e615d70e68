"""Files that benchmarks publish: from a local folder, or by pinned commit and SHA-256.

The folder is ``data`` in the working directory, or the one that the environment variable
``HYPERNOISE_DATA`` names. What it lacks is downloaded into it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hypernoise.checkpoints import PinnedFile

VARIABLE = "HYPERNOISE_DATA"
DEFAULT_FOLDER = Path("data")


@dataclass(frozen=True)
class DataFile:
    """A published file.

    Attributes:
        name: its path in a data folder.
        repository: owner/name on GitHub.
        commit: where its path in the repository is looked up.
        path: there.
        sha256: of its contents, which no repository can change. Empty where no trustworthy source
            has it: then the file is taken from the folder as it is, and never downloaded.
    """

    name: str
    repository: str
    commit: str
    path: str
    sha256: str = ""

    @property
    def url(self) -> str:
        return f"https://github.com/{self.repository}/raw/{self.commit}/{self.path}"


def folder() -> Path:
    """Where data files are."""
    return Path(os.environ.get(VARIABLE) or DEFAULT_FOLDER)


def locate(file: DataFile) -> Path:
    """Where a data file is, checked, and downloaded where the folder lacks it.

    Raises:
        ValueError: the file, or what was downloaded, is another one: both hashes are named.
        FileNotFoundError: it is neither here nor to be downloaded.
    """
    path = folder() / file.name
    if not file.sha256:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing, and is not downloaded without a SHA-256 to check it by. Get "
                f"it from {file.url} and put it there, or name a folder that has it in {VARIABLE}"
            )
        return path
    pinned = PinnedFile(file.url, file.sha256)
    try:
        return pinned.fetch(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}, or name a folder that has {file.name} in {VARIABLE}"
        ) from error
