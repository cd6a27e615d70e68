"""Scores laid out as compared methods by images, and every gap in them named.

Two methods can be compared image by image only where both made the same images: the same
prompts from the same noise. This module finds what spoils that (a method without its baseline,
an image without its partner, a score that is there twice, not at all or not finite) and says
all of it in one message, since whoever mends one gap wants to know about the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.base.errors import unknown
from harness.results.frames import IDENTITY, LEFT_OUT, NO_SEED, SWAPPED

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

#: What identifies one row of a comparison, a *cell*.
CELL = ("model", "method", "reward", "steps")
#: Of a cell whose method is trained with several seeds, each *network*'s images.
SEED = "training_seed"
NETWORK = (*CELL, SEED)
#: What identifies an image within it, a *picture*: the same for all that share prompt and noise.
PICTURE = tuple(column.name for column in IDENTITY if column.name not in NETWORK)

#: What a table says of images that other tools made.
UNPAIRED = (
    "Images of {} are another tool's, and their noise is its own: gains over them and of them are "
    "unpaired, so that their intervals hold the noise of both sides; what they cost is unknown."
)
_EXAMPLES = 3


class FrameError(ValueError):
    """Frames that no honest table or figure can be made of; the message names every fault."""


@dataclass(frozen=True)
class Paired:
    """Scores of C cells, which are K networks together, on P pictures.

    Attributes:
        networks: [K] rows of :data:`NETWORK`, sorted; the seed of what trains nothing is missing.
        pictures: [P] rows of :data:`PICTURE`, sorted.
        scores: metric -> [K, P] in the metric's unit; NaN where a network lacks a picture.
    """

    networks: pd.DataFrame
    pictures: pd.DataFrame
    scores: Mapping[str, Floats]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """[C] rows of :data:`CELL`, sorted."""
        return self.networks[list(CELL)].drop_duplicates(ignore_index=True)

    @cached_property
    def cell_of(self) -> Integers:
        """[K], the cell of each network."""
        codes = self.networks.groupby(list(CELL), sort=False).ngroup()
        return np.asarray(codes, dtype=np.int64)

    @cached_property
    def are_foreign(self) -> Flags:
        """[C], whether a cell's images are another tool's: their noise is that of nobody else."""
        have = np.asarray(~np.isnan(np.stack(list(self.scores.values()))).all(axis=0), np.bool_)
        foreign = _are_foreign(self.pictures, have)
        return np.array([foreign[self.networks_of(cell)].any() for cell in self.cells.index])

    def notes(self) -> list[str]:
        """What a table says of images that other tools made; nothing without any."""
        foreign = sorted(set(self.cells["method"][self.are_foreign]))
        return [UNPAIRED.format(", ".join(foreign))] if foreign else []

    def networks_of(self, cell: int) -> Integers:
        """The places of a cell's networks among all, by their seed."""
        return np.asarray(np.flatnonzero(self.cell_of == cell), dtype=np.int64)

    def seeds_of(self, cell: int) -> list[int]:
        """The training seeds of a cell; none where nothing was trained."""
        return [int(s) for s in self.networks[SEED].iloc[self.networks_of(cell)].dropna()]

    def partners(self, cell: int, base: int) -> Integers:
        """For each network of a cell that of its baseline: of several the one of its seed.

        Raises:
            FrameError: the baseline has several, and none of that seed.
        """
        own, others = self.networks_of(cell), self.networks_of(base)
        if len(others) == 1:
            return np.resize(others, len(own))
        seeds = self.seeds_of(cell)
        if not seeds or not set(seeds) <= set(self.seeds_of(base)):
            named = (name_cell(self.cells.iloc[index]) for index in (cell, base))
            raise FrameError(" has other training seeds than ".join(named))
        at = dict(zip(self.seeds_of(base), others, strict=True))
        return np.array([at[seed] for seed in seeds], dtype=np.int64)

    @property
    def benchmark(self) -> str:
        """The benchmark of all pictures."""
        return str(self.pictures["benchmark"].iloc[0])


