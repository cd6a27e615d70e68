"""``python -m harness compare A B``: what moved between two runs, beyond noise or not, and why.

Every model, method and metric that both runs have is compared. Where both scored the same images
(same prompt, index and experiment seed, hence the same noise) the difference is paired image by
image, else it is not, and the row says so. GenEval's verdict is averaged as in the tables, task by
task; rewards plainly. Intervals are at 95 %, clustered by prompt; ``moved`` is decided by p values
that Holm's method corrects for all rows together.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from filecmp import cmp
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.analysis.interval_columns import columns_of, with_interval
from harness.analysis.pairing import CELL, PICTURE, FrameError, examples
from harness.analysis.statistics import Difference, holm, paired_difference, unpaired_difference
from harness.analysis.tables import CORRECT
from harness.base.atomic_files import write_text
from harness.experiment.jobs import place_names
from harness.report.formats import for_people
from harness.results import frames
from harness.results.results_folder import Made, Survey, frames_of, survey

#: What a difference is about.
KEY = ("benchmark", *CELL, "metric")
_PAIRED_COUNTS = ("n_paired", "n_redrawn", "n_without_file")
COLUMNS = (
    *KEY,
    "a",
    "b",
    *with_interval("difference"),
    "p_holm",
    "moved",
    "noise",
    "n_a",
    "n_b",
    *_PAIRED_COUNTS,
)
LEVEL = 0.95
PAIRED, UNPAIRED = "paired", "unpaired"
_IMAGE = tuple(name for name in PICTURE if name != "benchmark")
_LEGEND = (
    "Intervals in brackets: 95 %, images of one prompt taken as one cluster. *paired*: the same "
    "images from the same noise; *unpaired*: other images, so that the noise counts, too. "
    "n_redrawn: of the paired images, those with other files; n_without_file: those that have a "
    "file in one run at most, so that nobody can tell."
)


class Comparison(NamedTuple):
    """Two runs side by side.

    Attributes:
        moved: a row per model, method and metric of both, with :data:`COLUMNS`; ``a`` and ``b``
            are means in the metric's unit, n are images; of the paired ones ``n_redrawn`` have
            other files, and ``n_without_file`` are not there in both runs to be compared.
        latency: median time per image of both, in ms, where both were timed.
        causes: what was done differently: where, what, a, b.
        alone: rows that one run has and the other lacks, in words.
        missing: ``a`` and ``b`` -> image files that the run's frames name and that are not there.
    """

    moved: pd.DataFrame
    latency: pd.DataFrame
    causes: pd.DataFrame
    alone: list[str]
    missing: dict[str, list[Path]]


class Pictures(NamedTuple):
    """The image files that both runs have of a benchmark and cell, and those that differ."""

    seen: set[Any]
    redrawn: set[Any]


def run(a: str, b: str, out: str | None = None) -> None:
    """Compare two results folders, print Markdown, and write ``out`` + .md, .csv and .json.

    Raises:
        FileNotFoundError: a folder is missing or empty.
        ValueError: a frame is broken, or the runs have nothing in common.
    """
    found = compare(survey(a), survey(b))
    text = markdown(found, a, b)
    print(text, end="")
    if out is not None:
        _write(found, text, Path(out))


def compare(a: Survey, b: Survey) -> Comparison:
    """What differs between two runs.

    Raises:
        ValueError: a frame is broken, or the runs have no model, method and metric in common.
    """
    for found in (a, b):
        if found.unreadable:
            raise ValueError("; ".join(f"{path}: {fault}" for path, fault in found.unreadable))
    scores = [_rows(found, frames.SCORES.kind) for found in (a, b)]
    keys = [set(rows.index.unique()) for rows in scores]
    common = sorted(keys[0] & keys[1])
    if not common:
        raise FrameError("the runs have no model, method and metric in common: nothing to compare")
    files = [_files(found) for found in (a, b)]
    there = [{image: path for image, path in of.items() if path.is_file()} for of in files]
    pictures = _pictures(*there)
    unseen = Pictures(set(), set())
    rows = [
        _row(key, _of(scores[0], key), _of(scores[1], key), pictures.get(key[:-1], unseen))
        for key in common
    ]
    moved = pd.DataFrame(rows)
    moved["p_holm"] = holm(moved.pop("p").to_list())
    moved["moved"] = moved["p_holm"] < 1 - LEVEL
    lost = [sorted(set(files[i].values()) - set(there[i].values())) for i in (0, 1)]
    missing = dict(zip("ab", lost, strict=True))
    return Comparison(moved[list(COLUMNS)], _latencies(a, b), causes(a, b), _alone(*keys), missing)


def causes(a: Survey, b: Survey) -> pd.DataFrame:
    """Every setting, package version, commit and machine in which two runs differ.

    Returns:
        where (``everywhere``, or what was made), what (a dotted name), a, b; nothing twice.
    """
    records = [_by_subject(found) for found in (a, b)]
    rows = []
    for subject in sorted(records[0].keys() & records[1].keys()):
        flat = [_flat(record[subject].record) for record in records]
        for name in sorted(flat[0].keys() | flat[1].keys()):
            values = [str(side.get(name, "absent")) for side in flat]
            if values[0] != values[1]:
                rows.append((subject, name, *values))
    table = pd.DataFrame(rows, columns=["where", "what", "a", "b"], dtype="str")
    return _gathered(table, len(records[0].keys() & records[1].keys()))


def markdown(found: Comparison, a: str, b: str) -> str:
    """The comparison in words and tables."""
    n_moved = int(found.moved["moved"].sum())
    parts = [
        f"# What moved from {a} (a) to {b} (b)",
        f"{n_moved} of {len(found.moved)} differences are beyond noise (95 %, Holm).",
        _LEGEND,
    ]
    for title, rows in _by_verdict(found.moved).items():
        parts += [f"## {title}", _pipes(rows) if len(rows) else "Nothing."]
    if len(found.latency):
        note = "Medians of repeats on one machine each: no interval would cover another machine."
        parts += ["## Time per image, ms", _pipes(found.latency), note]
    parts += ["## What was done differently"]
    parts += [_pipes(found.causes) if len(found.causes) else "Nothing that provenance knows of."]
    if found.alone:
        parts += ["## In one run only", "\n".join(f"- {line}" for line in found.alone)]
    lost = [f"- {side}: {line}" for side, files in found.missing.items() for line in _lost(files)]
    if lost:
        parts += ["## Image files that frames name and that are missing", "\n".join(lost)]
    return "\n\n".join(parts) + "\n"


def _by_verdict(moved: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows under a title each: what moved, what did not, what is the very same."""
    # Bounds and mean are all 0 only where no image's score differs.
    bounds = moved[list(with_interval("difference"))]
    same = (bounds == 0).all(axis=1) & (moved["noise"] == PAIRED)
    rows = moved.drop(columns="moved")
    return {
        "Moved beyond noise": rows[moved["moved"]],
        "Within noise": rows[~moved["moved"] & ~same],
        "The same, image by image": rows[same][[*KEY, "a", *_PAIRED_COUNTS]],
    }


