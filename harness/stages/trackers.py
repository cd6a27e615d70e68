"""What a training measures, live in TensorBoard, Weights & Biases or Trackio, by accelerate.

They show; the rows in ``steps.parquet`` are what tables and figures are made of.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate.tracking import (  # type: ignore[import-untyped]
    LOGGER_TYPE_TO_CLASS,
    PartialState,
    get_available_trackers,
)

from harness.experiment.jobs import TrainJob
from hypernoise.training.measurements import Row
from hypernoise.weights.pins import Missing

#: Of hosted trackers: what all trainings are listed under.
PROJECT = "hypernoise"


def check_installed(names: Collection[str]) -> None:
    """Refuse a tracker whose package is not installed.

    Raises:
        Missing: names the tracker, and those that are there.
    """
    there = [str(one.value) for one in get_available_trackers()]
    for name in names:
        if name not in there:
            raise Missing(
                f"trackers of the config: {name} is not installed; of all that accelerate knows "
                f"there is {', '.join(there) or 'none'}",
                f"package {name}",
                f"pip install {name}",
            )


@contextmanager
def tracking(
    job: TrainJob | None, earlier: Sequence[Row] = ()
) -> Iterator[Callable[[Row], None] | None]:
    """In which a job's trackers run; gives what tells them of a row, None if there are none.

    Args:
        job: a training whose trackers are installed (:func:`check_installed`); None where another
            process tells them.
        earlier: the rows of a training that goes on: trackers are told all of it anew, so that no
            step is there twice.
    """
    if job is None or not job.trackers:
        yield None
        return
    # The trackers' own log messages ask it which process this is.
    PartialState()
    title = f"{job.model.name} {job.method.name} on {job.reward.name}"
    started: list[Any] = []
    for name, folder in job.trackers.items():
        tracker = LOGGER_TYPE_TO_CLASS[name]
        if tracker.requires_logging_directory:
            shutil.rmtree(folder, ignore_errors=True)
            started.append(tracker(Path(folder).name, logging_dir=str(Path(folder).parent)))
        else:
            settings = {
                "model": job.model.name,
                "method": job.method.name,
                **asdict(job)["options"],
            }
            started.append(tracker(PROJECT, name=title, config=settings))
        started[-1].start()

    def tell(row: Row) -> None:
        values = {f"{row.kind}/{name}": float(value) for name, value in row.values.items()}
        for tracker in started:
            tracker.log(values, step=row.step)

    try:
        for row in earlier:
            tell(row)
        yield tell
    finally:
        for tracker in started:
            tracker.finish()
