"""What a check says, and what all checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from harness.base.errors import SpecError
from harness.base.safe_paths import below
from harness.experiment.components import Registry
from harness.experiment.jobs import JOBS
from harness.experiment.validation import checked
from harness.results import provenance
from harness.results.results_folder import Made, Survey

#: Kind of frame -> the verb whose job made it.
VERBS = {
    "images": "generate",
    "trajectories": "generate",
    "scores": "score",
    "pairs": "pairs",
    "distances": "fidelity",
    "timings": "profile",
    "training": "train",
    "audits": "audit",
}


#: What a finding may be but a fault: something of before, and a time that other work explains.
STALE, BUSY = "stale", "busy machine"


class Finding(NamedTuple):
    """Something that is not as it claims to be, or cannot be known.

    Attributes:
        severity: empty for a fault. :data:`STALE` is what was sound once and has to be made again;
            :data:`BUSY` is a time that is too large because other work ran, as its row says.
    """

    file: str
    what: str
    severity: str = ""

    def __str__(self) -> str:
        said = f"{self.severity}: " if self.severity else ""
        return f"{self.file}: {said}{' '.join(self.what.split())}"


class Folder:
    """A results folder and what is declared here.

    Args:
        found: what lies in it.
        registry: the declared components; what a folder says itself chooses no code.
    """

    def __init__(self, found: Survey, registry: Registry) -> None:
        self.found = found
        self.registry = registry
        self._hashes: dict[Path, str] = {}

    def hashed(self, path: Path) -> str:
        """SHA-256 of a file or folder that no link leads out of; each is read once.

        Raises:
            SpecError: a link does.
            OSError: it is missing or cannot be read.
        """
        if path not in self._hashes:
            check_links(path)
            self._hashes[path] = provenance.digest(path)
        return self._hashes[path]

    def of(self, sort: str) -> Sequence[Made]:
        """The files of a sort of kinds: every table, every figure."""
        return [made for made in self.found.made if made.kind.startswith(f"{sort} ")]

    def frames(self, *kinds: str) -> Sequence[Made]:
        """The frames of some kinds."""
        return [made for made in self.found.made if made.kind in kinds]

    @cached_property
    def broken(self) -> set[Path]:
        """Files that cannot be read; what they should have held is missing elsewhere."""
        return {path for path, _ in self.found.unreadable}


Check = Callable[[Made, Folder], Iterator[Finding]]


def each(made: Sequence[Made], folder: Folder, check: Check, done: str) -> Iterator[Finding]:
    """What a check finds in files, one that fails over a file among it.

    Args:
        done: what could not be done then: ``"recomputed"``.
    """
    for item in made:
        try:
            yield from check(item, folder)
        except (ValueError, OSError) as error:
            yield Finding(str(item.path), f"cannot be {done}: {error}")
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            # Nothing that this harness writes: its record is of another form.
            what = f"cannot be {done}: its provenance is of another form ({error!r})"
            yield Finding(str(item.path), what)


def job_of(made: Made) -> Any:
    """The job that made a frame, as its provenance gives it.

    Raises:
        SpecError: it is no such job.
    """
    if made.kind not in VERBS:
        raise SpecError(f"{made.path}: no job makes frames of the kind {made.kind!r}")
    return checked(dict(made.spec), JOBS[VERBS[made.kind]], f"job of {made.path}")


def check_links(path: Path) -> None:
    """Check that a file is no link out of its folder, and that a folder holds none."""
    below(path.parent, [path.name], path.parent)
    below(path, [str(file.relative_to(path)) for file in path.rglob("*")], path)
