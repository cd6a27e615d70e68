"""The paper's printed numbers (arXiv 2508.09968), and ours beside them.

``results.csv`` and ``hyperparameters.csv`` hold facts as printed; where they come from is in the
README next to them. A number is compared only where prompts, images of each, detector and model are
the paper's (:mod:`harness.experiment.paper_protocol`): others are other worlds, and their tables
say so instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from harness.analysis.columns import Column, described
from harness.analysis.interval_columns import CI_HIGH, CI_LOW, with_interval
from harness.base.errors import unknown
from harness.experiment.variants import Variant

#: Where the numbers are printed.
SOURCE = "Noise Hypernetworks, arXiv 2508.09968"
#: Printed table -> the benchmark whose images it is about.
BENCHMARKS = {
    **{f"table{number}": "geneval" for number in (1, 2, 8, 9, 10)},
    "table5": "t2i_compbench",
    "table6": "dpg_bench",
    "table7": "geneval_diversity",
}
#: Printed table of hyper-parameters -> the experiment in ``hyperparameters.csv``.
HYPERPARAMETERS = {"table3": "redness", "table4": "preference"}
#: Our name -> the printed one, where they differ.
MODELS = {"sana_sprint_0_6b": "sana_sprint_0.6b"}
#: Our method -> the printed one; methods that are not here were not printed.
METHODS = {
    "base": "base",
    "hypernoise": "hypernoise",
    "lora_finetune_final": "lora_finetune",
    "best_of_n": "best_of_n",
    "reno": "reno",
    "prompt_search_llm": "prompt_optimization",
}
#: Our column -> the printed metric and its factor to our unit.
UNITS = {
    "generation_ms": ("time_s", 1e3),
    "backbone_params_m": ("params_b", 1e3),
    "lpips_distance_mean": ("lpips_diversity", 1.0),
    "dinov2_similarity_mean": ("dino_similarity", 1.0),
}
#: Columns whose intervals are of this machine: whether a printed number lies in one says nothing.
_OF_THE_MACHINE = ("generation_ms",)
#: Column of a table in which some rows are the paper's alone: whose a row's numbers are.
SOURCE_COLUMN = "source"
MEASURED, PRINTED = "measured", "published"
_KEY = ("model", "method", "steps")
_ADDED = ("published", "difference", "published_within")
#: What a rehearsal's images are of.
REHEARSAL = "REHEARSAL"
_hidden = ContextVar("hidden", default=False)


@contextmanager
def hidden() -> Iterator[None]:
    """Nothing is compared with a printed number: for images of stand-ins."""
    before = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(before)


def results() -> pd.DataFrame:
    """Every printed number, in its printed names and units: the columns of ``results.csv``."""
    return _results().iloc[:0] if _hidden.get() else _results()


@cache
def _results() -> pd.DataFrame:
    with (resources.files(__name__) / "results.csv").open(encoding="utf-8") as lines:
        return pd.read_csv(lines).astype(dict.fromkeys(("steps", "nfe", "lora_rank"), "Int64"))


def hyperparameters(name: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(our model, our training's method) -> what a printed table says of it, by the names of
    ``hyperparameters.csv``, and the ``images`` that follow.

    Raises:
        ValueError: the paper has no such table of hyper-parameters.
    """
    if name not in HYPERPARAMETERS:
        raise unknown("table of hyper-parameters", name, HYPERPARAMETERS)
    if _hidden.get():
        return {}
    with (resources.files(__name__) / "hyperparameters.csv").open(encoding="utf-8") as lines:
        rows = pd.read_csv(lines).query("experiment == @HYPERPARAMETERS[@name]").to_dict("records")
    ours = {printed: model for model, printed in MODELS.items()}
    return {
        (ours.get(row["model"], row["model"]), row["method"]): {
            **{str(key): value for key, value in row.items()},
            "images": row["epochs"] * row["n_prompts"],
        }
        for row in rows
    }


def world(benchmark: str) -> str:
    """``"paper"`` for the paper's own benchmarks, else the benchmark's name: another world."""
    if _hidden.get():
        return REHEARSAL
    return "paper" if benchmark in BENCHMARKS.values() else benchmark


#: The column that says it.
WORLD = Column("world", lambda c: world(c.paired.benchmark), "whose images they are")


