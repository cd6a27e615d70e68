"""Measure how far each method's images are from a reference, in the features of some networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from harness.base.atomic_files import in_one_go
from harness.base.import_strings import source_of
from harness.build.devices import default_device
from harness.build.similarities import build_features, check_features
from harness.experiment.components import SimilaritySpec
from harness.experiment.fidelity_job import FidelityJob
from harness.results import frames
from harness.results.image_files import ImageReader, n_workers
from harness.results.weight_hashes import hashes
from harness.similarity.feature_distances import DISTANCES, NEIGHBOURS, Features, jackknife
from harness.stages.score import read_images
from hypernoise.progress import Progress

_CELL = ["model", "method", "reward", "training_seed", "benchmark", "steps"]
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def run(job: FidelityJob) -> None:
    """Write one row per method, reference, feature network and metric.

    Raises:
        ValueError, FileNotFoundError: as :func:`check`, or features are not finite.
    """
    torch.set_num_threads(job.threads)
    images, reference = check(job)
    weights = hashes(job.weights)
    device, found = default_device(), list[pd.DataFrame]()
    folder = pictures_in(job.reference_images)
    paths = list(dict.fromkeys([*images["path"], *reference["path"], *folder]))
    for name, spec in job.features.items():
        # Equal files of equal networks and code have equal features.
        code = source_of(spec.target.partition(":")[0])
        made_by = json.dumps([spec.target, dict(spec.arguments), weights], default=str)
        text = made_by + (code.read_text(encoding="utf-8") if code else "")
        cache = Path(job.work, name, hashlib.sha256(text.encode()).hexdigest()[:16])
        of = embedded(spec, paths, cache, job, device)
        rows = distances(images, reference, folder, of, job.reference_images)
        found.append(rows.assign(features=name))
    rows = pd.concat(found, ignore_index=True)
    frames.write(rows, job.out, frames.DISTANCES, job, weights=weights)


def embedded(
    spec: SimilaritySpec, paths: Sequence[str], cache: Path, job: FidelityJob, device: str
) -> dict[str, Features]:
    """Path -> features [D] of some images; those that ``cache`` has are not made again.

    Raises:
        ValueError: an image cannot be read, or its features are not finite.
    """
    hashed = {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}
    files = {path: cache / f"{sha256[:40]}.npy" for path, sha256 in hashed.items()}
    left = [path for path in paths if not files[path].is_file()]
    if left:
        network = build_features(spec, device)
        with (
            ImageReader(left, n_workers(left, job.threads)) as reader,
            Progress(f"features of {spec.target.partition(':')[2]}", len(left), "images") as bar,
        ):
            for start in range(0, len(left), job.batch_size):
                here = left[start : start + job.batch_size]
                sizes = {image.shape for image in reader.pixels(start, len(here))}
                # A folder's images may be of any size: those are embedded one by one.
                each = len(here) if len(sizes) == 1 else 1
                for first in range(start, start + len(here), each):
                    pixels = torch.from_numpy(reader.batch(first, each)).to(device)
                    vectors = network.embed(pixels).float().cpu().numpy()
                    if not np.isfinite(vectors).all():
                        raise ValueError(f"{spec.target}: features of {left[first]} are not finite")
                    for path, vector in zip(left[first : first + each], vectors, strict=True):
                        with in_one_go(files[path]) as unfinished, unfinished.open("wb") as file:
                            np.save(file, vector)
                bar.update(len(here))
    return {path: np.load(file) for path, file in files.items()}


def distances(
    images: pd.DataFrame,
    reference: pd.DataFrame,
    folder: Sequence[str],
    of: dict[str, Features],
    folder_name: str,
) -> pd.DataFrame:
    """The rows of one feature network, without its name.

    Args:
        images, reference: image rows; those of the same sampling steps are compared.
        folder: further images that all are compared with, under ``folder_name``.
        of: path -> features [D].
    """
    rows = []
    for cell, own in images.groupby(_CELL, sort=False, dropna=False):
        identity = dict(zip(_CELL, cell, strict=True))
        others = reference[reference["steps"] == identity["steps"]]
        vectors = np.stack([of[path] for path in own["path"]])
        against = [(str(others["method"].iloc[0]), list(others["path"]), list(others[_PROMPT]))]
        sets = [*against, *([(folder_name, list(folder), None)] if folder else [])]
        for name, paths, prompts in sets:
            wanted = np.stack([of[path] for path in paths])
            for metric, distance in DISTANCES.items():
                value, se, n_groups = jackknife(
                    distance, vectors, wanted, list(own[_PROMPT]), prompts
                )
                rows.append(
                    {
                        **identity,
                        "reference": name,
                        "metric": metric,
                        "value": value,
                        "se": se,
                        "n_groups": n_groups,
                        "n_images": len(own),
                        "n_reference": len(paths),
                        "n_dimensions": vectors.shape[1],
                    }
                )
    made = pd.DataFrame(rows)
    return made.astype({"training_seed": images["training_seed"].dtype})


#: Images of one meaning count as one draw.
_PROMPT = "prompt_meaning"


def pictures_in(folder: str) -> list[str]:
    """The images of a folder and of those in it, by name; none without a folder."""
    found = Path(folder).rglob("*") if folder else ()
    return sorted(str(path) for path in found if path.suffix.lower() in _SUFFIXES)


def check(job: FidelityJob) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Check a job before any network is loaded; returns the rows of images and of the reference.

    Raises:
        ValueError: there is no feature network or no image, or sets are too small for precision.
        FileNotFoundError: a frame, an image or a weight file is missing.
    """
    check_ahead(job)
    images, reference = read_images(job.images), read_images(job.reference)
    sizes = images.groupby(_CELL, dropna=False).size()
    sizes = pd.concat([sizes, reference.groupby(_CELL, dropna=False).size()])
    if (few := sizes[sizes <= NEIGHBOURS]).size:
        who = " ".join(map(str, few.index[0]))
        raise ValueError(f"{few.iloc[0]} images of {who}: distances need {NEIGHBOURS + 1} or more")
    if missing := sorted(set(images["steps"]) - set(reference["steps"])):
        raise ValueError(f"the reference has no images of {missing[0]} sampling steps")
    return images, reference


def check_ahead(job: FidelityJob) -> None:
    """As :func:`check`, before the images exist."""
    if not job.features:
        raise ValueError("no feature networks: config key 'features' names none")
    for spec in job.features.values():
        check_features(spec)
    n = len(pictures_in(job.reference_images))
    if job.reference_images and n <= NEIGHBOURS:
        at = f"reference_images {job.reference_images!r}"
        raise ValueError(f"{at}: {n} images there, {NEIGHBOURS + 1} or more are needed")
