"""``python -m harness compare A B``: what moved between two runs, beyond noise or not, and why."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from harness.analysis.interval_columns import with_interval
from harness.analysis.pairing import examples
from harness.base.atomic_files import output_file, write_text
from harness.report.formats import pipes
from harness.report.run_comparison import KEY, PAIRED, PAIRED_COUNTS, Comparison, compare
from harness.results.results_folder import survey

_LEGEND = (
    "Intervals in brackets: 95 %, images of one prompt taken as one cluster. *paired*: the same "
    "images from the same noise; *unpaired*: other images, so that the noise counts, too. "
    "n_redrawn: of the paired images, those with other files; n_without_file: those that have a "
    "file in one run at most, so that nobody can tell."
)


def run(a: str, b: str, out: str | None) -> None:
    """Compare two results folders, print Markdown, and write ``out`` + .md, .csv and .json.

    Raises:
        FileNotFoundError: a folder is missing or empty.
        ValueError: a frame is broken, or the runs have nothing in common.
    """
    places = {s: output_file(f"{out}.{s}") for s in ("md", "csv", "json")} if out else {}
    found = compare(survey(a), survey(b))
    text = markdown(found, a, b)
    print(text, end="")
    if out is not None:
        tables = {"moved": found.moved, "times": found.times, "causes": found.causes}
        # Through pandas, which writes what is missing as null.
        parts: dict[str, Any] = {
            name: json.loads(table.to_json(orient="records", double_precision=15))
            for name, table in tables.items()
        }
        parts["alone"] = found.alone
        parts["missing"] = [
            {"side": side, "file": str(file)}
            for side, files in found.missing.items()
            for file in files
        ]
        texts = {
            "md": text,
            "csv": found.moved.to_csv(index=False, lineterminator="\n"),
            "json": json.dumps(parts, indent=1, allow_nan=False) + "\n",
        }
        for suffix, words in texts.items():
            write_text(places[suffix], words)


def markdown(found: Comparison, a: str, b: str) -> str:
    """The comparison in words and tables."""
    n_moved = int(found.moved["moved"].sum())
    parts = [
        f"# What moved from {a} (a) to {b} (b)",
        *found.foreign,
        f"{n_moved} of {len(found.moved)} differences are beyond noise (95 %, Holm).",
        _LEGEND,
    ]
    # Bounds and mean are all 0 only where no image's score differs.
    bounds = found.moved[list(with_interval("difference"))]
    same = (bounds == 0).all(axis=1) & (found.moved["noise"] == PAIRED)
    measured = found.moved.drop(columns="moved")
    by_verdict = {
        "Moved beyond noise": measured[found.moved["moved"]],
        "Within noise": measured[~found.moved["moved"] & ~same],
        "The same, image by image": measured[same][[*KEY, "a", *PAIRED_COUNTS]],
    }
    for title, rows in by_verdict.items():
        parts += [f"## {title}", pipes(rows) if len(rows) else "Nothing."]
    if len(found.times):
        note = "Medians of repeats on one machine each: no interval would cover another machine."
        parts += ["## Time per image from encoded prompts, ms", pipes(found.times), note]
    parts += ["## What was done differently"]
    parts += [pipes(found.causes) if len(found.causes) else "Nothing that provenance knows of."]
    if found.alone:
        parts += ["## In one run only", "\n".join(f"- {line}" for line in found.alone)]
    lost = []
    for side, files in found.missing.items():
        for folder, of_folder in groupby(files, lambda file: file.parent):
            # The JSON has them all.
            names = [file.name for file in of_folder]
            lost.append(f"- {side}: {folder}: {len(names)} files: {examples(names)}")
    if lost:
        parts += ["## Image files that frames name and that are missing", "\n".join(lost)]
    return "\n\n".join(parts) + "\n"
