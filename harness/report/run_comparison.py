"""What moved between two runs, and what was done differently: tables of two results folders.

Where both runs scored the same images (same prompt, index and experiment seed, hence the same
noise) the difference is paired image by image, else it is not, and the row says so. Where a run has
several trainings of a method, those of the same training seed are paired, and others left out; one
training each is paired whatever the seeds. Of several without a seed in common the difference is
not paired, and has the variance between trainings in it. GenEval's
verdict is averaged as in the tables, task by task; rewards plainly. Intervals are at 95 %,
clustered by meaning; ``moved`` is decided by p values that Holm's method corrects for all rows
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from filecmp import cmp
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from harness.analysis.gains import CORRECT, TRAIN
from harness.analysis.interval_columns import columns_of, with_interval
from harness.analysis.pairing import CELL, PICTURE, SEED, FrameError
from harness.analysis.statistics import holm, paired_difference, unpaired_difference
from harness.analysis.training_seeds import numbered
from harness.base.safe_paths import below
from harness.results import frames
from harness.results.earlier_names import method_today
from harness.results.results_folder import Made, Survey, frames_of

#: What a difference is about.
KEY = ("benchmark", *CELL, "metric")
PAIRED_COUNTS = ("n_paired", "n_redrawn", "n_without_file")
COLUMNS = (
    *(*KEY, "a", "b", *with_interval("difference"), "p_holm", "moved", "noise", "n_a", "n_b"),
    *PAIRED_COUNTS,
)
LEVEL = 0.95
PAIRED, UNPAIRED = "paired", "unpaired"
_MEANING = "prompt_meaning"
_IMAGE = tuple(name for name in PICTURE if name not in ("benchmark", _MEANING))
_DRAWN = ("benchmark", *CELL, *_IMAGE)
#: The reward behind ``train_reward``. Of another version it is still compared: that moved it.
_REWARD = "reward_behind"
_OTHER_REWARDS = (
    "The training rewards are not the same: train_reward is {} in a, and {} in b. They are two "
    "metrics, which are not compared."
)
#: Of two runs, rows of networks that are compared with one another share it.
_NETWORK = "network"
#: Parts of a job that say where, not what.
_PLACES = ("out", "work", "threads", "file", "images", "inputs")


class Comparison(NamedTuple):
    """Two runs side by side.

    Attributes:
        moved: a row per model, method and metric of both, with :data:`COLUMNS`; ``a`` and ``b``
            are means in the metric's unit, n are images; of the paired ones ``n_redrawn`` have
            other files, and ``n_without_file`` are not there in both runs to be compared.
        times: median time per image of both, in ms, where both were timed.
        causes: what was done differently: where, what, a, b.
        alone: rows that one run has and the other lacks, in words.
        missing: ``a`` and ``b`` -> image files that the run's frames name and that are not there.
        foreign: what to say of a run that another layout of the harness wrote, and of runs whose
            training rewards are not the same.
    """

    moved: pd.DataFrame
    times: pd.DataFrame
    causes: pd.DataFrame
    alone: list[str]
    missing: dict[str, list[Path]]
    foreign: list[str]


def compare(a: Survey, b: Survey) -> Comparison:
    """What differs between two runs.

    Raises:
        FileNotFoundError: a run has no scores.
        ValueError: a frame is broken, or the runs have no model, method and metric in common.
    """
    sides = {"a": a, "b": b}
    for found in sides.values():
        if found.unreadable:
            raise ValueError("; ".join(f"{path}: {fault}" for path, fault in found.unreadable))
    read = [_scores(found) for found in sides.values()]
    rewards = [sorted(rows[rows["metric"] == TRAIN][_REWARD].unique()) for rows in read]
    if rewards[0] != rewards[1]:
        # Two metrics of one name: not compared, whatever else the runs share.
        own = [rows["metric"].where(rows["metric"] != TRAIN, rows[_REWARD]) for rows in read]
        read = [rows.assign(metric=names) for rows, names in zip(read, own, strict=True)]
    scores = alike([rows.drop(columns=_REWARD) for rows in read])
    groups = [dict(list(rows.groupby(list(KEY)))) for rows in scores]
    common = sorted(groups[0].keys() & groups[1].keys())
    if not common:
        raise FrameError("the runs have no model, method and metric in common: nothing to compare")
    files = [_files(found) for found in sides.values()]
    matched = scores[1].drop(columns=_MEANING)
    both = scores[0].merge(matched, on=[*KEY, *_IMAGE, _NETWORK], suffixes=("_a", "_b"))

    @cache
    def is_redrawn(*images: tuple[Any, ...]) -> bool | None:
        one, other = (of.get(image) for of, image in zip(files, images, strict=True))
        if one is None or other is None or not (one.is_file() and other.is_file()):
            return None
        return not cmp(one, other, shallow=False)

    images = (_images(both, f"{SEED}_{side}") for side in sides)
    both["is_redrawn"] = pd.Series(list(map(is_redrawn, *images)), dtype="object")
    paired = dict(list(both.groupby(list(KEY))))
    moved = pd.DataFrame(
        [_row(key, groups[0][key], groups[1][key], paired.get(key, both[:0])) for key in common]
    )
    moved["p_holm"] = holm(moved.pop("p").to_list())
    moved["moved"] = moved["p_holm"] < 1 - LEVEL
    lost = [sorted({path for path in of.values() if not path.is_file()}) for of in files]
    return Comparison(
        moved[list(COLUMNS)],
        _times(a, b),
        causes(a, b),
        [
            f"{name}: {' '.join(map(str, key))}"
            for name, own, other in (("a", 0, 1), ("b", 1, 0))
            for key in sorted(groups[own].keys() - groups[other].keys())
        ],
        dict(zip(sides, lost, strict=True)),
        [
            *(f"{name}: {text}." for name, found in sides.items() if (text := found.foreign())),
            *(
                [_OTHER_REWARDS.format(*map(", ".join, rewards))]
                if rewards[0] != rewards[1]
                else []
            ),
        ],
    )


def causes(a: Survey, b: Survey) -> pd.DataFrame:
    """Every setting, package version, commit and machine in which two runs differ.

    Settings are those of jobs, which runs of two layouts have in two forms: they are left out then.

    Returns:
        where (``everywhere``, or what was made), what (a dotted name), a, b; nothing twice.
    """
    # What a file is about is told by its place, which is the same in both runs.
    records = [
        {
            str(made.path.relative_to(made.results)): made
            for made in found.made
            if made.kind in frames.SCHEMAS and made.record
        }
        for found in (a, b)
    ]
    subjects = sorted(records[0].keys() & records[1].keys())
    rows = []
    for subject in subjects:
        made = [record[subject] for record in records]
        layouts = {item.record.get("layout") for item in made}
        parts = ["commit", "dirty", "packages", "hardware"]
        parts += ["spec"] if len(layouts) == 1 else []
        flat = [dict(_leaves({p: item.record.get(p) for p in parts}, "")) for item in made]
        for name in sorted(flat[0].keys() | flat[1].keys()):
            values = [str(side.get(name, "absent")) for side in flat]
            if values[0] != values[1]:
                rows.append((subject, name, *values))
    table = pd.DataFrame(rows, columns=["where", "what", "a", "b"], dtype="str")
    grouped = table.groupby(["what", "a", "b"], sort=False)["where"].agg(list).reset_index()
    grouped["where"] = [
        "everywhere" if len(places) == len(subjects) else "; ".join(places)
        for places in grouped["where"]
    ]
    return grouped[["where", "what", "a", "b"]]


def _read(made: Made, kind: str, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of a frame, which may be of another layout, with today's names of methods."""
    if not made.is_foreign:
        return frames.read(made.path, kind)[list(columns)]
    rows = frames.read_any(made.path)
    # Layouts before the third know neither.
    rows = rows.assign(**{name: None for name in (SEED, _MEANING) if name not in rows})
    if lacking := [name for name in columns if name not in rows]:
        raise FrameError(f"{made.path} is of another layout and lacks {', '.join(lacking)}")
    return rows[list(columns)].assign(method=rows["method"].map(method_today))