def pair(
    scores: pd.DataFrame,
    metrics: Sequence[str],
    images: pd.DataFrame | None = None,
    baseline: str | None = None,
) -> tuple[Paired, list[str]]:
    """Lay scores out, and list what keeps them from being compared; row order is irrelevant.

    Args:
        scores: score rows (:mod:`harness.results.frames`); other metrics are ignored.
        metrics: each image must have each of them, once and finite, unless its scorer says that
            the metric leaves it out (:func:`left_out_of`).
        images: image rows; when given, exactly these images must be scored.
        baseline: the method whose images all others of its model and steps must have, and no
            more; without one, the first method by name.

    Returns:
        The layout, to be used only if there are no faults, and the faults, a line each.

    Raises:
        FrameError: a column is missing or there are no rows, so that nothing can be laid out.
    """
    require(scores, (*NETWORK, *PICTURE, "metric", "value"), "scores")
    found = sorted(scores["metric"].unique())
    faults = [str(unknown("metric", n, found, "scores")) for n in metrics if n not in found]
    present = [name for name in metrics if name in found]
    if images is not None:
        require(images, (*NETWORK, *PICTURE), "images")
    if not present:
        raise FrameError("; ".join(faults))
    layout = _Layout.of(scores, present, images)
    return layout.paired(), faults + layout.faults() + layout.unpaired(baseline)


def left_out_of(metric: str) -> str:
    """The metric whose rows say which images a metric, or a swapped one, leaves out."""
    plain = metric.removesuffix(SWAPPED)
    return plain + LEFT_OUT + metric.removeprefix(plain)


def baselines(cells: pd.DataFrame, baseline: str) -> list[int | None]:
    """For each cell the index of the baseline of its model and steps; None where it has none."""
    keys = list(zip(cells["model"], cells["steps"], strict=True))
    of = {key: i for i, key in enumerate(keys) if cells["method"].iloc[i] == baseline}
    return [of.get(key) for key in keys]


def missing(
    cells: pd.DataFrame, models: Sequence[str] | None, methods: Sequence[str] | None
) -> list[str]:
    """A line for each asked-for model and method without a cell; None asks for nothing."""
    have = set(cells[["model", "method"]].drop_duplicates().itertuples(index=False, name=None))
    there, known = (sorted({pair[place] for pair in have}) for place in (0, 1))
    faults = [str(unknown("model", name, there)) for name in models or () if name not in there]
    faults += [str(unknown("method", name, known)) for name in methods or () if name not in known]
    # A name that is nowhere has been said to be unknown; once is enough.
    expected = product(
        [name for name in models or there if name in there],
        [name for name in methods or () if name in known],
    )
    return faults + [
        f"no rows of method {method!r} for model {model!r}"
        for model, method in expected
        if (model, method) not in have
    ]


def without_baseline(cells: pd.DataFrame, baseline: str) -> list[str]:
    """A line for each model and steps that lack the baseline or have several."""
    alone = [index for index, other in enumerate(baselines(cells, baseline)) if other is None]
    keys = cells.iloc[alone][["model", "steps"]].drop_duplicates()
    lines = [
        f"no rows of the baseline {baseline!r} for model {model!r} at steps {steps}"
        for model, steps in zip(keys["model"], keys["steps"], strict=True)
    ]
    several = cells[cells["method"] == baseline]
    several = several[several.duplicated(["model", "steps"], keep=False)]
    names = [name_cell(several.loc[index]) for index in several.index]
    return lines + ([f"more than one baseline: {examples(names)}"] if names else [])


def choose(
    frame: pd.DataFrame, models: Sequence[str] | None, methods: Sequence[str] | None
) -> pd.DataFrame:
    """The rows of some models and methods; None stands for all."""
    for column, names in (("model", models), ("method", methods)):
        if names is not None:
            frame = frame[frame[column].isin(list(names))]
    return frame


