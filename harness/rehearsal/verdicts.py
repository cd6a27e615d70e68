"""What a rehearsal is held against: a verdict for each check, beside the rows that it is about."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet  # type: ignore[import-untyped]

from harness.analysis.published import REHEARSAL

_TABLES = "results/tables"


class Verdict(NamedTuple):
    """A check, whether it passed, and what was looked at or found."""

    check: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}: {self.check} ({self.detail})"


def verdicts(
    out: Path, stems: Sequence[str], code: int, environment: Mapping[str, str]
) -> list[Verdict]:
    """Look at a rehearsal's results.

    Args:
        out: the rehearsal's folder.
        stems: of the tables and figures that were asked for, as paths in it without suffix.
        code: Snakemake's exit code.
        environment: that the run had.
    """

    def verdict(check: str, faults: Sequence[str], seen: str) -> Verdict:
        return Verdict(check, not faults, "; ".join(faults[:5]) or seen)

    ended = [f"exit code {code}"] if code else []
    lacking = [stem for stem in stems if not list((out / stem).parent.glob(f"{Path(stem).name}.*"))]
    found = [verdict("the workflow ran to its end", ended, "exit code 0")]
    found.append(verdict("every table and figure was made", lacking, f"{len(stems)} of them"))
    for check, look, pattern in _CHECKS:
        files = sorted(out.glob(pattern))
        faults = [f"{file.relative_to(out)}: {what}" for file in files for what in look(file)]
        found.append(verdict(check, faults, f"{len(files)} files"))
    traced = subprocess.run(
        [sys.executable, "-m", "harness", "verify", "results"],
        cwd=out,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    said = (traced.stdout + traced.stderr).strip().splitlines() or ["verify said nothing"]
    faults = [*said[-1:], *said[:2]] if traced.returncode else []
    return [*found, verdict("every number can be traced (verify)", faults, said[-1])]


def _unmarked(file: Path) -> Iterator[str]:
    if REHEARSAL not in file.read_text(encoding="utf-8"):
        yield f"does not say {REHEARSAL}"


def _published(file: Path) -> Iterator[str]:
    yield from (name for name in parquet.read_schema(file).names if name.endswith("_published"))


def _not_finite(file: Path) -> Iterator[str]:
    rows = pd.read_parquet(file)
    names = rows["metric" if "metric" in rows else "name"]
    faulty = names[~np.isfinite(rows["value"].astype(float))]
    yield from (f"{name} is not finite" for name in faulty.unique())


#: Check -> what it finds in a file -> the files.
_CHECKS: tuple[tuple[str, Callable[[Path], Iterator[str]], str], ...] = (
    (f"every table says {REHEARSAL}", _unmarked, f"{_TABLES}/*.md"),
    ("no table has a published number", _published, f"{_TABLES}/*.parquet"),
    ("what trainings measured is finite", _not_finite, "results/training/**/steps.parquet"),
    ("scores are finite", _not_finite, "results/scores/**/*.parquet"),
)