def _lost(files: Sequence[Path]) -> list[str]:
    """A line per folder, with the first of its missing files; the JSON has them all."""
    folders = groupby(files, lambda file: file.parent)
    names = [(folder, [file.name for file in of_folder]) for folder, of_folder in folders]
    return [f"{folder}: {len(lost)} files: {examples(lost)}" for folder, lost in names]


def _rows(found: Survey, kind: str) -> pd.DataFrame:
    """All rows of a kind, by what they are about; an image of several selections once."""
    parts = [frames.read(made.path, kind) for made in frames_of(found.made, kind)]
    if not parts:
        raise FileNotFoundError(f"{found.made[0].results} holds no {kind}")
    identity = [*KEY, *_IMAGE]
    rows = pd.concat(parts, ignore_index=True).drop_duplicates([*identity, "value"])
    twice = rows[rows.duplicated(identity, keep=False)]
    if len(twice):
        files = ", ".join(str(made.path) for made in frames_of(found.made, kind))
        first = " ".join(map(str, twice.iloc[0][identity]))
        raise FrameError(f"{len(twice)} scores are there with two values, e.g. {first}, in {files}")
    return rows.set_index(list(KEY)).sort_index()


def _of(rows: pd.DataFrame, key: tuple[Any, ...]) -> pd.DataFrame:
    chosen: pd.DataFrame = rows.loc[[key]]
    return chosen


def _row(
    key: tuple[Any, ...], a: pd.DataFrame, b: pd.DataFrame, pictures: Pictures
) -> dict[str, Any]:
    both = a.merge(b, on=list(_IMAGE), suffixes=("_a", "_b"))
    difference = _difference(a, b, both, by_task=key[-1] == CORRECT)
    paired = set(both[list(_IMAGE)].itertuples(index=False, name=None))
    sides = [(both, "value_a"), (both, "value_b")] if len(both) else [(a, "value"), (b, "value")]
    means = [_mean(rows, value, key[-1]) for rows, value in sides]
    return {
        **dict(zip(KEY, key, strict=True)),
        "a": means[0],
        "b": means[1],
        **columns_of(difference, "difference"),
        "p": difference.p_value,
        "noise": PAIRED if len(both) else UNPAIRED,
        "n_a": len(a),
        "n_b": len(b),
        "n_paired": len(both),
        "n_redrawn": len(paired & pictures.redrawn),
        "n_without_file": len(paired - pictures.seen),
    }