def select(
    frame: pd.DataFrame, models: Sequence[str] | None, methods: Sequence[str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of :func:`choose`, and the lines of :func:`missing`."""
    return choose(frame, models, methods), missing(frame, models, methods)


def rank(names: pd.Series[str], first: Sequence[str] | None) -> pd.Series[int]:
    """The place of each name: those of ``first`` in their order, then the others by name."""
    order = dict.fromkeys([*(first or ()), *sorted(names.unique())])
    return names.map({name: place for place, name in enumerate(order)})


def require(
    frame: pd.DataFrame, columns: Iterable[str], name: str, may_be_empty: bool = False
) -> None:
    """Raise FrameError unless a frame has these columns, and rows if it must."""
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise FrameError(f"{name} lack the columns {', '.join(lacking)}")
    if frame.empty and not may_be_empty:
        raise FrameError(f"{name}: no rows")


def stop_on(faults: Sequence[str], what: str) -> None:
    """Raise one FrameError with all faults, if there are any."""
    if faults:
        raise FrameError("\n- ".join([f"{what} cannot be made:", *faults]))


def examples(items: Sequence[str], n: int | None = None) -> str:
    """The first few of ``n`` things in words, and how many more there are."""
    more = (len(items) if n is None else n) - _EXAMPLES
    return "; ".join(items[:_EXAMPLES]) + (f"; and {more} more" if more > 0 else "")


def name_cell(cell: pd.Series[Any]) -> str:
    """A cell in words: ``tiny_sd hypernoise on matcher, steps 1``."""
    reward = f" on {cell['reward']}" if cell["reward"] else ""
    return f"{cell['model']} {cell['method']}{reward}, steps {cell['steps']}"


def name_network(networks: pd.DataFrame, place: int) -> str:
    """One of some networks in words: its cell, and its seed where the cell has several."""
    row, cells = networks.iloc[place], networks[list(CELL)]
    is_alone = (cells == row[list(CELL)]).all(axis=1).sum() == 1
    return name_cell(row) + ("" if is_alone else f", training seed {row[SEED]}")


@dataclass(frozen=True)
class _Layout:
    """Numbers instead of names, so that a million rows take a second.

    Attributes:
        places: per score row its metric, network and picture.
        values: the score rows' values.
        made: [K, P], image rows of each picture; None where no images were given.
        left_out: [M, K, P], whether a metric leaves out a network's picture.
    """

    networks: pd.DataFrame
    pictures: pd.DataFrame
    metrics: Sequence[str]
    places: tuple[Integers, Integers, Integers]
    values: Floats
    made: Integers | None
    left_out: Flags

    @classmethod
    def of(
        cls, scores: pd.DataFrame, metrics: Sequence[str], images: pd.DataFrame | None
    ) -> _Layout:
        others = [left_out_of(metric) for metric in metrics]
        kept, left_out = (scores[scores["metric"].isin(names)] for names in (metrics, others))
        frames = [kept, left_out, *([] if images is None else [images])]
        networks, network_codes = _code(frames, NETWORK)
        pictures, picture_codes = _code(frames, PICTURE)
        values = kept["value"].to_numpy(dtype=np.float64, na_value=np.nan)
        shape = (len(networks), len(pictures))
        made = None if images is None else _count((network_codes[2], picture_codes[2]), shape)
        places = (_places(kept, metrics), network_codes[0], picture_codes[0])
        excused = (_places(left_out, others), network_codes[1], picture_codes[1])
        flags = _count(excused, (len(metrics), *shape)) > 0
        return cls(networks, pictures, metrics, places, values, made, flags)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.metrics), len(self.networks), len(self.pictures)

    def paired(self) -> Paired:
        grid = np.full(self.shape, np.nan)
        grid[self.places] = self.values
        return Paired(self.networks, self.pictures, dict(zip(self.metrics, grid, strict=True)))

    def faults(self) -> list[str]:
        """What is wrong with single scores and image rows."""
        counts = _count(self.places, self.shape)
        at_fault = ~np.isfinite(self.values)
        not_finite = _count(tuple(codes[at_fault] for codes in self.places), self.shape)
        made = counts.sum(axis=0) if self.made is None else self.made
        lines = self._lines(counts > 1, self.metrics, "scored more than once")
        lines += self._lines(not_finite > 0, self.metrics, "score is not a finite number")
        lacking = (counts == 0) & (made > 0) & ~self.left_out
        lines += self._lines(lacking, self.metrics, "image without a score")
        if self.made is not None:
            lines += self._lines((counts > 0) & (made == 0), self.metrics, "no image row")
            lines += self._lines(made[None] > 1, ["images"], "more than one image row")
        return lines

    def unpaired(self, baseline: str | None) -> list[str]:
        """Which networks have other images than the one they are compared with."""
        have = _count(self.places, self.shape).sum(axis=0) > 0
        lines = []
        ours = self.networks[~_are_foreign(self.pictures, have)]
        for group in ours.groupby(["model", "steps"]).groups.values():
            members = ours.loc[group].sort_values(["method", "reward", SEED])
            if baseline is not None:
                members = members[members["method"] == baseline]
            pairs = ((cell, other) for other in members.index[:1] for cell in group.drop(other))
            for one, two in (both for pair in pairs for both in (pair, pair[::-1])):
                extra = have[one] & ~have[two]
                if extra.any():
                    with_it, lacking = (name_network(self.networks, index) for index in (one, two))
                    lines.append(
                        f"{lacking}: lacks {extra.sum()} of the images that {with_it} has: "
                        f"{self._pictures(extra)}"
                    )
        return lines

    def _lines(self, at: Flags, layers: Sequence[str], what: str) -> list[str]:
        """One line per layer and network in which a [layers, K, P] flag is up."""
        return [
            f"{name_network(self.networks, network)}: {layers[layer]}: {what}: "
            f"{self._pictures(at[layer, network])}"
            for layer, network in np.argwhere(at.any(axis=2))
        ]

    def _pictures(self, at: Flags) -> str:
        first = self.pictures[at].head(_EXAMPLES)
        columns = zip(first["prompt_id"], first["image_index"], first["seed"], strict=True)
        named = [f"prompt {prompt!r} image {index} seed {seed}" for prompt, index, seed in columns]
        return examples(named, int(at.sum()))


def _are_foreign(pictures: pd.DataFrame, have: Flags) -> Flags:
    """[K], whether networks that have some pictures [K, P] have those of another tool."""
    foreign = have[:, (pictures["seed"] == NO_SEED).to_numpy()]
    return np.asarray(foreign.any(axis=1), dtype=np.bool_)


def _places(scores: pd.DataFrame, metrics: Sequence[str]) -> Integers:
    """The place of each row's metric among some."""
    codes = pd.Categorical(scores["metric"], categories=list(metrics)).codes
    return np.asarray(codes, dtype=np.int64)


def _code(
    frames: Sequence[pd.DataFrame], columns: Sequence[str]
) -> tuple[pd.DataFrame, list[Integers]]:
    """Number the distinct values of some columns, the same in all frames, in sorted order."""
    stacked = pd.concat([frame[list(columns)] for frame in frames], ignore_index=True)
    stacked = stacked.astype({SEED: "Int64"} if SEED in columns else {})
    codes = stacked.groupby(list(columns), sort=True, dropna=False).ngroup().to_numpy(np.int64)
    _, first = np.unique(codes, return_index=True)
    ends = np.cumsum([len(frame) for frame in frames])[:-1]
    return stacked.iloc[first].reset_index(drop=True), np.split(codes, ends)


def _count(places: tuple[Integers, ...], shape: tuple[int, ...]) -> Integers:
    flat = np.ravel_multi_index(places, shape)
    counts: Integers = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
    return counts


def double_or_broken(rows: pd.DataFrame, key: Sequence[str], column: str = "value") -> list[str]:
    """A line each for rows with the same key, and for values that are no finite number."""
    faults = []
    for bad, what in (
        (rows.duplicated(list(key)), "more than one row"),
        (~np.isfinite(rows[column].astype(float)), f"{column} is not a finite number"),
    ):
        first = rows[bad][list(key)].head(3).itertuples(index=False, name=None)
        names = [" ".join(str(part) for part in row) for row in first]
        faults += [f"{what}: {examples(names, int(bad.sum()))}"] if names else []
    return faults
