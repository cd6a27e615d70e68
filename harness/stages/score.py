"""Score finished images, as they are on disk, with a benchmark's scorer and with rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from harness.base.import_strings import beside
from harness.build.devices import default_device
from harness.build.prompts import load_prompts
from harness.build.rewards import build_reward, check_reward
from harness.experiment.components import BenchmarkSpec, resolve, unknown
from harness.experiment.jobs import ScoreJob
from harness.results import frames
from harness.results.image_files import ImageReader, n_workers
from harness.stages.prompt_swaps import Asked, swapped
from hypernoise.batches import Batches
from hypernoise.models.protocol import encode_in_chunks
from hypernoise.progress import Progress
from hypernoise.rewards.protocol import Features, Reward, checked_score

_IDENTITY = [column.name for column in frames.IDENTITY]


#: What a metric says about an image: its value, higher is better, and why.
Verdict: TypeAlias = tuple[float, str]
#: The same by several metrics. One that does not count the image by its own rules is there with
#: :data:`frames.LEFT_OUT` at the end of its name.
Verdicts: TypeAlias = Mapping[str, Verdict]


class Scorer(Protocol):
    """What a benchmark's ``scorer`` target is: a function of images and their prompts' metadata.

    It gets float32 images [N, 3, H, W] in [0, 1] (8-bit values), N metadata records and the
    spec's ``scorer_arguments``; it returns N verdicts. One that measures several things returns
    them by metric, and has their names beside it, as ``NAME_metrics`` of a scorer ``NAME``.
    An image that is judged against several prompts stands beside itself
    (:func:`harness.benchmarks.neighbours.runs`).
    """

    def __call__(
        self, images: NDArray[np.float32], metadata: Sequence[Any], **arguments: Any
    ) -> Sequence[Verdict] | Sequence[Verdicts]: ...


@dataclass(frozen=True)
class Judge:
    """A reward as a metric, with its text features of every prompt."""

    metric: str
    reward: Reward
    features: Features
    row_of: Mapping[str, int]
    device: str

    def score(self, images: NDArray[np.float32], prompt_ids: Sequence[str]) -> list[float]:
        """One value per image.

        Raises:
            ValueError: the reward gives another number of values, or one that is not finite.
        """
        rows = [self.row_of[prompt_id] for prompt_id in prompt_ids]
        pixels = torch.from_numpy(images).to(self.device)
        with torch.no_grad():
            values = checked_score(self.reward, pixels, self.features.rows(rows))
        return [float(value) for value in values]


def run(job: ScoreJob) -> None:
    """Score every image of the job's frames and write one long frame.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first), or a
            reward gives a value that is not finite.
    """
    torch.set_num_threads(job.threads)
    table, metadata = check(job)
    partners = _partners(job, table)
    device = default_device()
    texts = table.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
    row_of = {prompt_id: row for row, prompt_id in enumerate(texts.index)}
    judges = []
    for metric, spec in job.rewards.items():
        reward = build_reward(spec, device)
        features = encode_in_chunks(reward.encode, list(texts))
        judges.append(Judge(metric, reward, features, row_of, device))
    parts = []
    name = f"score {job.benchmark.name} of {' and '.join(table['model'].unique())}"
    paths = list(table["path"])
    with (
        ImageReader(paths, n_workers(paths, job.threads)) as reader,
        Progress(name, len(table), "images") as progress,
    ):

        def score(rows: Sequence[int]) -> list[pd.DataFrame]:
            images = reader.batch(rows[0], len(rows))
            return _score(job, table.iloc[list(rows)], images, metadata, judges, partners)

        for rows, scored in Batches(job.batch_size, name).run(range(len(table)), score):
            parts += scored
            progress.update(len(rows))
    frames.write(pd.concat(parts, ignore_index=True), job.out, frames.SCORES, job)


def check(job: ScoreJob) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Check a job before any reward is loaded.

    Returns:
        The image rows, ``path`` made usable from here; and the metadata of each prompt, empty
        where the benchmark has no scorer.

    Raises:
        ValueError: nothing to measure, an unknown metric, images of another benchmark, a prompt
            that the benchmark lacks, or one that its scorer cannot judge.
        FileNotFoundError: a frame, an image or a reward's weight file is missing.
    """
    if not job.rewards and not job.benchmark.scorer:
        raise ValueError(f"benchmark {job.benchmark.name!r} has no scorer, and no reward is given")
    for metric, spec in job.rewards.items():
        # A reward may be measured under its own name; other names have a meaning in tables.
        if metric != spec.name and metric not in frames.METRICS:
            raise unknown("metric", metric, {*frames.METRICS, spec.name}, spec.file)
    for spec in job.rewards.values():
        check_reward(spec)
    table = _images(job)
    if not job.benchmark.scorer:
        return table, {}
    prompts = load_prompts(job.benchmark.prompts)
    metadata = {prompt.prompt_id: prompt.metadata for prompt in prompts}
    for prompt_id in table["prompt_id"].unique():
        if prompt_id not in metadata:
            raise unknown(f"prompt of benchmark {job.benchmark.name}", prompt_id, metadata)
    metrics_of(job.benchmark)
    _check_metadata(job.benchmark, {name: metadata[name] for name in table["prompt_id"].unique()})
    return table, metadata


def metrics_of(benchmark: BenchmarkSpec) -> tuple[str, ...]:
    """What a benchmark's scorer measures: the declared metric, or the several that stand beside it.

    Raises:
        SpecError: the declared one, which tables show, is not among the several.
    """
    several: tuple[str, ...] | None = beside(benchmark.scorer, "{}_metrics")
    if several is None:
        return (benchmark.metric,)
    if benchmark.metric not in several:
        what = f"metric of benchmark {benchmark.name!r}"
        raise unknown(what, benchmark.metric, several, benchmark.file)
    return several