def _difference(a: pd.DataFrame, b: pd.DataFrame, both: pd.DataFrame, by_task: bool) -> Difference:
    def of(rows: pd.DataFrame, value: str) -> tuple[Any, Any, Any]:
        tasks = rows["task"] if by_task else pd.Series(0, index=rows.index)
        return rows[value].to_numpy(), tasks.to_numpy(), rows["prompt_id"].to_numpy()

    if len(both):
        after, tasks, prompts = of(both, "value_b")
        return paired_difference(after, both["value_a"].to_numpy(), tasks, prompts, LEVEL)
    return unpaired_difference(of(b, "value"), of(a, "value"), LEVEL)


def _mean(rows: pd.DataFrame, value: str, metric: str) -> float:
    by_task = rows.groupby("task")[value].mean()
    return float(by_task.mean() if metric == CORRECT else rows[value].mean())


def _pictures(
    a: Mapping[tuple[Any, Any], Path], b: Mapping[tuple[Any, Any], Path]
) -> dict[tuple[Any, ...], Pictures]:
    """Per benchmark and cell, what two runs' existing files of the same images say."""
    found: dict[tuple[Any, ...], Pictures] = {}
    for cell, image in a.keys() & b.keys():
        pictures = found.setdefault(cell, Pictures(set(), set()))
        pictures.seen.add(image)
        if not cmp(a[cell, image], b[cell, image], shallow=False):
            pictures.redrawn.add(image)
    return found


def _files(found: Survey) -> dict[tuple[Any, Any], Path]:
    """(benchmark and cell, image) -> its file, there or not."""
    files = {}
    for made in frames_of(found.made, frames.IMAGES.kind):
        rows = frames.read(made.path, frames.IMAGES)
        cells = rows[["benchmark", *CELL]].itertuples(index=False, name=None)
        images = rows[list(_IMAGE)].itertuples(index=False, name=None)
        for cell, image, name in zip(cells, images, rows["path"], strict=True):
            files[cell, image] = made.path.parent / name
    return files


def _latencies(a: Survey, b: Survey) -> pd.DataFrame:
    key = [*CELL, "batch_size"]
    sides = []
    for found in (a, b):
        # Only these columns: a run of another version of the code may have fewer or more.
        timed = [frames.read_any(m.path) for m in frames_of(found.made, frames.TIMINGS.kind)]
        if not timed:
            return pd.DataFrame()
        sides.append(pd.concat(timed).groupby(key, as_index=False)["latency_ms"].median())
    both: pd.DataFrame = sides[0].merge(sides[1], on=key, suffixes=("_a", "_b"))
    both = both.rename(columns={"latency_ms_a": "a_ms", "latency_ms_b": "b_ms"})
    return both.assign(ratio=both["b_ms"] / both["a_ms"])


def _alone(a: set[tuple[Any, ...]], b: set[tuple[Any, ...]]) -> list[str]:
    sides = (("a", a - b), ("b", b - a))
    return [f"{name}: {' '.join(map(str, key))}" for name, keys in sides for key in sorted(keys)]


def _by_subject(found: Survey) -> dict[str, Made]:
    """What a file is about, the same in both runs -> the file."""
    relative = {str(made.path.relative_to(made.results)): made for made in found.made}
    made = {name: item for name, item in relative.items() if item.kind in frames.SCHEMAS}
    return {name: item for name, item in made.items() if item.record}


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: record.get(name) for name in ("commit", "dirty", "packages", "hardware", "spec")}
    return dict(_leaves(parts, "", place_names()))


def _leaves(value: Any, name: str, places: Collection[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in places:
                # Arguments have names of their own, which may be those of places.
                below = () if key == "arguments" else places
                yield from _leaves(inner, f"{name}.{key}" if name else key, below)
    else:
        yield name, value


def _gathered(table: pd.DataFrame, n_subjects: int) -> pd.DataFrame:
    """One row per difference, with all the places where it is."""
    if table.empty:
        return table
    grouped = table.groupby(["what", "a", "b"], sort=False)["where"].agg(list).reset_index()
    grouped["where"] = [
        "everywhere" if len(files) == n_subjects else "; ".join(files) for files in grouped["where"]
    ]
    ordered: pd.DataFrame = grouped[["where", "what", "a", "b"]]
    return ordered


def _pipes(table: pd.DataFrame) -> str:
    texts = for_people(table)
    rows = [list(texts.columns), [":--"] * len(texts.columns), *texts.to_numpy().tolist()]
    cells = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _write(found: Comparison, text: str, out: Path) -> None:
    parts: dict[str, Sequence[Any]] = {
        "moved": _records(found.moved),
        "latency": _records(found.latency),
        "causes": _records(found.causes),
        "alone": found.alone,
        "missing": [{"side": s, "file": str(f)} for s, fs in found.missing.items() for f in fs],
    }
    texts = {
        "md": text,
        "csv": found.moved.to_csv(index=False, lineterminator="\n"),
        # NaN is no JSON.
        "json": json.dumps(parts, indent=1, allow_nan=False) + "\n",
    }
    for suffix, words in texts.items():
        write_text(out.with_name(f"{out.name}.{suffix}"), words)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(k): _plain(v) for k, v in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
