"""Generate a benchmark's images with one method, and note what each of them cost.

An image's noise follows from experiment seed, prompt and index alone, so methods are compared on
the same noise, and neither the batch size nor an interruption changes an image.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from harness.build.devices import default_device
from harness.build.encodings import prepare
from harness.build.generators import build_generator, check_generator, generator_files
from harness.build.methods import build_method, check_adapter, check_method, words_prompts
from harness.build.prompts import Prompt, load_prompts, prompt_texts
from harness.build.rewards import build_reward, check_reward, reward_files
from harness.experiment.components import RewardSpec
from harness.experiment.jobs import PNG_FOLDER, GenerateJob, job_hash
from harness.results import frames
from harness.results.resume import Work
from hypernoise.batches import Batches
from hypernoise.images import to_uint8
from hypernoise.methods.protocol import Generated, Method
from hypernoise.models.protocol import Conditioning, Generator, encode_in_chunks
from hypernoise.noise import batch_noise, image_seed
from hypernoise.progress import Progress
from hypernoise.rewards.protocol import Features, Reward
from hypernoise.transfers import on_device

#: Stream of the seeds for whatever a method or sampler draws besides an image's first noise.
SEARCH_STREAM = "search"
#: Beside the frame of the images; empty where the method scores none.
TRAJECTORIES_FILE = "trajectories.parquet"
#: In a work folder's rows: rewards of the images that a method scored on its way.
_TRAJECTORY = "trajectory"


@dataclass(frozen=True)
class Item:
    """One image to make; ``row`` is its prompt's row in the encodings."""

    prompt: Prompt
    row: int
    image_index: int

    @property
    def file(self) -> str:
        return f"{self.prompt.prompt_id}_{self.image_index:03d}.png"


@dataclass(frozen=True)
class Setup:
    """Everything that makes images: built once, used for every batch."""

    generator: Generator
    method: Method
    reward: Reward | None
    conditioning: Conditioning
    features: Features | None
    device: str

    def inputs(self, items: Sequence[Item], seed: int, steps: int) -> dict[str, Any]:
        """What the method is handed to make some items, each from its own noise."""
        rows = [item.row for item in items]
        keys = [(item.prompt.prompt_id, item.image_index) for item in items]
        return {
            "generator": self.generator,
            "reward": self.reward,
            "conditioning": self.conditioning.rows(rows).to(self.device),
            "features": None if self.features is None else self.features.rows(rows),
            "noise": on_device(batch_noise(seed, keys, self.generator.noise_shape), self.device),
            "seeds": [image_seed(seed, *key, stream=SEARCH_STREAM) for key in keys],
            "steps": steps,
        }


def run(job: GenerateJob) -> None:
    """Make the images of a job that are not made yet, then its frame.

    Raises:
        ValueError, FileNotFoundError: the job cannot be carried out (checked first), or an
            image is not finite.
        torch.OutOfMemoryError: a single image does not fit; batches are halved until they do.
    """
    torch.set_num_threads(job.threads)
    items = check(job)
    texts = prompt_texts(item.prompt for item in items if item.image_index == 0)
    work = Work(job.work, job_hash(job, _inputs(job), texts))
    folder = work.folder / PNG_FOLDER
    folder.mkdir(exist_ok=True)
    rows = {row["path"]: row for row in work.rows() if _is_whole(row, work.folder)}
    missing = [item for item in items if f"{PNG_FOLDER}/{item.file}" not in rows]
    if missing:
        setup = set_up(job, items)
        for row in _generate(job, setup, missing, work, done=len(items) - len(missing)):
            rows[row["path"]] = row
    ordered = [rows[f"{PNG_FOLDER}/{item.file}"] for item in items]
    _publish(job, ordered, folder)
    work.remove()


def check(job: GenerateJob) -> list[Item]:
    """Check a job without loading any network; returns the images that it asks for.

    Raises:
        ValueError, FileNotFoundError: it cannot be carried out.
    """
    items = check_ahead(job)
    check_adapter(job.method, job.adapter)
    return items


def check_ahead(job: GenerateJob) -> list[Item]:
    """As :func:`check`, for a job whose network may be yet to be trained."""
    check_method(job.method, job.reward)
    searched = _searched(job)
    check_generator(job.model)
    if searched is not None:
        check_reward(searched)
    prompts = load_prompts(job.benchmark.prompts)
    return [
        Item(prompt, row, index)
        for row, prompt in enumerate(prompts)
        for index in range(job.benchmark.n_images)
    ]


def set_up(job: GenerateJob, items: Sequence[Item]) -> Setup:
    """Load what a job needs, and encode its prompts: each once."""
    device = default_device()
    generator = build_generator(job.model, device)
    method = build_method(job.method, generator, job.adapter)
    texts = list({item.row: item.prompt.text for item in items}.values())
    reward = features = None
    searched = _searched(job)
    if searched is not None:
        reward = build_reward(searched, device)
        features = encode_in_chunks(reward.encode, texts)
    prepare(generator, texts, keep_encoders=words_prompts(job.method))
    conditioning = encode_in_chunks(generator.encode, texts)
    return Setup(generator, method, reward, conditioning, features, device)


