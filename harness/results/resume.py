"""Partial results that survive a kill, and are continued by the same job only."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

_JOB_FILE = "job.json"
_ROWS_FILE = "rows.jsonl"


class Work:
    """A folder of partial results.

    Opening it for another job than the one that filled it empties it, and so does a link in it:
    nothing here makes links, and through one, files outside would be changed or published.

    Args:
        folder: made if missing.
        identity: :func:`harness.experiment.identity.job_hash` of the job.
    """

    def __init__(self, folder: str | Path, identity: str) -> None:
        self.folder = Path(folder)
        has_links = any(path.is_symlink() for path in self.folder.rglob("*"))
        if self.folder.exists() and (has_links or _identity_in(self.folder) != identity):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / _JOB_FILE).write_text(json.dumps({"identity": identity}), encoding="utf-8")

    def rows(self) -> list[dict[str, Any]]:
        """Rows that earlier runs added, in their order."""
        path = self.folder / _ROWS_FILE
        if not path.is_file():
            return []
        whole = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in whole]

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Record finished rows; they are on disk when this returns."""
        path = self.folder / _ROWS_FILE
        data = path.read_bytes() if path.is_file() else b""
        if data and not data.endswith(b"\n"):
            # A kill while a row was being written leaves a torn line; no other must be glued to it.
            path.write_bytes(data[: data.rfind(b"\n") + 1])
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete the folder: the job is done."""
        shutil.rmtree(self.folder)


def _identity_in(folder: Path) -> str:
    try:
        record = json.loads((folder / _JOB_FILE).read_text(encoding="utf-8"))
        return str(record["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
