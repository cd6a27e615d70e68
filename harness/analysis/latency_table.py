"""The table of what methods cost: times, their ratio to the base, operations, memory.

A pure function of frames, like those of :mod:`harness.analysis.tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analysis.call_times import END_TO_END_MS, GENERATION_MS
from harness.analysis.costs import N_DISTURBED, n_disturbed, notes
from harness.analysis.interval_columns import columns_of, in_order, with_interval
from harness.analysis.pairing import choose, missing, stop_on
from harness.analysis.published import SOURCE, joined
from harness.analysis.statistics import NO_INTERVAL, median_interval
from harness.experiment.variants import Variant
from harness.results.stage_names import BACKBONE, END_TO_END, GENERATION, NOISE_NETWORK, STAGES

#: What a measurement is of; the rows of one are stages and repeats.
SETTING = ("model", "steps", "size_px", "precision", "device", "mode", "batch_size")
CONTENDER = (*SETTING, "method", "reward")
COLUMNS = (
    *CONTENDER,
    "n_timings",
    N_DISTURBED.name,
    *with_interval(GENERATION_MS),
    *with_interval(END_TO_END_MS),
    "p90_ms",
    "p99_ms",
    "images_per_s",
    *with_interval("ratio_to_base"),
    *with_interval("ratio_to_budget"),
    *(f"{stage}_ms" for stage in STAGES),
    "nfe",
    "gflops",
    "peak_memory_mib",
    "params_m",
    "backbone_params_m",
    "threads",
    "paper_ms",
)
_AS_MEASURED = ("nfe", "peak_memory_mib", "params_m", "backbone_params_m", "threads")
_INTERVALS = "Intervals in brackets: 95 %, of a median, from order statistics of the timings."
_NOTES = (
    "Times are in ms per image: generation_ms from encoded prompts; end_to_end_ms, of which are "
    "percentiles, images_per_s and ratios, from texts. ratio_to_base pairs each timing with the "
    "base's nearest one; ratio_to_budget is to the base plus one backbone pass plus its LoRA's "
    "operations at that pass's speed.",
    f"paper_ms: seconds per image as printed in {SOURCE}, table 1, measured there on another GPU "
    "than here.",
)
Floats = npt.NDArray[np.float64]


def latency(
    timings: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
) -> pd.DataFrame:
    """What every method costs in every setting, from text to image.

    Each timing is divided by the base's that was taken nearest to it, so that drift of the machine
    cancels. The budget of a noise network is the base's time, plus that of its one backbone pass,
    plus what LoRA's operations would take at that pass's own speed: those of the same network with
    LoRA beside the weights where that was measured, else its own further operations.

    Args:
        timings: rows of :data:`harness.results.frames.TIMINGS`.
        models, methods: what to show, in this order; None shows all, by name and the base first.
        baseline: the method that ratios are to, in the same setting.

    Returns:
        One row per setting and method with :data:`COLUMNS`: medians per image with 95 % intervals
        from order statistics, percentiles and throughput from text to image, medians of the
        stages (NaN where a method has none), costs as in the frame, and what the paper prints for
        the model and method, on its own GPU. Ratios are NaN where the base was not measured, those
        to the budget also where operations were not counted.

    Raises:
        FrameError: a model or method was not measured.
    """
    stop_on(missing(timings, models, methods), "latency")
    rows: list[dict[str, Any]] = []
    for key, setting in choose(timings, models, None).groupby(list(SETTING), sort=False):
        groups = setting.groupby(["method", "reward"], sort=False)
        calls = {who: _Calls(own) for who, own in groups}
        base = next((own for who, own in calls.items() if who[0] == baseline), None)
        named = {(str(Variant.parse(str(name))), reward): c for (name, reward), c in calls.items()}
        for who, own in calls.items():
            identity = dict(zip(CONTENDER, (*key, *who), strict=True))
            # Of a merged network, the budget is that of its LoRA beside the weights.
            separate = _unmerged(str(who[0]))
            in_place = Variant(separate.name, {**separate.arguments, "merged": "in_place"})
            forms = (named.get((str(form), who[1])) for form in (separate, in_place))
            beside = next((found for found in forms if found is not None), own)
            rows.append(identity | _measures(own, base, beside))
    table = choose(pd.DataFrame(rows), None, methods)
    table = in_order(table, CONTENDER, models, methods or [baseline])
    # How a network is merged changes no method, and random weights change no time.
    plain = [str(_unmerged(method)) for method in table["method"]]
    sizes = table["model"].str.removesuffix("_random")
    shown = table[["steps", GENERATION_MS]].assign(model=sizes, method=plain)
    printed = joined(shown, "table1", "geneval").set_index("row")["published"]
    table["paper_ms"] = printed.astype("float64").reindex(table.index)
    table = table[list(COLUMNS)]
    table.attrs.update(intervals=_INTERVALS, notes=[*_NOTES, *notes(table)[1:]])
    return table


def _unmerged(method: str) -> Variant:
    """The method of which another is a form with merged weights."""
    variant = Variant.parse(method)
    kept = {name: value for name, value in variant.arguments.items() if name != "merged"}
    return Variant(variant.name, kept)


class _Calls:
    """The rows of one method in one setting: a column of times and operations per stage."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows
        self.ms = rows.pivot(index="turn", columns="stage", values="ms")
        self.gflops = rows.groupby("stage")["gflops"].first()

    def __len__(self) -> int:
        return len(self.ms)

    @property
    def turns(self) -> Floats:
        return self.ms.index.to_numpy(dtype=np.float64)

    def times(self, stage: str) -> Floats:
        return self.ms[stage].to_numpy(dtype=np.float64)


def _measures(own: _Calls, base: _Calls | None, beside: _Calls) -> dict[str, Any]:
    times = own.times(END_TO_END)
    median, first = median_interval(times), own.rows.iloc[0]
    ratio = budget = NO_INTERVAL
    if base is not None:
        near = np.abs(own.turns[:, None] - base.turns[None]).argmin(axis=1)
        ratio = median_interval(times / base.times(END_TO_END)[near])
        if NOISE_NETWORK in own.ms:
            # What each of the base's calls would have taken with a noise network's work.
            passes = max(1.0, float(base.rows["steps"].iloc[0]))
            one_pass_ms = base.times(BACKBONE) / passes
            one_pass_gflops = float(base.gflops[BACKBONE]) / passes
            more = float(beside.gflops[NOISE_NETWORK]) - one_pass_gflops
            # Not counted, they would count for nothing below.
            if not np.isnan(more):
                further_ms = one_pass_ms * max(0.0, more / one_pass_gflops)
                with_network_ms = base.times(END_TO_END) + one_pass_ms + further_ms
                budget = median_interval(times / with_network_ms[near])
    return {
        "n_timings": len(own),
        N_DISTURBED.name: n_disturbed(own.rows.drop_duplicates("turn")),
        **columns_of(median_interval(own.times(GENERATION)), GENERATION_MS),
        **columns_of(median, END_TO_END_MS),
        "p90_ms": float(np.percentile(times, 90)),
        "p99_ms": float(np.percentile(times, 99)),
        "images_per_s": 1000 / median.mean,
        **columns_of(ratio, "ratio_to_base"),
        **columns_of(budget, "ratio_to_budget"),
        **{f"{s}_ms": float(np.median(own.times(s))) if s in own.ms else np.nan for s in STAGES},
        **{name: first[name] for name in _AS_MEASURED},
        "gflops": float(own.gflops[END_TO_END]),
    }