def _check_metadata(benchmark: BenchmarkSpec, metadata: Mapping[str, Any]) -> None:
    """Let a scorer ``NAME`` check prompts' metadata, by ``check_NAME_metadata`` beside it."""
    own_check = beside(benchmark.scorer, "check_{}_metadata")
    if own_check is not None:
        own_check(metadata, **benchmark.scorer_arguments)


def read_images(paths: Sequence[str]) -> pd.DataFrame:
    """The rows of image frames, ``path`` made usable from here.

    Raises:
        ValueError: no frame is given, or as :func:`frames.read_images`.
        FileNotFoundError: a frame or an image is missing.
    """
    table = frames.read_images(paths)
    for path in table["path"]:
        if not Path(path).is_file():
            raise FileNotFoundError(f"image {path} is missing")
    return table


def _images(job: ScoreJob) -> pd.DataFrame:
    table = read_images(job.images)
    for name in table["benchmark"].unique():
        if name != job.benchmark.name:
            raise ValueError(
                f"images of benchmark {name!r} cannot be scored as {job.benchmark.name!r}"
            )
    return table


def _partners(job: ScoreJob, table: pd.DataFrame) -> dict[str, str]:
    """Prompt id -> the one that its images are scored against besides; empty without a swap."""
    if not job.swap:
        return {}
    rows = table[["prompt_id", "task", "prompt"]].drop_duplicates("prompt_id").to_numpy().tolist()
    asked = {prompt_id: Asked(task, text) for prompt_id, task, text in rows}
    return swapped(job.swap, asked, job.seed)


def _score(
    job: ScoreJob,
    batch: pd.DataFrame,
    images: NDArray[np.float32],
    metadata: Mapping[str, Any],
    judges: Sequence[Judge],
    partners: Mapping[str, str],
) -> list[pd.DataFrame]:
    own = list(batch["prompt_id"])
    others = [partners[prompt_id] for prompt_id in own] if partners else []
    asked = [prompt_ids for prompt_ids in (own, others) if prompt_ids]
    verdicts = _verdicts(job, images, asked, metadata)
    parts = _measured(job, batch, images, own, verdicts[0], judges)
    if others:
        against = [f"against {other}" for other in others]
        for part in _measured(job, batch, images, others, verdicts[1], judges):
            parts.append(part.assign(metric=part["metric"] + frames.SWAPPED, detail=against))
    return parts


def _verdicts(
    job: ScoreJob,
    images: NDArray[np.float32],
    asked: Sequence[Sequence[str]],
    metadata: Mapping[str, Any],
) -> list[Sequence[Verdicts]]:
    """The scorer's verdicts against each list of prompts; none without a scorer.

    It is called once: an image that stands beside itself need be looked at once.
    """
    if not job.benchmark.scorer:
        return [()] * len(asked)
    scorer: Scorer = resolve(job.benchmark.scorer)
    records = [metadata[name] for of_image in zip(*asked, strict=True) for name in of_image]
    repeated = np.repeat(images, len(asked), axis=0)
    given = scorer(repeated, records, **job.benchmark.scorer_arguments)
    if len(given) != len(records):
        raise ValueError(
            f"{job.benchmark.scorer} gives {len(given)} verdicts on {len(records)} images"
        )
    verdicts = _by_metric(given, job.benchmark)
    return [verdicts[place :: len(asked)] for place in range(len(asked))]


def _by_metric(
    verdicts: Sequence[Verdict] | Sequence[Verdicts], benchmark: BenchmarkSpec
) -> list[Verdicts]:
    """Each image's verdicts; a metric that neither counts it nor leaves it out is an error."""
    metrics = metrics_of(benchmark)
    named: list[Verdicts] = [
        given if isinstance(given, Mapping) else {benchmark.metric: given} for given in verdicts
    ]
    for of_image in named:
        found = sorted(name.removesuffix(frames.LEFT_OUT) for name in of_image)
        if found != sorted(metrics):
            raise ValueError(
                f"{benchmark.scorer} gives {', '.join(of_image) or 'nothing'} of an image, must "
                f"give each of {', '.join(metrics)}"
            )
    return named


def _measured(
    job: ScoreJob,
    batch: pd.DataFrame,
    images: NDArray[np.float32],
    prompt_ids: Sequence[str],
    verdicts: Sequence[Verdicts],
    judges: Sequence[Judge],
) -> list[pd.DataFrame]:
    """A batch's scores against the given prompts, one part per metric."""
    parts = []
    for metric in dict.fromkeys(name for of_image in verdicts for name in of_image):
        rows = [row for row, of_image in enumerate(verdicts) if metric in of_image]
        values, details = zip(*(verdicts[row][metric] for row in rows), strict=True)
        parts.append(_part(batch.iloc[rows], metric, values, details))
    for judge in judges:
        rewards = judge.score(images, prompt_ids)
        parts.append(_part(batch, judge.metric, rewards, [""] * len(batch)))
    return parts


def _part(
    batch: pd.DataFrame, metric: str, values: Sequence[float], details: Sequence[str]
) -> pd.DataFrame:
    part = batch[_IDENTITY].copy()
    part["metric"] = metric
    part["value"] = np.asarray(values, dtype=np.float64)
    part["detail"] = pd.Series(list(details), index=part.index, dtype="str")
    return part
