"""Files that benchmarks publish: from a local folder, or by pinned commit and SHA-256.

The folder is ``data`` in the working directory, or the one that the environment variable
``HYPERNOISE_DATA`` names. Files that are missing there are downloaded to it.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path

from harness.base.errors import each
from harness.experiment.pins import ADVICE, STAND_INS
from hypernoise.weights.pins import HASH_MARK, Missing, Unpinned, is_remote, missing_in

VARIABLE = "HYPERNOISE_DATA"
DEFAULT_FOLDER = Path("data")


@cache
def places() -> dict[str, str]:
    """A published file's name in a data folder -> its place and hash, from ``data_files.toml``."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@cache
def _stand_ins(listing: str) -> dict[str, str]:
    """A rehearsal's data files -> their hashes; none elsewhere."""
    return dict(json.loads(Path(listing).read_text(encoding="utf-8"))) if listing else {}


def folder() -> Path:
    """Where data files are."""
    return Path(os.environ.get(VARIABLE) or DEFAULT_FOLDER)


def locate(name: str, place: str = "") -> Path:
    """Where a data file is, checked, and downloaded if the folder does not have it.

    Args:
        name: its path in a data folder.
        place: in the form of :mod:`hypernoise.weights.pinned_files`; that of :func:`places` if
            empty. A remote file without a hash is taken from the folder as it is, and never
            downloaded. A file of this machine is taken from where it is.

    Raises:
        ValueError: the file, or what was downloaded, is another one (both hashes are named), or
            ``place`` has another form.
        FileNotFoundError: it is neither here nor to be downloaded.
    """
    # Lazy import: whoever asks where files are published needs no torch.
    from hypernoise.weights.pinned_files import PinnedFile

    text = place or places()[name]
    if name in (laid := _stand_ins(os.environ.get(STAND_INS, ""))):
        return PinnedFile(str(folder() / name), laid[name]).fetch()
    path, instead = folder() / name, f"name a folder that has {name} in {VARIABLE}"
    if HASH_MARK not in text and is_remote(text):
        if path.is_file():
            return path
        raise Unpinned(
            f"{path} is missing, and is not downloaded without a SHA-256 to check it by. Get it "
            f"from {text} and put it there, or {instead}; {ADVICE}",
            text,
        )
    try:
        return PinnedFile.parse(text).fetch(path)
    except FileNotFoundError as error:
        found = missing_in(error)
        what, command = (found.what, found.command) if found else (str(path), "")
        raise Missing(f"{error}, or {instead}", what, command) from error


def locate_all(names: Iterable[str]) -> list[Path]:
    """As :func:`locate`, of several files: the faults of all are raised together."""
    return each([partial(locate, name) for name in names])
