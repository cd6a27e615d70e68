"""What is measured on the images of a cell, and by how much that exceeds the baseline.

Every table that shows scores gets them here, so that a gain over the base is the same number
wherever it stands: paired image by image on the same noise, clustered by meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.analysis.benchmark_faults import strange
from harness.analysis.columns import Column
from harness.analysis.pairing import (
    CELL,
    Flags,
    Floats,
    Integers,
    Paired,
    baselines,
    choose,
    pair,
    require,
    select,
    stop_on,
    without_baseline,
)
from harness.analysis.references import TIED, best_of_each_model, tied
from harness.analysis.seed_variance import seed_spread
from harness.analysis.statistics import (
    Difference,
    Interval,
    bootstrap_interval,
    holm,
    paired_difference,
    proportion_interval,
    task_mean_interval,
    unpaired_difference,
)
from harness.analysis.training_seeds import FIRST_NOTES, said
from harness.benchmarks import geneval
from harness.benchmarks.geneval import TASKS
from harness.experiment.plan import TRAIN_METRIC
from harness.results.frames import LEFT_OUT, SWAPPED

#: GenEval's verdicts, 1 or 0, and the reward that methods are trained on or search.
CORRECT, TRAIN = geneval.CORRECT.name, TRAIN_METRIC
_VERDICT = "_correct"
#: Columns of what several training seeds, and several wordings of a prompt, come to.
N_SEEDS, SEED_SD, N_MEANINGS = "n_training_seeds", "_seed_sd", "n_meanings"


class Metrics(NamedTuple):
    """The scores that a table shows.

    Attributes:
        main: the benchmark's own metric, whose mean is the plain one of its tasks' means.
        tasks: the benchmark's tasks, in the order of their columns.
        rewards: the training reward and the judges', means over images.
    """

    main: str
    tasks: tuple[str, ...]
    rewards: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, as score rows call them."""
        return (self.main, *self.rewards)


def metrics_of(
    scores: pd.DataFrame, metric: str = CORRECT, judges: Sequence[str] | None = None
) -> Metrics:
    """What a table of score rows shows.

    Args:
        scores: score rows of one benchmark.
        metric: the benchmark's own.
        judges: the metrics of rewards that no method saw; None takes every metric of the scores
            that is neither the training reward nor the benchmark's.
    """
    require(scores, ("metric", "task"), "scores")
    tasks = TASKS if metric == CORRECT else tuple(sorted(scores["task"].unique()))
    own = (TRAIN, metric, f"{metric}_")
    found = [
        name
        for name in sorted(scores["metric"].unique())
        if not name.startswith(own) and not name.endswith((LEFT_OUT, SWAPPED))
    ]
    return Metrics(metric, tasks, (TRAIN, *(found if judges is None else judges)))


def stem_of(metric: str) -> str:
    """A metric in the names of columns: ``geneval_correct`` is ``geneval`` there."""
    plain, swapped = metric.removesuffix(SWAPPED), metric.endswith(SWAPPED)
    return plain.removesuffix(_VERDICT) + SWAPPED * swapped


class Rows(NamedTuple):
    """What a number of a cell rests on, [n] each, network after network.

    Attributes:
        values: of a metric.
        others: those of the baseline's images from the same prompts and noise.
        tasks, meanings: of the prompts, by number.
        seeds: training seed of the network behind each; None where there is one network only.
    """

    values: Floats
    others: Floats
    tasks: Integers
    meanings: Integers
    seeds: Integers | None


