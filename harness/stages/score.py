"""Score finished images, as they are on disk, with their benchmark and with rewards."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from harness.base.errors import SpecError, given_as, unknown
from harness.benchmarks.build import check_benchmark
from harness.benchmarks.protocol import Benchmark, Images, Metric, Prompt, Score
from harness.build.devices import default_device
from harness.build.prompt_cuts import Cuts, cuts, lengths_to, warn
from harness.build.prompts import load_prompts, meaning_of
from harness.build.rewards import build_reward, check_reward
from harness.experiment.jobs import ScoreJob
from harness.results import frames
from harness.results.image_files import ImageReader, n_workers
from harness.results.weight_hashes import hashes
from harness.stages.prompt_swaps import Asked, check_swap, swapped
from hypernoise.batches import Batches
from hypernoise.models.protocol import encode_in_chunks
from hypernoise.progress import Progress
from hypernoise.rewards.protocol import Features, Reward, checked_score

_GIVES = "a mapping for each image, name of the metric -> Score(value, detail)"
_IDENTITY = [column.name for column in frames.IDENTITY]


@dataclass(frozen=True)
class Plan:
    """A job that was checked.

    Attributes:
        table: image rows, ``path`` made usable from here.
        prompts: by id, as the images carry them.
        partners: prompt id -> the one that its images are scored against, too; empty without a
            swap.
    """

    table: pd.DataFrame
    benchmark: Benchmark
    prompts: Mapping[str, Prompt]
    partners: Mapping[str, str]


@dataclass(frozen=True)
class Judge:
    """A reward as a metric, with its text features of every prompt."""

    metric: Metric
    reward: Reward
    features: Features
    row_of: Mapping[str, int]
    device: str
    cuts: Cuts

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[float]:
        """One value per image [3, H, W] in [0, 1], each against its prompt.

        Raises:
            ValueError: the reward gives another number of values, or one that is not finite.
        """
        rows = [self.row_of[prompt.prompt_id] for prompt in prompts]
        return rewards_of(self.reward, images, self.features.rows(rows), self.device)


def rewards_of(reward: Reward, images: Images, features: Features, device: str) -> list[float]:
    """A reward of each image [3, H, W] in [0, 1], against the prompt of its row of features.

    Raises:
        ValueError: the reward gives another number of values, or one that is not finite.
    """
    with torch.no_grad():
        values = checked_score(reward, torch.from_numpy(images).to(device), features)
    return [float(value) for value in values]


def run(job: ScoreJob) -> None:
    """Score every image of the job's frames and write one long frame.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first), or a metric
            has no finite value of an image.
    """
    torch.set_num_threads(job.threads)
    plan = check(job)
    weights = hashes(job.weights)
    judges = build_judges(job, plan.prompts)
    for judge in judges:
        warn(f"reward {judge.metric.name}", judge.cuts)
    facts = {f"reward {judge.metric.name}": judge.cuts for judge in judges}
    measured = measure(job, plan, judges)
    frames.write(measured, job.out, frames.SCORES, job, weights=weights, cut_prompts=facts)


def measure(job: ScoreJob, plan: Plan, judges: Sequence[Judge]) -> pd.DataFrame:
    """The scores of a plan's images, which may be some of the job's; raises as :func:`run`."""
    parts: list[pd.DataFrame] = []
    name = f"score {job.benchmark.name} of {' and '.join(plan.table['model'].unique())}"
    paths = list(plan.table["path"])
    with (
        ImageReader(paths, n_workers(paths, job.threads)) as reader,
        Progress(name, len(paths), "images") as progress,
    ):

        def score(rows: Sequence[int]) -> list[pd.DataFrame]:
            images = reader.batch(rows[0], len(rows))
            return list(_scored(plan, judges, plan.table.iloc[list(rows)], images))

        for rows, scored in Batches(job.batch_size, name).run(range(len(paths)), score):
            parts += scored
            progress.update(len(rows))
    return pd.concat(parts, ignore_index=True)


def check_ahead(job: ScoreJob) -> Benchmark:
    """Check what can be checked before the images exist; returns the job's benchmark.

    Raises:
        ValueError: nothing to measure, a faulty benchmark, a reward under the name of one of its
            metrics, or an unknown swap.
        FileNotFoundError: a weight file is missing.
    """
    benchmark = check_benchmark(job.benchmark)
    own = [metric.name for metric in benchmark.metrics]
    if not job.rewards and not own:
        raise ValueError(
            f"benchmark {job.benchmark.name!r} measures nothing itself, and no reward is given"
        )
    for metric, spec in job.rewards.items():
        where = f"metric {metric!r} of reward {spec.name!r}"
        if metric in own:
            raise SpecError(f"{where} is measured by benchmark {job.benchmark.name!r} already")
        if metric.endswith((frames.LEFT_OUT, frames.SWAPPED)):
            raise SpecError(
                f"{where} must not end in {frames.LEFT_OUT} or {frames.SWAPPED}, which have a "
                "meaning of their own"
            )
    check_swap(job.swap)
    for spec in job.rewards.values():
        check_reward(spec)
    return benchmark


def check(job: ScoreJob) -> Plan:
    """Check a job before any reward is loaded.

    Raises:
        ValueError: as :func:`check_ahead`, or images of another benchmark, of a prompt that it
            lacks or has changed since, or one that cannot be judged or swapped.
        FileNotFoundError: a frame, an image or a weight file is missing.
    """
    benchmark = check_ahead(job)
    table = read_images(job.images)
    for name in table["benchmark"].unique():
        if name != job.benchmark.name:
            raise ValueError(
                f"images of benchmark {name!r} cannot be scored as {job.benchmark.name!r}"
            )
    prompts = _prompts(job, table)
    benchmark.check(list(prompts.values()))
    partners = {}
    if job.swap:
        asked = {name: Asked(prompt.task, prompt.text) for name, prompt in prompts.items()}
        partners = swapped(job.swap, asked, job.seed)
    return Plan(table, benchmark, prompts, partners)


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


def _prompts(job: ScoreJob, table: pd.DataFrame) -> dict[str, Prompt]:
    """The prompts of the images, which have to be the benchmark's prompts of today."""
    today = {prompt.prompt_id: prompt for prompt in load_prompts(job.benchmark.prompts)}
    found = {}
    names = ["prompt_id", "prompt", "task", "metadata", "prompt_meaning"]
    for prompt_id, text, task, metadata, meaning in table[names].drop_duplicates().to_numpy():
        if prompt_id not in today:
            raise unknown(f"prompt of benchmark {job.benchmark.name}", prompt_id, today)
        made = Prompt(prompt_id, text, task, json.loads(metadata), meaning)
        now = today[prompt_id]
        # JSON has no tuples, so both go through it.
        metadata_now = json.loads(now.metadata_text)
        now = replace(now, metadata=metadata_now, meaning=meaning_of(now))
        if made != now:
            raise ValueError(
                f"prompt {prompt_id!r} of benchmark {job.benchmark.name!r} has changed since its "
                f"images were made. Then: {_shown(made)}. Now: {_shown(now)}. Make the images again"
            )
        found[prompt_id] = made
    return found