def joined(table: pd.DataFrame, name: str, benchmark: str) -> pd.DataFrame:
    """Our numbers joined with the printed ones on (table, model, method, steps, rank, metric).

    Args:
        table: rows with model, method, steps, perhaps ``lora_rank``, and a column per metric,
            followed by ``<metric>_ci_low`` and ``<metric>_ci_high`` where it has an interval.
        name: of the printed table, e.g. ``"table1"``.
        benchmark: whose images ours are; nothing is joined unless it is the paper's.

    Returns:
        A row per pair: row (of ``table``), model, method, steps, lora_rank, metric, ours,
        published, difference (ours less published), and published_within: whether the published
        value lies in our interval, missing where there is none and for times.

    Raises:
        ValueError: the paper has no such table.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"the paper has no {name!r} (valid: {', '.join(BENCHMARKS)})")
    printed = results()
    printed = printed[printed["table"] == name]
    rows = table.to_dict("index") if benchmark == BENCHMARKS[name] else {}
    found = []
    for index, row in rows.items():
        rank = row.get("lora_rank", pd.NA)
        same = (printed["model"] == MODELS.get(row["model"], row["model"])) & (
            printed["method"] == printed_method(row["method"])
        )
        for key, value in (("steps", row["steps"]), ("lora_rank", rank)):
            # What is printed without steps or a rank is about all of them.
            same &= pd.isna(value) | printed[key].eq(value).fillna(True).astype(bool)
        values = printed[same].drop_duplicates("metric").set_index("metric")["value"]
        for metric in map(str, table.columns):
            printed_metric, factor = UNITS.get(metric, (metric, 1.0))
            if printed_metric not in values:
                continue
            value, ours = float(values[printed_metric]) * factor, row[metric]
            low, high = (row.get(f"{metric}{end}", math.nan) for end in (CI_LOW, CI_HIGH))
            known = not pd.isna(low) and metric not in _OF_THE_MACHINE
            compared = (value, ours - value, low <= value <= high if known else pd.NA)
            found.append((index, *(row[key] for key in _KEY), rank, metric, ours, *compared))
    columns = ["row", *_KEY, "lora_rank", "metric", "ours", *_ADDED]
    return pd.DataFrame(found, columns=columns).astype({"published_within": "boolean"})


def beside(table: pd.DataFrame, name: str, benchmark: str) -> pd.DataFrame:
    """The table with three more columns after each metric that the paper prints in it.

    They are ``<metric>_published``, ``<metric>_difference`` and ``<metric>_published_within``
    (:func:`joined`, whose arguments and errors these are); none where the benchmark is another.
    """
    pairs = joined(table, name, benchmark)
    for metric, found in pairs.groupby("metric", sort=False):
        place = max(list(table).index(c) for c in with_interval(str(metric)) if c in table)
        for offset, suffix in enumerate(_ADDED, start=1):
            values = found.set_index("row")[suffix].reindex(table.index)
            if suffix != "published_within":
                values = values.astype("float64")
            table.insert(place + offset, f"{metric}_{suffix}", values)
    return table


def with_others(table: pd.DataFrame, name: str, benchmark: str) -> pd.DataFrame:
    """The table, and below it a row for each model that the paper prints in it for comparison only.

    Those are models that it trains nothing for and that the table has no row of. Their rows have
    the printed numbers in our units and columns, and are missing elsewhere. A column
    ``source`` then says of every row whether it was measured or is only published; whole numbers
    become ``Int64``, which can be missing. Arguments and errors as for :func:`joined`.
    """
    printed = results()[results()["table"] == name]
    shown = {*printed.loc[printed["method"] != "base", "model"]}
    shown |= {MODELS.get(model, model) for model in table["model"]}
    others = printed[~printed["model"].isin(shown)]
    if others.empty or benchmark != BENCHMARKS[name]:
        return table
    kinds = {n: "Int64" for n in table if pd.api.types.is_integer_dtype(table[n])}
    first, models = len(table), list(others["model"].unique())
    table = table.astype(kinds).reindex(range(first + len(models)))
    sources = [MEASURED] * first + [PRINTED] * len(models)
    table.insert(list(table).index(WORLD.name) + 1, SOURCE_COLUMN, sources)
    for row, model in enumerate(models, start=first):
        values = others[others["model"] == model].set_index("metric")["value"]
        said = {"model": model, "method": "base", "reward": "", WORLD.name: "paper"}
        for column in map(str, table):
            metric, factor = UNITS.get(column, (column, 1.0))
            if metric in values:
                said[column] = values[metric] * factor
        table.loc[row, list(said)] = list(said.values())
    return table


def printed_method(method: str) -> str | None:
    """The paper's name of a method or of its variant in rank; None if it is not printed."""
    variant = Variant.parse(method)
    return METHODS.get(variant.name) if set(variant.arguments) <= {"rank", "alpha"} else None


def finished(
    table: pd.DataFrame,
    name: str,
    benchmark: str,
    columns: Iterable[Column],
    notes: Iterable[str] = (),
    departures: Sequence[str] = (),
) -> pd.DataFrame:
    """A table with published numbers next to ours, the rows of models that are only published
    (:func:`with_others`), and what its files say of it in ``attrs``.

    Args:
        table: as for :func:`beside`.
        name: of the published table; empty if there is none.
        benchmark: whose images it is about.
        columns: what is declared of its columns.
        notes: sentences for below it.
        departures: where prompts, images or models are not those of the printed numbers; with any,
            the images are of another world, whatever their benchmark is called.
    """
    if departures and not _hidden.get():  # a rehearsal departs in everything, and says so
        sentence = f"Not compared with published numbers: {'; '.join(departures)}."
        notes, name = [*notes, sentence], ""
        if WORLD.name in table:
            table[WORLD.name] = f"{benchmark}, not the paper's"
    table = with_others(beside(table, name, benchmark), name, benchmark) if name else table
    table.attrs["columns"] = described(columns)
    said = list(notes)
    if world(benchmark) != "paper":
        said.append(
            f"{benchmark} is another world than the paper's: nothing here can be compared with "
            "published numbers, and none are shown."
        )
    elif any(str(column).endswith("_published") for column in table.columns):
        said.append(
            f"Published: {SOURCE}, in our units; in brackets ours less the published value, and, "
            "but for times, whether the published value lies in our interval. Published times are "
            "printed as seconds per image; beside them stand ours from encoded prompts."
        )
    if SOURCE_COLUMN in table:
        said.append(
            "Rows in grey, in Markdown in italics: models that the paper lists for comparison; "
            "their numbers are its own, and nothing was measured here."
        )
    table.attrs["notes"] = said
    return table
