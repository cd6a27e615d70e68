"""Where results go: one folder per kind; a pattern's fields are Snakemake's wildcards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from harness.experiment.plan import Run
from harness.experiment.variants import Variant

TRAINING = "results/training/{model}/{reward}/{training}"
#: TensorBoard's files: ``tensorboard --logdir results/tensorboard``.
TRACKED = "results/tensorboard/{model}/{reward}/{training}"
AUDITS = "results/audits/{model}/{reward}/{method}.parquet"
MATCHED = "results/matched/{model}/{reward}/{method}"
IMAGES = "results/images/{benchmark}/{model}/{method}/{reward}/steps{steps}"
SCORES = "results/scores/{image_set}/{model}.parquet"
PAIRS = "results/pairs/{image_set}/{model}.parquet"
DISTANCES = "results/distances/{image_set}/{model}.parquet"
TIMINGS = "results/timings/{image_set}/{model}.parquet"
#: What killed jobs leave behind; no declared output, so Snakemake leaves it alone.
WORK = "results/work"
#: Parts of results, until they are joined.
_SHARD = "{shard}-of-{shards}"
IMAGES_SHARD = f"{IMAGES.replace('results/', f'{WORK}/shards/')}/{_SHARD}"


def place(pattern: str, **fields: Any) -> str:
    """A pattern with its fields filled in; methods and trainings are texts of variants."""
    written = {
        key: Variant.parse(value).path if key in ("method", "training") else value
        for key, value in fields.items()
    }
    return pattern.format(**written)


def frame_of(run: Run, kind: str = "images") -> str:
    """The frame of a run's images, or of what its search saw (``trajectories``)."""
    return f"{place(IMAGES, **run._asdict())}/{kind}.parquet"


def ours(jobs: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Verb and job of those of Snakemake's jobs whose rules are ours, whatever a Snakefile that
    takes the rules over calls them. Its own rules may have a parameter ``job``, too."""
    for job in jobs:
        if hasattr(job.params, "job") and hasattr(job.params, "verb"):
            yield job.params.verb, job


def whole(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of the whole job that a shard's fields are about."""
    return {key: value for key, value in given.items() if key not in ("shard", "shards")}


def fields(wildcards: Any) -> dict[str, Any]:
    """Wildcards as the fields that :func:`place` takes: texts of variants, whole numbers."""
    given = dict(wildcards.items())
    for key in ("method", "training"):
        if key in given:
            given[key] = str(Variant.from_path(given[key]))
    return given | ({"steps": int(given["steps"])} if "steps" in given else {})