def _scores(found: Survey) -> pd.DataFrame:
    """All scores of a run; an image of several image sets is there once."""
    made = frames_of(found.made, frames.SCORES.kind)
    if not made:
        raise FileNotFoundError(f"{found.made[0].results} holds no {frames.SCORES.kind}")
    identity = [*KEY, *_IMAGE, SEED]
    columns = [*identity, _MEANING, "value"]
    parts = [
        _read(item, frames.SCORES.kind, columns).assign(**{_REWARD: _trained_on(item)})
        for item in made
    ]
    rows = pd.concat(map(numbered, parts), ignore_index=True)
    rows = rows.drop_duplicates([*identity, "value"])
    twice = rows[rows.duplicated(identity, keep=False)]
    if len(twice):
        files = ", ".join(str(item.path) for item in made)
        first = " ".join(map(str, twice.iloc[0][identity]))
        raise FrameError(f"{len(twice)} scores are there with two values, e.g. {first}, in {files}")
    return rows


def _trained_on(made: Made) -> str:
    """The reward, by name, that a frame of scores calls ``train_reward``."""
    rewards = made.spec.get("rewards")
    spec = rewards.get(TRAIN) if isinstance(rewards, Mapping) else None
    if not isinstance(spec, Mapping) or "name" not in spec:
        return TRAIN
    return f"{TRAIN} ({spec['name']})"