@dataclass(frozen=True)
class Cell:
    """The images of one model, method, reward and steps, and those of its baseline.

    A trained method has those of a network for each training seed.

    Attributes:
        paired: the scores of K networks on P pictures.
        index: of the cell, in [0, C).
        base: of its baseline; None where nothing is compared.
        codes: ``task``, ``prompt_id`` and ``prompt_meaning`` of each picture [P], by number.
        rows: kind of frame -> the cell's own rows.
        best: of the cell that is the best of its model; None where none was asked for.
    """

    paired: Paired
    index: int
    base: int | None
    codes: Mapping[str, Integers]
    rows: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    best: int | None = None

    def identity(self, name: str) -> Any:
        """Its model, method, reward or steps."""
        return self.paired.cells[name].iloc[self.index]

    def has(self, metric: str, task: str = "") -> Flags:
        """[S, P], which pictures of its S networks have a value of a metric; of one task only, if
        it is named."""
        own = self.paired.networks_of(self.index)
        there: Flags = ~np.isnan(self.paired.scores[metric][own])
        return there & (self.paired.pictures["task"] == task).to_numpy() if task else there

    def n_images(self, metric: str) -> int:
        """How many images have a value of a metric."""
        return int(self.has(metric).sum())

    def n_different(self, name: str, metric: str) -> int:
        """How many prompts (``prompt_id``) these images have, or how many meanings."""
        return len(np.unique(self.codes[name][self.has(metric).any(axis=0)]))

    def mean(self, metric: str, task: str = "") -> Interval:
        """The mean over images, of one task if it is named; of verdicts it is a share."""
        own = self._rows(metric, task)
        if not metric.endswith(_VERDICT):
            return bootstrap_interval(
                own.values, own.meanings, tasks=None if task else own.tasks, seeds=own.seeds
            )
        return proportion_interval(own.values, own.meanings, seeds=own.seeds)

    def task_mean(self, metric: str) -> Interval:
        """The plain mean of the tasks' means."""
        own = self._rows(metric)
        return task_mean_interval(own.values, own.tasks, own.meanings, seeds=own.seeds)

    def gain(self, metric: str, task: str = "", by_task: bool = False) -> Difference:
        """The mean of a metric less the baseline's, image by image; where either is another tool's,
        the difference of two samples that share prompts and no noise.

        Args:
            metric: of the scores.
            task: the only one whose images count; all do if empty.
            by_task: whether it is the plain mean of the tasks' gains, or that of all images.
        """
        own = self._rows(metric, task)
        tasks = own.tasks if by_task else np.zeros_like(own.tasks)
        if self.base is not None and not self.is_paired:
            base = replace(self, index=self.base, base=None)._rows(metric, task)
            of_base = base.tasks if by_task else np.zeros_like(base.tasks)
            sides = (own.values, tasks, own.meanings), (base.values, of_base, base.meanings)
            return unpaired_difference(*sides, seeds=(own.seeds, base.seeds))
        # A metric may leave out an image of the other side alone.
        both = ~np.isnan(own.others)
        values, others = own.values[both], own.others[both]
        seeds = None if own.seeds is None else own.seeds[both]
        return paired_difference(values, others, tasks[both], own.meanings[both], seeds=seeds)

    @property
    def n_training_seeds(self) -> int:
        """How many networks it has; 0 where nothing is trained."""
        return len(self.paired.seeds_of(self.index))

    @property
    def is_paired(self) -> bool:
        """Whether its images and the baseline's are from the same noise: not another tool's."""
        cells = [self.index] if self.base is None else [self.index, self.base]
        return len(set(cells)) < 2 or not bool(self.paired.are_foreign[cells].any())

    def seed_sd(self, metric: str, by_task: bool = True, gain: bool = False) -> float:
        """The standard deviation over training seeds of a mean, or of a gain; NaN for one seed."""
        own = self._rows(metric)
        if own.seeds is None:
            return math.nan
        values = own.values - own.others if gain else own.values
        # A metric may leave out an image of the other side alone.
        there = ~np.isnan(values)
        tasks = own.tasks[there] if by_task else None
        return seed_spread(values[there], tasks, own.seeds[there])

    def gains_beside(self, other: int, metric: str) -> Rows:
        """Its gains over the baseline as ``values``, beside another cell's on the same images."""
        own, theirs = self._rows(metric), replace(self, base=other)._rows(metric).others
        # A metric may leave out an image of another side alone.
        both = ~(np.isnan(own.others) | np.isnan(theirs))
        gains, beside = (side[both] - own.others[both] for side in (own.values, theirs))
        seeds = None if own.seeds is None else own.seeds[both]
        return Rows(gains, beside, own.tasks[both], own.meanings[both], seeds)

    def _rows(self, metric: str, task: str = "") -> Rows:
        own, there = self.paired.networks_of(self.index), self.has(metric, task)
        base = self.index if self.base is None else self.base
        scores, partners = self.paired.scores[metric], self.paired.partners(self.index, base)
        network, picture = np.nonzero(there)
        seeds = np.array(self.paired.seeds_of(self.index))[network] if len(own) > 1 else None
        tasks, meanings = (self.codes[name][picture] for name in ("task", "prompt_meaning"))
        return Rows(scores[own][there], scores[partners][there], tasks, meanings, seeds)