def _shown(prompt: Prompt) -> str:
    fields = asdict(prompt)
    del fields["prompt_id"]
    return json.dumps(fields, ensure_ascii=False)


def build_judges(job: ScoreJob, prompts: Mapping[str, Prompt]) -> list[Judge]:
    """Load the job's rewards, and encode all prompts (by their id) for each of them."""
    device = default_device()
    row_of = {prompt_id: row for row, prompt_id in enumerate(prompts)}
    texts = [prompt.text for prompt in prompts.values()]
    judges = []
    for name, spec in job.rewards.items():
        reward = build_reward(spec, device)
        metric = Metric(name, f"the reward {spec.name} of the final image")
        features = encode_in_chunks(reward.encode, texts)
        cut = cuts(lengths_to(reward, texts), {key: one.text for key, one in prompts.items()})
        judges.append(Judge(metric, reward, features, row_of, device, cut))
    return judges


def _scored(
    plan: Plan, judges: Sequence[Judge], batch: pd.DataFrame, images: Images
) -> Iterator[pd.DataFrame]:
    """A batch's scores, one part per metric: against its own prompts, then against others."""
    own = [plan.prompts[name] for name in batch["prompt_id"]]
    others = [plan.prompts[plan.partners[prompt.prompt_id]] for prompt in own if plan.partners]
    asked = [own, others] if others else [own]
    given = scores_of(plan.benchmark, images, asked)
    for metric, scores in _measured(plan.benchmark.metrics, judges, images, own, given[0]):
        yield _part(batch, metric, scores)
    if others:
        swaps = _measured(plan.benchmark.metrics, judges, images, others, given[1])
        for metric, scores in swaps:
            name, meaning = metric.name + frames.SWAPPED, f"{metric.meaning}, of a swapped prompt"
            against = {
                row: replace(score, detail=f"against {others[row].prompt_id}")
                for row, score in scores.items()
            }
            yield _part(batch, Metric(name, meaning), against)


