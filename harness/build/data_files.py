"""Files that benchmarks publish: from a local folder, or by pinned commit and SHA-256.

The folder is ``data`` in the working directory, or the one that the environment variable
``HYPERNOISE_DATA`` names. Files that are missing there are downloaded to it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.experiment.pins import ADVICE
from hypernoise.weights.pinned_files import PinnedFile
from hypernoise.weights.pins import HASH_MARK, is_remote

VARIABLE = "HYPERNOISE_DATA"
DEFAULT_FOLDER = Path("data")
Host = Literal["github", "hub_dataset"]
#: Where a repository's file is.
HOSTS: dict[Host, str] = {
    "github": "https://github.com/{repository}/raw/{commit}/{path}",
    "hub_dataset": "https://huggingface.co/datasets/{repository}/resolve/{commit}/{path}",
}


@dataclass(frozen=True)
class DataFile:
    """A published file.

    Attributes:
        name: its path in a data folder.
        repository: owner/name.
        commit: where its path in the repository is looked up.
        path: its path in the repository.
        sha256: of its contents, which no repository can change.
        host: which site has the repository, one of :data:`HOSTS`.
    """

    name: str
    repository: str
    commit: str
    path: str
    sha256: str
    host: Host = "github"

    @property
    def url(self) -> str:
        return HOSTS[self.host].format(**vars(self))


def folder() -> Path:
    """Where data files are."""
    return Path(os.environ.get(VARIABLE) or DEFAULT_FOLDER)


def locate(file: DataFile) -> Path:
    """Where a data file is, checked, and downloaded if the folder does not have it.

    Raises:
        ValueError: the file, or what was downloaded, is another one: both hashes are named.
        FileNotFoundError: it is neither here nor to be downloaded.
    """
    return locate_named(file.name, f"{file.url}{HASH_MARK}{file.sha256}")


def locate_named(name: str, text: str) -> Path:
    """As :func:`locate`, of a file that a declaration names.

    Args:
        name: its path in a data folder.
        text: in the form of :mod:`hypernoise.weights.pinned_files`. A remote file without a hash is
            taken from the folder as it is, and never downloaded. A file of this machine is taken
            from where it is.

    Raises: as :func:`locate`, and ValueError for a text of another form.
    """
    path, instead = folder() / name, f"name a folder that has {name} in {VARIABLE}"
    if HASH_MARK not in text and is_remote(text):
        if path.is_file():
            return path
        raise FileNotFoundError(
            f"{path} is missing, and is not downloaded without a SHA-256 to check it by. Get it "
            f"from {text} and put it there, or {instead}; {ADVICE}"
        )
    try:
        return PinnedFile.parse(text).fetch(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}, or {instead}") from error