def tabulate(
    paired: Paired,
    columns: Sequence[Column],
    baseline: str = "",
    frames: Mapping[str, pd.DataFrame] | None = None,
    best_by: str = "",
) -> pd.DataFrame:
    """A row per cell, in the cells' order: what identifies it, and the columns.

    What tells of several training seeds, or of several wordings of a prompt, is left out where
    there are none.

    Args:
        frames: kind -> rows of all cells, which columns find as ``cell.rows[kind]``.
        best_by: the metric whose mean over tasks says which cell of a model is ``cell.best``.
    """
    # Numbers are a hundred times faster to group by than names.
    codes = {
        name: pd.factorize(paired.pictures[name], sort=True)[0].astype(np.int64)
        for name in ("task", "prompt_id", "prompt_meaning")
    }
    by_cell = {kind: dict(iter(rows.groupby(list(CELL)))) for kind, rows in (frames or {}).items()}
    cells = []
    for index, base in enumerate(baselines(paired.cells, baseline)):
        key = tuple(paired.cells.iloc[index])
        own = {kind: found[key] for kind, found in by_cell.items() if key in found}
        cells.append(Cell(paired, index, base, codes, own))
    if best_by:
        best = best_of_each_model(cells, [cell.task_mean(best_by).mean for cell in cells])
        cells = [replace(cell, best=top) for cell, top in zip(cells, best, strict=True)]
    rows = [
        {name: v for column in columns for name, v in column.cells(cell).items()} for cell in cells
    ]
    table = pd.concat([paired.cells, pd.DataFrame(rows)], axis=1)
    needless = [] if len(paired.networks) > len(paired.cells) else [N_SEEDS]
    needless += [name for name in map(str, table) if needless and name.endswith(SEED_SD)]
    if N_MEANINGS in table and table[N_MEANINGS].equals(table["n_prompts"]):
        needless.append(N_MEANINGS)
    table = table.drop(columns=needless, errors="ignore")
    table.attrs[FIRST_NOTES] = said(paired.networks) + paired.notes()
    table.attrs[TIED] = tied(cells, columns)
    return table


def correct(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The table with the p values of all its gains corrected together, in place.

    They are the columns whose name begins with ``p_holm``; the baseline's own are no tests.
    """
    names = [name for name in table.columns if name.startswith("p_holm")]
    raw = table[names].where(table["method"] != baseline)
    table[names] = np.reshape(holm(raw.to_numpy().ravel().tolist()), raw.shape)
    return table


def scored(metrics: Metrics, each_task: bool = False, gain: bool = False) -> list[Column]:
    """The columns of a table's scores: sizes, the benchmark's mean, perhaps that of each task and
    the gain over the baseline, and the mean of each reward."""
    main, stem = metrics.main, stem_of(metrics.main)
    tasks = metrics.tasks if each_task else ()
    return [
        *sizes(main),
        Column(
            f"{stem}_mean",
            lambda c: c.task_mean(main),
            "mean of the tasks",
            best="highest",
            versus=lambda c: c.gain(main, by_task=True),
        ),
        seed_sd(stem, main),
        *(mean(f"{stem}_{task}", main, task) for task in tasks),
        *([gain_over_base(main), seed_sd("gain", main, gain=True)] if gain else []),
        *(mean(f"{reward}_mean", reward) for reward in metrics.rewards),
    ]


def sizes(metric: str) -> list[Column]:
    """On how many images, of how many prompts, a metric rests."""
    return [
        Column("n_images", lambda c: c.n_images(metric), "images that were scored"),
        Column(
            "n_prompts", lambda c: c.n_different("prompt_id", metric), "prompts of these images"
        ),
        Column(
            N_MEANINGS,
            lambda c: c.n_different("prompt_meaning", metric),
            "different things that these prompts ask for",
        ),
        Column(N_SEEDS, lambda c: c.n_training_seeds, "networks, trained with as many seeds"),
    ]


def seed_sd(stem: str, metric: str, by_task: bool = True, gain: bool = False) -> Column:
    """A column with the standard deviation over training seeds of a metric's mean or gain."""
    return Column(
        f"{stem}{SEED_SD}",
        lambda c: c.seed_sd(metric, by_task, gain),
        "standard deviation over training seeds",
        form="measured",
    )


def mean(name: str, metric: str, task: str = "") -> Column:
    """A column with the mean of a metric over all images, or over those of one task."""
    said = f"mean {metric}" + (f" of {task}" if task else "")
    return Column(
        name,
        lambda c: c.mean(metric, task),
        said,
        best="highest",
        versus=lambda c: c.gain(metric, task),
    )


def gain_over_base(metric: str, by_task: bool = True) -> Column:
    """The column ``gain_over_base`` of a metric, and its p value."""
    return Column(
        "gain_over_base",
        lambda c: c.gain(metric, by_task=by_task),
        f"{stem_of(metric)} less the baseline's, image by image",
        best="highest",
        stem="gain",
        p_value="p_holm",
        versus=lambda c: c.gain(metric, by_task=by_task),
    )


def lay_out(
    scores: pd.DataFrame,
    metrics: Metrics,
    models: Sequence[str] | None,
    methods: Sequence[str] | None,
    images: pd.DataFrame | None = None,
    baseline: str | None = None,
) -> tuple[Paired, list[str]]:
    """The chosen rows laid out, with all that is wrong with them as results of a benchmark.

    With a baseline, each model has to have its images at the same steps.
    """
    require(scores, CELL, "scores")
    if images is not None:
        require(images, (*CELL, "nfe"), "images")
        images = choose(images, models, methods)
    chosen, faults = select(scores, models, methods)
    if chosen.empty:
        stop_on(faults, "a table")
    paired, found = pair(chosen, metrics.names, images, baseline)
    faults += found + strange(paired, metrics.main)
    return paired, faults + ([] if baseline is None else without_baseline(paired.cells, baseline))