def scores_of(
    benchmark: Benchmark, images: Images, asked: Sequence[Sequence[Prompt]]
) -> list[Sequence[Mapping[str, Score]]]:
    """The benchmark's scores of images against each list of prompts, checked.

    It is asked once: an image that stands next to itself need be looked at once.

    Args:
        images: N, as :meth:`harness.benchmarks.protocol.Benchmark.score` takes them.
        asked: lists of N prompts.

    Returns:
        for each list, and each image, the name of every metric -> its score.

    Raises:
        ValueError: the benchmark gives something else, or a value that is not finite.
    """
    names = sorted(metric.name for metric in benchmark.metrics)
    if not names:
        return [[{}] * len(images) for _ in asked]
    prompts = [prompt for of_image in zip(*asked, strict=True) for prompt in of_image]
    given = benchmark.score(np.repeat(images, len(asked), axis=0), prompts)
    called = type(benchmark).__name__
    if not isinstance(given, Sequence):
        raise ValueError(f"{called}.score gives {given_as(given)}, must give a list: {_GIVES}")
    if len(given) != len(prompts):
        raise ValueError(f"{called} gives scores of {len(given)} images, asked for {len(prompts)}")
    for prompt, of_image in zip(prompts, given, strict=True):
        where = f"{called} gives an image of prompt {prompt.prompt_id!r}"
        if not isinstance(of_image, Mapping):
            raise ValueError(f"{where} {given_as(of_image)}, must give {_GIVES}")
        if sorted(map(str, of_image)) != names:
            said = ", ".join(map(str, of_image)) or "nothing"
            raise ValueError(f"{where} {said}, must give each of {', '.join(names)}")
        for name, score in of_image.items():
            if not isinstance(score, Score) or not isinstance(score.detail, str):
                raise ValueError(f"{where} as {name} {given_as(score)}, must give {_GIVES}")
            if not isinstance(score.value, Real | np.bool_):
                raise ValueError(f"{where} the {name} {given_as(score.value)}, must give a number")
            if not score.left_out and not math.isfinite(score.value):
                raise ValueError(f"{where} the {name} {score.value}, which is not finite")
    return [given[place :: len(asked)] for place in range(len(asked))]


def _measured(
    metrics: Sequence[Metric],
    judges: Sequence[Judge],
    images: Images,
    prompts: Sequence[Prompt],
    given: Sequence[Mapping[str, Score]],
) -> Iterator[tuple[Metric, dict[int, Score]]]:
    """Every metric, with its scores by the number of the image."""
    for metric in metrics:
        scores = {row: of_image[metric.name] for row, of_image in enumerate(given)}
        left_out = {row: score for row, score in scores.items() if score.left_out}
        yield metric, {row: score for row, score in scores.items() if row not in left_out}
        if left_out:
            name, meaning = metric.name + frames.LEFT_OUT, f"1 where {metric.name} has no value"
            ones = {row: replace(score, value=1.0) for row, score in left_out.items()}
            yield Metric(name, meaning), ones
    for judge in judges:
        yield judge.metric, dict(enumerate(map(Score, judge.score(images, prompts))))


def _part(batch: pd.DataFrame, metric: Metric, scores: Mapping[int, Score]) -> pd.DataFrame:
    rows = batch[_IDENTITY].iloc[list(scores)]
    details = [score.detail for score in scores.values()]
    return rows.assign(
        metric=metric.name,
        meaning=metric.meaning,
        value=np.asarray([score.value for score in scores.values()], dtype=np.float64),
        detail=pd.Series(details, index=rows.index, dtype="str"),
    )
