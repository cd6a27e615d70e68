"""Files that benchmarks publish: from a local folder, or by pinned commit and SHA-256.

The folder is ``data`` in the working directory, or the one that the environment variable
``HYPERNOISE_DATA`` names. What it lacks is downloaded into it.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "HYPERNOISE_DATA"
DEFAULT_FOLDER = Path("data")
_TIMEOUT_S = 60


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
    if not path.is_file():
        _download(file, path)
    if file.sha256:
        _check(path.read_bytes(), file, str(path))
    return path


def _download(file: DataFile, path: Path) -> None:
    if not file.sha256:
        raise FileNotFoundError(
            f"{path} is missing, and is not downloaded without a SHA-256 to check it by. Get it "
            f"from {file.url} and put it there, or name a folder that has it in {VARIABLE}"
        )
    try:
        with urllib.request.urlopen(file.url, timeout=_TIMEOUT_S) as response:
            contents: bytes = response.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise FileNotFoundError(
            f"{path} is missing, and {file.url} cannot be had ({error}). Put the file there, or "
            f"name a folder that has it in {VARIABLE}"
        ) from error
    _check(contents, file, file.url)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(contents)
    partial.replace(path)


def _check(contents: bytes, file: DataFile, source: str) -> None:
    found = hashlib.sha256(contents).hexdigest()
    if found != file.sha256:
        raise ValueError(f"{source} has SHA-256 {found}, not {file.sha256}: it is another file")
