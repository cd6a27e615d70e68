"""Timings of whole calls: one row per call, where frames of timings have one per stage."""

from __future__ import annotations

import pandas as pd

from harness.analysis.pairing import require
from harness.results.frames import TIMINGS
from harness.results.stage_names import END_TO_END, GENERATION

#: What tables show, in ms per image: from encoded prompts, and from texts.
GENERATION_MS, END_TO_END_MS = f"{GENERATION}_ms", f"{END_TO_END}_ms"
_CALL = [name for name in TIMINGS.key if name != "stage"]


def whole_calls(timings: pd.DataFrame) -> pd.DataFrame:
    """One row per call, with the time of the whole.

    Args:
        timings: rows of :data:`harness.results.frames.TIMINGS`.

    Returns:
        The columns of ``timings`` but stage, ms and gflops, and ``generation_ms`` and
        ``end_to_end_ms``; missing where a call lacks that row. Calls that are there twice stay so.

    Raises:
        FrameError: a column is missing.
    """
    require(timings, TIMINGS.names, "timings", may_be_empty=True)
    # Two rows about the same call are told apart by their number.
    key = [*_CALL, "number"]
    numbered = timings.assign(number=timings.groupby([*_CALL, "stage"]).cumcount())
    generation, whole = (numbered[numbered["stage"] == s] for s in (GENERATION, END_TO_END))
    whole = whole[[*key, "ms"]].rename(columns={"ms": END_TO_END_MS})
    calls = generation.rename(columns={"ms": GENERATION_MS}).merge(whole, on=key, how="left")
    return calls.drop(columns=["stage", "gflops", "number"])