def _searched(job: GenerateJob) -> RewardSpec | None:
    # A trained method carries its reward's name only; the reward itself is not loaded.
    return job.reward if job.method.needs_reward else None


def _inputs(job: GenerateJob) -> list[str]:
    searched = _searched(job)
    paths = [*generator_files(job.model), *(reward_files(searched) if searched else ())]
    return [*paths, job.adapter] if job.adapter else paths


def _is_whole(row: dict[str, Any], folder: Path) -> bool:
    return _TRAJECTORY in row and (folder / row["path"]).is_file()


def _generate(
    job: GenerateJob, setup: Setup, items: Sequence[Item], work: Work, done: int
) -> list[dict[str, Any]]:
    finished: list[dict[str, Any]] = []
    name = f"generate {job.benchmark.name} with {job.model.name} {job.method.name}"
    with Progress(name, done + len(items), "images", done) as progress:
        batches = Batches(job.batch_size, name)
        for batch, made in batches.run(items, partial(_make, job, setup)):
            try:
                pixels = to_uint8(made.images)
            except ValueError as error:
                raise ValueError(
                    f"{name}, prompt {batch[0].prompt.prompt_id!r}: {error}"
                ) from error
            for item, image in zip(batch, pixels, strict=True):
                Image.fromarray(image).save(work.folder / PNG_FOLDER / item.file)
            rows = [_row(job, item, made) for item in batch]
            for row, scored in zip(rows, _trajectories(made, batch), strict=True):
                row[_TRAJECTORY] = scored
            work.add(rows)
            finished += rows
            progress.update(len(batch))
            # The next batch needs its memory.
            del made
    return finished


def _make(job: GenerateJob, setup: Setup, batch: Sequence[Item]) -> Generated:
    return setup.method.run(**setup.inputs(batch, job.seed, job.steps))


def _row(job: GenerateJob, item: Item, made: Generated) -> dict[str, Any]:
    return {
        "model": job.model.name,
        "method": job.method.name,
        "reward": job.reward.name if job.reward else "",
        "benchmark": job.benchmark.name,
        "prompt_id": item.prompt.prompt_id,
        "task": item.prompt.task,
        "image_index": item.image_index,
        "seed": job.seed,
        "steps": job.steps,
        "prompt": item.prompt.text,
        "path": f"{PNG_FOLDER}/{item.file}",
        "nfe": float(made.spent.nfe),
        "reward_calls": float(made.spent.reward_calls),
        "backward_passes": float(made.spent.backward_passes),
    }


def _trajectories(made: Generated, items: Sequence[Item]) -> list[list[tuple[float, str]]]:
    """For each image the rewards and prompts of what was scored on the way."""
    if made.trajectory is None:
        return [[] for _ in items]
    values: list[list[float]] = made.trajectory.tolist()
    given = [[item.prompt.text] * len(own) for item, own in zip(items, values, strict=True)]
    prompts = given if made.prompts is None else made.prompts
    return [list(zip(*both, strict=True)) for both in zip(values, prompts, strict=True)]


def trajectory_rows(
    row: dict[str, Any], scored: Sequence[tuple[float, str]]
) -> list[dict[str, Any]]:
    """One row of :data:`harness.results.frames.TRAJECTORIES` for each attempt of an image's search.

    Args:
        row: the image's own row.
        scored: reward and prompt in the order of scoring; NaN where an attempt gave no image.
    """
    values = [value for value, _ in scored]
    identity = {column.name: row[column.name] for column in frames.IDENTITY}
    best = np.fmax.accumulate(np.asarray(values, dtype=np.float64))
    # All scored images cost alike; what a method spends besides, like a noise network's one pass,
    # it spends first.
    each = row["nfe"] // max(1, len(values))
    first = row["nfe"] - len(values) * each
    return [
        identity
        | {"iteration": n, "nfe": first + n * each, "prompt": prompt}
        | {"value": value, "best_value": top}
        for n, ((value, prompt), top) in enumerate(zip(scored, best.tolist(), strict=True), start=1)
    ]


def _publish(job: GenerateJob, rows: list[dict[str, Any]], made: Path) -> None:
    # The PNGs stay in the work folder until the frame exists: a kill in between loses nothing.
    out = Path(job.out)
    folder = out.parent / PNG_FOLDER
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for row in rows:
        _link(made.parent / row["path"], out.parent / row["path"])
    searched = [scored for row in rows for scored in trajectory_rows(row, row.pop(_TRAJECTORY))]
    trajectories = pd.DataFrame(searched, columns=frames.TRAJECTORIES.names)
    frames.write(trajectories, out.with_name(TRAJECTORIES_FILE), frames.TRAJECTORIES, job)
    frames.write(pd.DataFrame(rows), out, frames.IMAGES, job)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
