"""Whether the rows of a frame agree with its job and with the frames that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.pairing import examples
from harness.base.safe_paths import below
from harness.experiment.jobs import MatchJob
from harness.experiment.validation import checked
from harness.experiment.weight_files import given_images
from harness.results import frames
from harness.results.results_folder import Made
from harness.results.training_folder import NETWORK_FILES, STEPS_FILE, checkpoints_of
from harness.stages.stop_at_reward import RECORD_FILE, choose
from harness.verification.findings import Finding, Folder, job_of

_IDENTITY = [column.name for column in frames.IDENTITY]
#: Sums of rounded numbers agree this far; in the quantity's own unit.
_ABSOLUTE = 1e-6
_RELATIVE = 1e-6


def frame(made: Made, folder: Folder) -> Iterator[Finding]:
    """A frame's columns and types, its job's names in its rows, and what its kind promises."""
    rows, file = frames.read(made.path, made.kind), str(made.path)
    job = job_of(made)
    for column, names in _named(job).items():
        if column in rows and (strange := set(rows[column]) - names):
            said = f"its job says {', '.join(map(str, sorted(names)))}"
            row = int(rows[column].isin(strange).to_numpy().argmax()) + 1
            yield Finding(file, f"row {row}, column {column}: {sorted(strange)[0]!r}, {said}")
    if made.kind in _OF_KIND:
        yield from (Finding(file, what) for what in _OF_KIND[made.kind](rows, made, job))


def _named(job: Any) -> dict[str, set[Any]]:
    """Column -> the values that a job allows in it."""
    found = {}
    for column in ("model", "method", "benchmark"):
        if hasattr(job, column):
            found[column] = {getattr(job, column).name}
    if hasattr(job, "methods"):
        found["method"] = {timed.method.name for timed in job.methods}
    for column in ("steps", "seed"):
        if hasattr(job, column) and hasattr(job, "model"):
            found[column] = {getattr(job, column)}
    if hasattr(job, "method") and given_images(job.method):
        found["seed"] = {frames.NO_SEED}
    return found


def pictures(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether the files that a frame of images names are in its folder, whatever its job says."""
    rows = frames.read(made.path, frames.IMAGES)
    paths = map(Path, below(made.path.parent, rows["path"], made.path))
    lost = [str(path.relative_to(made.path.parent)) for path in paths if not path.is_file()]
    if lost:
        said = f"{len(lost)} of {len(rows)} image files are missing: {examples(lost)}"
        yield Finding(str(made.path), said)


def _images(rows: pd.DataFrame, made: Made, job: Any) -> Iterator[str]:
    reward = job.reward.name if job.reward else ""
    if set(rows["reward"]) != {reward}:
        yield f"column reward: its job says {reward!r}"


def _trajectories(rows: pd.DataFrame, made: Made, job: Any) -> Iterator[str]:
    """The best value so far is that, and a search ends at what its image cost."""
    if rows.empty:
        return
    rows = rows.sort_values([*_IDENTITY, "iteration"], kind="stable")
    # NaN is an attempt that gave no image.
    running = rows.groupby(_IDENTITY, dropna=False)["value"].transform(
        lambda values: pd.Series(np.fmax.accumulate(values.to_numpy()), values.index)
    )
    yield from _differing(rows, "best_value", running, "the highest value so far")
    last = rows.groupby(_IDENTITY, dropna=False, as_index=False).last()
    images = frames.read(made.path.with_name("images.parquet"), frames.IMAGES)
    both = last.merge(images, on=_IDENTITY, how="left", suffixes=("", "_image"))
    yield from _differing(both, "nfe", both["nfe_image"], "what the image cost")


def _scores(rows: pd.DataFrame, made: Made, job: Any) -> Iterator[str]:
    """Every image has each metric once, or is left out of it by name."""
    images = _images_of(made, job)
    stems = rows["metric"].str.removesuffix(frames.LEFT_OUT)
    yield from _strangers(rows, images)
    for metric in job.rewards:
        if metric not in set(stems):
            yield f"has no rows of {metric}, which its job asks for"
    for metric, group in rows.groupby(stems):
        if len(group) != len(images) or group.duplicated(_IDENTITY).any():
            yield f"column metric: {metric} has {len(group)} rows for {len(images)} images"


