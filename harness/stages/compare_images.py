"""Compare the images of each prompt with one another, pair by pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from harness.build.devices import default_device
from harness.build.similarities import build_comparison, check_comparison
from harness.experiment.jobs import PairsJob
from harness.results import frames
from harness.results.image_files import ImageReader, n_workers
from harness.results.weight_hashes import hashes
from harness.similarity.protocol import Comparison
from harness.stages.score import read_images
from hypernoise.progress import Progress

_IDENTITY = [column.name for column in frames.IDENTITY]
#: What images that are compared with one another share.
_PROMPT = [name for name in _IDENTITY if name != "image_index"]


def run(job: PairsJob) -> None:
    """Compare all images of each prompt, method and model, and write one row per pair and metric.

    Each image is embedded once. Means are left to tables.

    Raises:
        ValueError, FileNotFoundError: as :func:`check`, or images of a prompt differ in size, or a
            comparison gives a value that is not finite.
    """
    torch.set_num_threads(job.threads)
    table = check(job)
    weights = hashes(job.weights)
    frames.write(measure(job, table), job.out, frames.PAIRS, job, weights=weights)


def measure(job: PairsJob, table: pd.DataFrame) -> pd.DataFrame:
    """The pairs of some images, as :func:`check` sorts them; raises as :func:`run`."""
    device = default_device()
    comparisons = {m: build_comparison(spec, device) for m, spec in job.comparisons.items()}
    parts = []
    name = f"pairs of {' and '.join(table['model'].unique())}"
    paths = list(table["path"])
    with (
        ImageReader(paths, n_workers(paths, job.threads)) as reader,
        Progress(name, len(table), "images") as progress,
    ):
        # The table is sorted by prompt.
        for _, images in table.groupby(_PROMPT, sort=False, dropna=False):
            pixels = torch.from_numpy(reader.batch(int(images.index[0]), len(images)))
            first, other = np.array(list(combinations(range(len(images)), 2))).T
            rows = images.iloc[first][_IDENTITY].reset_index(drop=True)
            rows["other_index"] = images["image_index"].to_numpy()[other]
            for metric, comparison in comparisons.items():
                starts = range(0, len(pixels), job.batch_size)
                batches = [pixels[start : start + job.batch_size] for start in starts]
                vectors = [comparison.embed(batch.to(device)) for batch in batches]
                values = all_pairs(comparison, torch.cat(vectors)).double().cpu().numpy()
                if not np.isfinite(values).all():
                    raise ValueError(f"{metric} of prompt {rows['prompt_id'][0]!r} is not finite")
                parts.append(rows.assign(metric=metric, value=values))
            progress.update(len(images))
    measured: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return measured


def check(job: PairsJob) -> pd.DataFrame:
    """Check a job before any network is loaded; returns the image rows.

    Raises:
        ValueError: there is no comparison, its metric is misnamed, or a prompt has one image only.
        FileNotFoundError: a frame, an image or a weight file is missing.
    """
    check_ahead(job)
    table = read_images(job.images)
    for names, images in table.groupby(_PROMPT, sort=False, dropna=False):
        if len(images) < 2:
            named = " ".join(map(str, names))
            raise ValueError(f"one image of {named}: a pair needs two")
    return table.sort_values([*_PROMPT, "image_index"], ignore_index=True)


def check_ahead(job: PairsJob) -> None:
    """As :func:`check`, before the images exist."""
    if not job.comparisons:
        raise ValueError("no comparisons: at least one is needed")
    for metric, spec in job.comparisons.items():
        check_comparison(metric, spec)


def all_pairs(comparison: Comparison, vectors: Tensor) -> Tensor:
    """Values [N (N - 1) / 2] of N vectors [N, D]: 0 with 1, 0 with 2, …, N - 2 with N - 1."""
    rows = range(len(vectors) - 1)
    return torch.cat([comparison.compare(vectors[i], vectors[i + 1 :]) for i in rows])
