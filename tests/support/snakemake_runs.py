"""Snakemake in a process of its own, as users start it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What Snakemake says and ends with in a folder; its jobs have one thread."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