def _pairs(rows: pd.DataFrame, made: Made, job: Any) -> Iterator[str]:
    images = _images_of(made, job)
    yield from _strangers(rows, images)
    prompt = [name for name in _IDENTITY if name != "image_index"]
    n = images.groupby(prompt, dropna=False).size()
    expected = int((n * (n - 1) // 2).sum())
    counts = rows.groupby("metric").size().reindex(list(job.comparisons), fill_value=0)
    for metric, count in counts.items():
        if count != expected:
            yield f"column metric: {metric} has {count} rows for {expected} pairs of images"


def _images_of(made: Made, job: Any) -> pd.DataFrame:
    paths = [made.locate(path) for path in job.images]
    return pd.concat([frames.read(path, frames.IMAGES) for path in paths], ignore_index=True)


def _strangers(rows: pd.DataFrame, images: pd.DataFrame) -> Iterator[str]:
    known = rows[_IDENTITY].merge(images[_IDENTITY], how="left", indicator=True)["_merge"]
    if (strange := (known == "left_only").to_numpy()).any():
        who = " ".join(map(str, rows[_IDENTITY].iloc[int(strange.argmax())]))
        yield f"row {int(strange.argmax()) + 1} is of no image of its frames: {who}"


def _training(rows: pd.DataFrame, made: Made, job: Any) -> Iterator[str]:
    """The result is the checkpoint of the step that the rows say was kept, with its validation."""
    if (set(rows["reward"]) | {job.reward.name}) != {job.reward.name}:
        yield f"column reward: its job says {job.reward.name}"
    # Without a validation nothing is measured of what is kept, which is the last checkpoint.
    saved, kept_rows = checkpoints_of(made.path.parent), rows[rows["kind"] == "kept"]
    step = int(kept_rows["step"].iloc[0] if len(kept_rows) else max(saved, default=0))
    validated = rows[(rows["kind"] == "validation") & (rows["step"] == step)]
    both = kept_rows.merge(validated, on="name", suffixes=("", "_validated"))
    yield from _differing(both, "value", both["value_validated"], f"validated at step {step}")
    for name in NETWORK_FILES:
        kept = made.outputs.get(name)
        told = made.outputs.get(f"checkpoints/step_{step:06d}/{name}")
        if kept is None or kept != told:
            yield f"{name} is not that of the checkpoint of step {step}, which the rows say is kept"


def _audits(rows: pd.DataFrame, made: Made, job: Any) -> Iterator[str]:
    """Sums add up, and the kept step is the training's."""
    steps = frames.read(made.locate(job.training) / STEPS_FILE, frames.TRAINING)
    kept = int(steps.loc[steps["kind"] == "kept", "step"].iloc[0])
    yield from _differing(rows, "is_kept", rows["step"] == kept, f"whether step {kept} is it")
    dropped = rows["trace_nats"] - rows["log_abs_det_nats"]
    yield from _differing(rows, "dropped_nats", dropped, "trace_nats - log_abs_det_nats")


def match(made: Made, folder: Folder) -> Iterator[Finding]:
    """Whether a matched network is the checkpoint that the two trainings' rows choose."""
    job = checked(dict(made.spec), MatchJob, f"job of {made.path}")
    finetune, hypernoise = (made.locate(name) for name in (job.finetune, job.hypernoise))
    steps = [frames.read(path / STEPS_FILE, frames.TRAINING) for path in (finetune, hypernoise)]
    checkpoints = checkpoints_of(finetune)
    chosen = choose(steps[0], steps[1], checkpoints)
    expected = asdict(chosen) | {"finetune": job.finetune, "hypernoise": job.hypernoise}
    record = made.path.with_name(RECORD_FILE)
    told: Mapping[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    for name, value in expected.items():
        if told.get(name) != value:
            yield Finding(str(record), f"{name}: {told.get(name)}, the trainings' rows say {value}")
    for name in NETWORK_FILES:
        path, source = made.path.with_name(name), checkpoints[chosen.step] / name
        if folder.hashed(path) != folder.hashed(source):
            yield Finding(str(path), f"is not that of the checkpoint of step {chosen.step}")


def _differing(rows: pd.DataFrame, column: str, expected: Any, meaning: str) -> Iterator[str]:
    """The first row in which a column is not what other columns make it, and how many are."""
    was, now = (np.asarray(values, dtype=np.float64) for values in (rows[column], expected))
    same = np.isclose(was, now, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
    if not same.all():
        first = int((~same).argmax())
        more = f" (and {n} more rows)" if (n := int((~same).sum()) - 1) else ""
        yield f"row {first + 1}, column {column}: {was[first]:g}, {meaning} is {now[first]:g}{more}"


_OF_KIND: Mapping[str, Callable[[pd.DataFrame, Made, Any], Iterator[str]]] = {
    "images": _images,
    "trajectories": _trajectories,
    "scores": _scores,
    "pairs": _pairs,
    "training": _training,
    "audits": _audits,
}
