"""The SHA-256 of weight files: what makes two results of one name the results of one network.

A file that a declaration pins has the hash that it was loaded by, and is not read again. Others are
read. Those of 64 MiB and more are read once: their hashes are kept in the user's cache, by device,
inode, size and times of change, and a file of which all of these are the same is trusted to be the
same. (The time of the last change of the inode cannot be set by a program without privileges.)

Standard library only; the hub's client is asked where its cache is, if weights are of the hub.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

from harness.base.atomic_files import write_text
from hypernoise.weights.pins import located, sha256_of

#: Smaller files are read whenever they are asked for.
LARGE_BYTES = 64 * 2**20
#: What holds weights or says how they are used; a repository has pictures and texts besides.
_SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".gguf", ".bin", ".pt", ".pth")


#: Component -> role of a file -> SHA-256.
Hashes: TypeAlias = Mapping[str, Mapping[str, str]]


class WeightFile(NamedTuple):
    """A file, folder or repository that a component reads its weights from.

    Attributes:
        component: what frames call the component: ``"reward matcher"``.
        role: the argument that names it; those of nested declarations after those of their parents.
        place: where it is, as declared, without its hash.
        sha256: the hash that the declaration pins, if it does.
        commit: of a repository of the hub.
    """

    component: str
    role: str
    place: str
    sha256: str = ""
    commit: str = ""

    @property
    def root(self) -> Path:
        """Where it is on this machine, if it is: of a repository, its commit in the hub's cache."""
        if not self.commit:
            return located(self.place)
        # Imported here because only weights of the hub need it.
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        name = repo_folder_name(repo_id=self.place, repo_type="model")
        return Path(constants.HF_HUB_CACHE, name, "snapshots", self.commit)


def hashes(files: Iterable[WeightFile]) -> dict[str, dict[str, str]]:
    """Component -> role -> SHA-256; of a folder ``role/path in it`` for every file.

    Places that are not on this machine are left out: a job that needs them cannot run.

    Raises:
        OSError: a file cannot be read.
    """
    found: dict[str, dict[str, str]] = {}
    for file in files:
        own = found.setdefault(file.component, {})
        if file.sha256:
            own[file.role] = file.sha256
            continue
        root = file.root
        own.update(
            (file.role if path == root else f"{file.role}/{path.relative_to(root).as_posix()}", sha)
            for path in _files_of(root)
            for sha in [sha256_once(path)]
        )
    return {component: dict(sorted(own.items())) for component, own in sorted(found.items())}


def completed(taken: Hashes, files: Iterable[WeightFile]) -> dict[str, dict[str, str]]:
    """Hashes that were taken before a job's work, and those of what it downloaded meanwhile.

    A job that is the first one to need a repository of the hub has it only when it has been loaded;
    its commit says that it is the same. What was here before keeps the hash that it had then.

    Raises:
        OSError: as :func:`hashes`.
    """
    now = hashes(file for file in files if file.commit)
    names = sorted(taken.keys() | now.keys())
    merged = {name: {**now.get(name, {}), **taken.get(name, {})} for name in names}
    return {name: dict(sorted(own.items())) for name, own in merged.items()}


def _files_of(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix in _SUFFIXES and path.is_file() and not hidden:
            yield path


def sha256_once(path: Path) -> str:
    """SHA-256 of a file, which is read once if it is large (this module's docstring)."""
    stat = path.stat()
    if stat.st_size < LARGE_BYTES:
        return sha256_of(path)
    fields = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    key = " ".join(map(str, fields))
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    store = Path(home, "hypernoise", "weight_hashes.json")
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = sha256_of(path)
        # A cache that cannot be written costs time only.
        with suppress(OSError):
            write_text(store, json.dumps(known))
    return str(known[key])
