"""Partial results that survive a kill, and are continued by the same job only."""

from __future__ import annotations

import json
import os
import shutil
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from harness.base.atomic_files import write_text
from harness.base.locks import Busy, acquired
from hypernoise.durable_files import partial_path, sync
from hypernoise.progress import tell

_JOB_FILE = "job.json"
_ROWS_FILE = "rows.jsonl"
_POLL_S = 0.5


class Work:
    """A folder of partial results, which this process alone works in until :meth:`remove`.

    Where another process is at work in it, it waits for that one's end. Opening it for another job
    than the one that filled it empties it, and so does a link in it: nothing here makes links, and
    through one, files outside would be changed or published. What nobody can tell the job of is
    moved aside.

    Args:
        folder: made if missing.
        identity: :func:`harness.experiment.identity.job_hash` of the job.
        result: what the job writes last.

    Attributes:
        is_done: while this one waited, another process has done the very same job. Then there is
            no folder, and nothing is left to do.
    """

    def __init__(self, folder: str | Path, identity: str, result: str | Path = "") -> None:
        self.folder = Path(folder)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self.folder.with_name(f"{self.folder.name}.lock")
        before, waited_for = _stamp(result), ""
        while (file := self._tried(identity, waited_for)) is None:
            waited_for = self._other
            time.sleep(_POLL_S)
        self._release = weakref.finalize(self, file.close)
        self.is_done = waited_for == identity and _stamp(result) not in ((), before)
        if self.is_done:
            tell(f"{result}: that process has made it")
            self.remove()
            return
        self._open(identity)

    def _tried(self, identity: str, waited_for: str) -> IO[str] | None:
        """The lock; None while another process has it."""
        try:
            return acquired(self._lock, identity)
        except Busy as busy:
            if not waited_for:
                tell(f"{self.folder}: waiting for {busy.who or 'another process'} to end its work")
            self._other = busy.about or waited_for or "unknown"
            return None

    def _open(self, identity: str) -> None:
        job = self.folder / _JOB_FILE
        if self.folder.exists():
            found = _identity_in(job)
            has_links = any(path.is_symlink() for path in self.folder.rglob("*"))
            if not has_links and found == identity:
                return
            if has_links or found:
                shutil.rmtree(self.folder)
            elif any(self.folder.iterdir()):
                aside = partial_path(self.folder).with_suffix(".damaged")
                self.folder.rename(aside)
                tell(f"warning: {job} is damaged, so this job begins anew; its work is in {aside}")
        self.folder.mkdir(exist_ok=True)
        write_text(job, json.dumps({"identity": identity}))

    def rows(self) -> list[dict[str, Any]]:
        """Rows that earlier runs added, in their order; a damaged one is left out, and told."""
        path = self.folder / _ROWS_FILE
        if not path.is_file():
            return []
        rows, n_damaged = [], 0
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                n_damaged += 1
        if n_damaged:
            tell(f"warning: {path}: {n_damaged} damaged rows, whose work is done again")
        return rows

    def add(self, rows: list[dict[str, Any]], files: Sequence[Path] = ()) -> None:
        """Record finished rows, which are on disk when this returns.

        Args:
            files: what the rows stand for, which is on disk before.
        """
        for path in dict.fromkeys([*files, *(file.parent for file in files)]):
            sync(path)
        path = self.folder / _ROWS_FILE
        is_new = not path.is_file()
        data = b"" if is_new else path.read_bytes()
        if data and not data.endswith(b"\n"):
            # A kill while a row was being written leaves a torn line; no other must be glued to it.
            os.truncate(path, data.rfind(b"\n") + 1)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync(self.folder)

    def remove(self) -> None:
        """Delete the folder, and let others work in it: the job is done."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._lock.unlink(missing_ok=True)
        self._release()


def _identity_in(job: Path) -> str:
    try:
        return str(json.loads(job.read_text(encoding="utf-8"))["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _stamp(result: str | Path) -> tuple[int, ...]:
    """What differs when a file is written anew; empty where it is not there."""
    try:
        found = os.stat(result)
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
