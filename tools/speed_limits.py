"""What a snapshot is held against: targets of speed, and the costs that they are about.

Pure functions of frames. Noise networks and training steps are held against theirs everywhere,
searches and SANA-Sprint on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from harness.analysis.latency_table import SETTING

_BASE, _NETWORK = "base", "hypernoise"
#: Of ReNO as published.
_ITERATIONS = 50
#: A noise network against its budget.
_BUDGET = 1.05
#: Of a training step, the share of optimizer, loop and data.
_OUTSIDE = 0.1
#: ReNO per image in eights, against single images.
EIGHT, _PER_IMAGE = 8, 0.5
#: SANA-Sprint at 1024 px.
_SANA, _SANA_PX = "sana_sprint", 1024
_SANA_BASE_MS, _SANA_RATIO, _SANA_RENO_S = 120.0, 1.35, 10.0


class Check(NamedTuple):
    """A value that must not exceed its limit."""

    model: str
    check: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.model}: {self.check}: {self.value:.4g}, limit {self.limit:.4g}"

    def row(self) -> dict[str, Any]:
        """As a row of ``checks.csv``."""
        return {**self._asdict(), "passed": self.passed}


def search_costs(table: pd.DataFrame) -> pd.DataFrame:
    """What a candidate of Best-of-N and an iteration of ReNO cost, and fifty of these.

    Args:
        table: of :func:`harness.analysis.latency_table.latency`, with each search at 1 and at 3.

    Returns:
        A row per setting, with ``candidate_ms``, ``iteration_ms`` and ``reno_50_s`` per image: half
        of what three cost more than one; the first iteration, from texts, and 49 more. NaN for what
        is missing.
    """
    rows = []
    for key, setting in table.groupby(list(SETTING), sort=False):
        ms = setting.set_index("method")["end_to_end_ms"]
        candidate, iteration = (
            (ms.get(f"{search}=3", np.nan) - ms.get(f"{search}=1", np.nan)) / 2
            for search in ("best_of_n:n", "reno:iterations")
        )
        first = ms.get("reno:iterations=1", np.nan)
        costs = {"candidate_ms": candidate, "iteration_ms": iteration}
        costs["reno_50_s"] = (first + (_ITERATIONS - 1) * iteration) / 1000
        rows.append(dict(zip(SETTING, key, strict=True)) | costs)
    return pd.DataFrame(rows, columns=[*SETTING, "candidate_ms", "iteration_ms", "reno_50_s"])


def targets(table: pd.DataFrame | None, steps: pd.DataFrame) -> list[Check]:
    """The targets that what was measured can be held against.

    Args:
        table: of :func:`harness.analysis.latency_table.latency`; None where nothing was timed.
        steps: parts of training steps, with ``stage`` and ``share``; may be empty.
    """
    found = []
    if not steps.empty:
        inside = steps[steps["stage"] == "stages"]
        for key, own in inside.groupby(["model", "method"], sort=False):
            model, method = cast(tuple[str, str], key)
            outside = f"{method}: share of a training step outside networks, batch 1"
            found.append(Check(model, outside, 1 - float(own["share"].median()), _OUTSIDE))
    if table is None:
        return found
    for row in table[table["ratio_to_budget"].notna()].to_dict("records"):
        what = f"{_called(row)}: of its budget"
        found.append(Check(row["model"], what, row["ratio_to_budget"], _BUDGET))
    return [*found, *_of_searches(search_costs(table)), *_of_sana(table)]


def _called(row: dict[Any, Any]) -> str:
    return f"{row['method']}, {row['mode']}, batch {row['batch_size']}"


def _of_searches(costs: pd.DataFrame) -> Iterator[Check]:
    on_gpu = costs[(costs["device"] == "cuda") & costs["iteration_ms"].notna()]
    for key, own in on_gpu.groupby(["model", "mode"], sort=False):
        model, mode = cast(tuple[str, str], key)
        ms = own.set_index("batch_size")["iteration_ms"]
        if {1, EIGHT} <= {*ms.index}:
            what = f"ReNO, {mode}: time of an iteration at batch {EIGHT} against batch 1"
            yield Check(model, what, ms[EIGHT] / ms[1], _PER_IMAGE)
    for row in on_gpu[_is_sana(on_gpu)].to_dict("records"):
        what = f"ReNO, {row['mode']}, batch {row['batch_size']}: s per image of 50 iterations"
        yield Check(row["model"], what, row["reno_50_s"], _SANA_RENO_S)


def _of_sana(table: pd.DataFrame) -> Iterator[Check]:
    single = table[(table["device"] == "cuda") & (table["batch_size"] == 1) & _is_sana(table)]
    for row in single.to_dict("records"):
        if row["method"] == _BASE:
            yield Check(
                row["model"], f"{_called(row)}: end-to-end ms", row["end_to_end_ms"], _SANA_BASE_MS
            )
        elif row["method"].partition(":")[0] == _NETWORK:
            what = f"{_called(row)}: of the base's end-to-end time"
            yield Check(row["model"], what, row["ratio_to_base"], _SANA_RATIO)


def _is_sana(table: pd.DataFrame) -> pd.Series[bool]:
    return table["model"].str.startswith(_SANA) & (table["size_px"] == _SANA_PX)
