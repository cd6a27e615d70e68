"""Whether timings can be true: stages add up, the job lasted long enough, passes cost alike.

Nobody can measure a time again. What is told here is that numbers contradict one another.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from harness.results import frames
from harness.results.results_folder import Made
from harness.results.stage_names import END_TO_END, GENERATION, STAGES, STEADY, TEXT
from harness.verification.findings import BUSY, Finding, Folder

#: A stage's clock and the call's are read one after the other.
_CLOCKS = 1.02
#: On a CPU a pass of a batch costs what a pass costs, but for caches: measured .7 to 1.5.
_LEAST_SHARE = 0.25
_SETTING = ["model", "steps", "batch_size", "size_px", "precision", "mode", "device", "threads"]


def timings(made: Made, folder: Folder) -> Iterator[Finding]:
    """Contradictions within a frame of timings, and with how long its job took."""
    rows, file = frames.read(made.path, frames.TIMINGS), str(made.path)
    key = [name for name in frames.TIMINGS.key if name != "stage"]
    rows["call"] = rows.groupby(key, dropna=False).ngroup()
    calls = rows.drop_duplicates("call").set_index("call").sort_index()
    spans = rows.pivot_table(index="call", columns="stage", values="ms").fillna(0.0)
    spans = spans.reindex(columns=[*STAGES, GENERATION, END_TO_END], fill_value=0.0)
    parts = {
        GENERATION: spans[[stage for stage in STAGES if stage != TEXT]].sum(axis=1),
        END_TO_END: spans[[TEXT, GENERATION]].sum(axis=1),
    }
    for whole, sums in parts.items():
        wrong = calls[sums > _CLOCKS * spans[whole]]
        for call in wrong.index[:1]:
            who = " ".join(str(calls.loc[call, name]) for name in ("model", "method", "repeat"))
            said = f"{spans.loc[call, whole]:.4g} ms, and its stages {sums.loc[call]:.4g} ms"
            more = f" (and {len(wrong) - 1} more calls)" if len(wrong) > 1 else ""
            yield Finding(file, f"row of {who}, column ms: {whole} takes {said}{more}")
    total_s = float((spans[END_TO_END] * calls["batch_size"]).sum() / 1000)
    for what, lasted_s in _lasted(made).items():
        if total_s > _CLOCKS * lasted_s:
            said = f"its calls take {total_s:.1f} s, {what} says that all took {lasted_s:.1f} s"
            yield Finding(file, f"column ms: {said}")
    yield from _passes(rows, file)


def _lasted(made: Made) -> dict[str, float]:
    """Who says how long the job took -> seconds: its own clock, and Snakemake's."""
    found = {}
    if isinstance(wall_s := made.record.get("wall_s"), float | int):
        found["the job's own clock"] = float(wall_s)
    inside = made.path.relative_to(made.results).with_suffix(".tsv")
    record = Path(made.results, "logs", inside)
    if record.is_file():
        with record.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file, delimiter="\t"))
        found |= {str(record): float(line["s"]) for line in lines[:1]}
    return found


def _passes(rows: pd.DataFrame, file: str) -> Iterator[Finding]:
    """Methods whose backbone passes cost far less than the base's, in a setting on a CPU."""
    known = rows[(rows["stage"] == GENERATION) & (rows["device"] == "cpu") & (rows["nfe"] > 0)]
    costs = known.assign(ms=known["ms"] / known["nfe"])
    # Of frames of before there was a slowdown, it is taken to be none.
    costs["slowdown"] = costs["slowdown"].fillna(0.0)
    medians = costs.groupby([*_SETTING, "method"], as_index=False)[["ms", "slowdown"]].median()
    base = medians[medians["method"] == "base"].drop(columns="method")
    both = medians.merge(base, on=_SETTING, suffixes=("", "_base"))
    for row in both[both["ms"] < _LEAST_SHARE * both["ms_base"]].to_dict("records"):
        said = f"a backbone pass of {row['method']} on {row['model']} takes {row['ms']:.3g} ms"
        said = f"column ms: {said}, one of base {row['ms_base']:.3g} ms"
        if max(row["slowdown"], row["slowdown_base"]) <= STEADY:
            yield Finding(file, said)
            continue
        remedy = "other work ran while they were timed: time them again on an idle machine"
        yield Finding(file, f"{said}; {remedy}", BUSY)