def alike(sides: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Scores of two runs with the :data:`_NETWORK` of each row, and with the meanings of prompts,
    which older layouts do not know."""
    cell = ["benchmark", *CELL]
    counts = [rows.groupby(cell)[SEED].nunique() for rows in sides]
    # One training each is compared, whatever its seed.
    one, other = (n.index[n == 1] for n in counts)
    alone = one.intersection(other)
    found = []
    for rows, others in (sides, sides[::-1]):
        is_alone = pd.MultiIndex.from_frame(rows[cell]).isin(alone)
        known = others.drop_duplicates("prompt_id").set_index("prompt_id")[_MEANING]
        told = rows[_MEANING].fillna(rows["prompt_id"].map(known)).fillna(rows["prompt_id"])
        network = rows[SEED].where(~is_alone, -1)
        found.append(rows.assign(**{_NETWORK: network, _MEANING: told}))
    return found


def _row(
    key: tuple[Any, ...], a: pd.DataFrame, b: pd.DataFrame, both: pd.DataFrame
) -> dict[str, Any]:
    is_paired, by_task = len(both) > 0, key[-1] == CORRECT
    sides = [(both, "value_a"), (both, "value_b")] if is_paired else [(a, "value"), (b, "value")]
    means = [
        (rows.groupby("task")[value].mean() if by_task else rows[value]).mean()
        for rows, value in sides
    ]
    before, after = [
        (
            rows[value].to_numpy(),
            (rows["task"] if by_task else pd.Series(0, index=rows.index)).to_numpy(),
            rows[_MEANING].to_numpy(),
        )
        for rows, value in sides
    ]
    if is_paired:
        seeds = both[_NETWORK].to_numpy() if both[_NETWORK].nunique() > 1 else None
        difference = paired_difference(after[0], before[0], *after[1:], LEVEL, seeds=seeds)
    else:
        seeds_of = [rows[SEED].to_numpy() if rows[SEED].nunique() > 1 else None for rows in (b, a)]
        difference = unpaired_difference(after, before, LEVEL, (seeds_of[0], seeds_of[1]))
    return {
        **dict(zip(KEY, key, strict=True)),
        "a": means[0],
        "b": means[1],
        **columns_of(difference, "difference"),
        "p": difference.p_value,
        "noise": PAIRED if is_paired else UNPAIRED,
        "n_a": len(a),
        "n_b": len(b),
        "n_paired": len(both),
        "n_redrawn": sum(redrawn is True for redrawn in both["is_redrawn"]),
        "n_without_file": sum(redrawn is None for redrawn in both["is_redrawn"]),
    }


def _files(found: Survey) -> dict[tuple[Any, ...], Path]:
    """Every image that a run's frames name -> its file, there or not."""
    files: dict[tuple[Any, ...], Path] = {}
    for made in frames_of(found.made, frames.IMAGES.kind):
        rows = numbered(_read(made, frames.IMAGES.kind, [*_DRAWN, SEED, "path"]))
        paths = below(made.path.parent, rows["path"], made.path)
        files |= zip(_images(rows), map(Path, paths), strict=True)
    return files


def _images(rows: pd.DataFrame, seed: str = SEED) -> Iterator[tuple[Any, ...]]:
    return rows[[*_DRAWN, seed]].itertuples(index=False, name=None)


def _times(a: Survey, b: Survey) -> pd.DataFrame:
    key = [*CELL, "batch_size"]
    sides = []
    for found in (a, b):
        timed = []
        for made in frames_of(found.made, frames.TIMINGS.kind):
            rows = frames.read_any(made.path)
            if "stage" in rows:
                timed.append(rows[rows["stage"] == "generation"])
            else:
                # Runs of before there were stages timed nothing but this, from encoded prompts.
                today = rows["method"].map(method_today)
                timed.append(rows.rename(columns={"latency_ms": "ms"}).assign(method=today))
        if not timed:
            return pd.DataFrame()
        sides.append(pd.concat(timed).groupby(key, as_index=False)["ms"].median())
    both: pd.DataFrame = sides[0].merge(sides[1], on=key, suffixes=("_a", "_b"))
    both = both.rename(columns={"ms_a": "a_ms", "ms_b": "b_ms"})
    return both.assign(ratio=both["b_ms"] / both["a_ms"])


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _PLACES:
                yield from _leaves(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value
