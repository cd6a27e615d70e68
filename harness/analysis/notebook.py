"""Scores for notebooks and scripts: no Snakemake is needed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness.base.safe_paths import below
from harness.results import component_versions, frames

#: Columns of score rows that :func:`load` adds to those of a frame.
LOADED = ("image_set", "file", "benchmark_version", "commit", "written")


def load(results: str | Path = "results") -> pd.DataFrame:
    """All score rows of a run, e.g. for a notebook; no Snakemake is needed.

    Args:
        results: the folder that the workflow wrote.

    Returns:
        The columns of :data:`harness.results.frames.SCORES`, and :data:`LOADED`: the image set and
        the file that a row is from, the version of its benchmark, and commit and time of scoring.
        An image of several image sets has a row in each.

    Raises:
        FileNotFoundError: there are no scores.
        SpecError: a file is a link out of the folder.
        ValueError: a file is broken (:func:`harness.results.frames.read`), or two files mix
            versions of a component (:func:`harness.results.component_versions.check`).
    """
    found = sorted(Path(results, "scores").glob("*/*.parquet"))
    names = [str(path.relative_to(results)) for path in found]
    paths = list(map(Path, below(results, names, results)))
    if not paths:
        raise FileNotFoundError(f"there are no scores in {Path(results, 'scores')}")
    component_versions.check(paths)
    loaded = []
    for path in paths:
        origin = frames.read_provenance(path)
        version = origin.get("spec", {}).get("benchmark", {}).get("version")
        values = (path.parent.name, str(path), version, origin.get("commit"), origin.get("written"))
        added = dict(zip(LOADED, values, strict=True))
        loaded.append(frames.read(path, frames.SCORES).assign(**added))
    return pd.concat(loaded, ignore_index=True)
