"""What lies in a results folder: which file was made from which, by what, and when.

Every parquet frame, every figure, matched networks and the gallery carry the provenance that
:func:`harness.results.provenance.collect` wrote. Jobs name files by paths relative to the folder
that they ran in; a results folder may have been moved or renamed since, and :meth:`Made.locate`
still finds them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.base.atomic_files import write_text
from harness.base.errors import SpecError
from harness.base.safe_paths import below
from harness.results import frames, provenance
from harness.results.image_files import open_image
from hypernoise.durable_files import sync_all
from hypernoise.text_files import read_text

#: Provenance of a folder of files that have no place for it themselves.
SIDECAR = "provenance.json"
#: What provenance must tell for a number to be traceable.
REQUIRED = ("commit", "packages", "hardware", "spec")
#: Folder -> what is in it that is no result of a run.
SKIPPED = {
    "work": "partial results of jobs that were killed",
    "logs": "what jobs printed",
    "tensorboard": "what TensorBoard shows of trainings, whose rows are in training",
    "encodings": "prompts' encodings, which generators read as they are",
    "pretrained": "weights; frames that they made have their hashes",
    "snapshots": "speed measurements of this project, which git keeps",
}
_PAGE = re.compile(r'<script type="application/json" id="provenance">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class Made:
    """A file that says where it comes from.

    Attributes:
        path: the file.
        record: its provenance; empty for a foreign file.
        results: the results folder that it lies in.
    """

    path: Path
    record: Mapping[str, Any]
    results: Path

    @property
    def kind(self) -> str:
        """The kind of frame, ``"table <name>"``, ``"figure <name>"``; empty if unknown."""
        return str(self.record.get("kind", ""))

    @property
    def spec(self) -> Mapping[str, Any]:
        """The job, or what else was asked for."""
        spec = self.record.get("spec")
        return spec if isinstance(spec, dict) else {}

    @property
    def inputs(self) -> Mapping[str, str]:
        """Path, as the job names it -> hash of what was read."""
        inputs = self.record.get("inputs")
        return inputs if isinstance(inputs, dict) else {}

    @property
    def outputs(self) -> Mapping[str, str]:
        """Of a folder's provenance: name of a file or folder in it -> its hash."""
        outputs = self.record.get("outputs")
        return outputs if isinstance(outputs, dict) else {}

    @property
    def home(self) -> Path | None:
        """What the results folder was called when the file was made; None if it was elsewhere."""
        if "out" not in self.spec:
            return None
        place = self.path.resolve().relative_to(self.results.resolve()).parent.parts
        out = Path(str(self.spec["out"]))
        # A training's `out` is the folder itself.
        for folder in (out.parent, out):
            end = len(folder.parts) - len(place)
            if end >= 0 and folder.parts[end:] == place:
                return Path(*folder.parts[:end])
        return None

    @property
    def is_foreign(self) -> bool:
        """Whether another layout of the harness wrote it, whose jobs and tables are others."""
        return provenance.is_foreign(self.record)

    def locate(self, named: str) -> Path:
        """Where a file is now that the job names.

        Raises:
            SpecError: nobody knows, or it lies outside the results folder, whose files must not
                choose what is read.
        """
        if self.home is None:
            raise SpecError(
                f"{self.path}: its job wrote it to {self.spec.get('out')}, so where {named} is "
                "now is unknown"
            )
        if not Path(named).is_relative_to(self.home):
            raise SpecError(f"{self.path} names {named!r}, which is outside {self.home}")
        inside = str(Path(named).relative_to(self.home))
        return Path(*below(self.results, [inside], self.path))


class Survey(NamedTuple):
    """A results folder: files with their provenance, and (path, fault) of unreadable ones."""

    made: list[Made]
    unreadable: list[tuple[Path, str]]

    def commits(self) -> list[str]:
        """The commits of the code that made the files, abbreviated and sorted."""
        known = {str(made.record["commit"])[:12] for made in self.made if "commit" in made.record}
        return sorted(known)

    def foreign(self) -> str:
        """What to say of a folder that another layout of the harness wrote; empty of our own."""
        others = [made for made in self.made if made.is_foreign]
        if not others:
            return ""
        commits = ", ".join(Survey(others, []).commits()) or "unknown"
        return (
            f"{len(others)} of its files are of another layout of the harness (commit {commits}; "
            f"layout {others[0].record.get('layout', 1)}, here is {provenance.LAYOUT}), e.g. "
            f"{others[0].path}. Only the code of that commit can verify them or go on with them; "
            "compare reads their scores"
        )


def survey(results: str | Path) -> Survey:
    """Every file of a results folder that can carry provenance, sorted by path.

    Raises:
        FileNotFoundError: there is no such folder, or nothing in it could carry provenance.
    """
    folder = Path(results)
    if not folder.is_dir():
        fault = "is a file: name the folder that it is in" if folder.exists() else "is missing"
        raise FileNotFoundError(f"results folder {folder} {fault}")
    found, faults = [], []
    patterns = ("*.parquet", "figures/*.png", "tables/*.html", SIDECAR)
    for path in sorted({path for pattern in patterns for path in folder.rglob(pattern)}):
        parts = path.relative_to(folder).parts
        if path.suffix == ".html" and path.with_suffix(".parquet").exists():
            # A table's, whose parquet has the provenance.
            continue
        if parts[0] in SKIPPED or any(part.startswith(".") for part in parts):
            continue
        try:
            below(folder, [str(path.relative_to(folder))], folder)
            if path.suffix == ".parquet":
                record = frames.read_provenance(path)
            elif path.suffix == ".html":
                if not (written := _PAGE.search(read_text(path))):
                    continue
                record = provenance.parse(written[1])
            elif path.name == SIDECAR:
                record = provenance.parse(read_text(path))
            else:
                with open_image(path) as image:
                    text = image.info.get("Description", "")
                record = provenance.parse(text if text.startswith("{") else "")
            found.append(Made(path, record, folder))
        except (ValueError, OSError) as error:
            faults.append((path, str(error)))
    if not found and not faults:
        raise FileNotFoundError(f"{folder} holds no results: no frame, table, figure or gallery")
    return Survey(found, faults)


def with_record(page: str, record: str) -> str:
    """An HTML page with its provenance at its end."""
    # No text in it is markup; in JSON "\\u003c" is the same as "<".
    safe = record.replace("<", "\\u003c")
    return f'{page}<script type="application/json" id="provenance">{safe}</script>\n'


def write_sidecar(folder: Path, kind: str, spec: Any, outputs: Iterable[Path]) -> Path:
    """Write the provenance of files and folders in ``folder``, with their hashes.

    Args:
        kind, spec: as for :func:`harness.results.provenance.collect`.
    """
    hashes = {}
    for path in outputs:
        sync_all(path)
        hashes[path.name] = provenance.digest(path)
    record = provenance.parse(provenance.collect(kind, spec, outputs=hashes))
    write_text(folder / SIDECAR, json.dumps(record, indent=1) + "\n")
    return folder / SIDECAR


def frames_of(made: Iterable[Made], kind: str) -> list[Made]:
    """The files of one kind."""
    return [item for item in made if item.kind == kind]
