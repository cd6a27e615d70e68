"""What a rehearsal says at its end: what ran, what was replaced, and what it cannot show."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet  # type: ignore[import-untyped]

from harness.rehearsal.replacements import Replacement
from harness.rehearsal.verdicts import Verdict

#: Kind of work -> the frames that hold a row for each of it.
_FRAMES = {
    "images": "results/images/**/images.parquet",
    "scores": "results/scores/**/*.parquet",
    "timings": "results/timings/**/*.parquet",
}
_PRODUCTS = {
    "tables": "results/tables/*.md",
    "figures": "results/figures/*.png",
    "galleries": "results/gallery/index.html",
}
_REAL_ONLY = (
    "that publishers give each file and repository, under the declared commit and hash, to you",
    "memory, times and disk at the published sizes",
    "that trainings converge, and every number",
)
_NO_GPU = "whatever a GPU does: transfers, kernels, CUDA graphs, memory"
_EAGER = "compiled networks: everything ran as `eager`"


def told(
    out: Path,
    found: Sequence[Replacement],
    held: Sequence[Verdict],
    seconds: float,
    peak_bytes: float,
) -> list[str]:
    """The account, in lines.

    Args:
        out: the rehearsal's folder.
        found: what was replaced.
        held: the verdicts.
        seconds: it took, stand-ins included.
        peak_bytes: of its largest process.
    """
    work = {
        what: sum(parquet.read_metadata(file).num_rows for file in out.glob(pattern))
        for what, pattern in _FRAMES.items()
    }
    trained = [pd.read_parquet(file) for file in out.glob("results/training/**/steps.parquet")]
    n_steps = sum(frame.query("kind == 'train'")["step"].nunique() for frame in trained)
    work |= {"networks": len(trained), "steps of training": n_steps}
    made = {what: len(list(out.glob(pattern))) for what, pattern in _PRODUCTS.items()}
    counted = ", ".join(f"{n} {what}" for what, n in {**work, **made}.items() if n)
    without = (_EAGER,) if shutil.which("nvidia-smi") else (_EAGER, _NO_GPU)
    return [
        f"The rehearsal in {out} took {seconds / 60:.1f} minutes and {peak_bytes / 2**30:.1f} GiB "
        "in its largest process.",
        *map(str, held),
        f"What ran: {counted or 'nothing'}.",
        "What was replaced by small random weights of the same classes and files:",
        *(f"  {part}: {', '.join(of)} (other: {', '.join(now)})" for part, of, now in found),
        "  every published list of prompts: a few of our own",
        "What only the real run can show:",
        *(f"  {what}" for what in (*_REAL_ONLY, *without)),
    ]
