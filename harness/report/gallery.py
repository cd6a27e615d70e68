"""The gallery: images from the same noise under every method, as one folder of static HTML.

The folder can be moved or zipped as a whole and opened from the disk: ``index.html`` holds style,
script and all scores, and ``images`` a file per picture. Files rather than sprites or data URIs:
the browser fetches only what is in sight, and each picture is an ordinary image with its own
alternative text. Small images are copied byte for byte, large ones become thumbnails.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from harness.analysis.gains import CORRECT
from harness.analysis.interval_columns import in_order
from harness.analysis.pairing import (
    CELL,
    NETWORK,
    PICTURE,
    FrameError,
    Paired,
    baselines,
    choose,
    left_out_of,
    pair,
    rank,
    require,
    select,
    stop_on,
    without_baseline,
)
from harness.analysis.training_seeds import first_network
from harness.base.atomic_files import write_text
from harness.benchmarks.geneval import TASKS
from harness.experiment.jobs import TableJob
from harness.report.formats import describe
from harness.report.pages import render
from harness.results.frames import NO_SEED
from harness.results.image_files import open_image, rgb
from harness.results.results_folder import write_sidecar

#: Beside ``index.html``.
IMAGE_FOLDER = "images"
#: Larger images become thumbnails of this size.
THUMBNAIL_PX = 384
#: Up to this size an image is drawn with crisp pixels.
CRISP_PX = 128
_UNSAFE = re.compile(r"^\.+|[^\w.-]")


class Gallery(NamedTuple):
    """What a gallery shows.

    Attributes:
        data: what the page's script reads; the fields are explained in ``templates/gallery.js``.
        files: image file -> its place below :data:`IMAGE_FOLDER`, without suffix.
    """

    data: dict[str, Any]
    files: dict[str, str]


def gallery(
    images: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    baseline: str = "base",
    metric: str = "",
) -> Gallery:
    """Everything that was drawn and how it was scored, a column per method.

    Args:
        images: image rows; ``path`` leads to the file. Of several training seeds of a method the
            smallest is shown.
        scores: score rows of exactly these images; all metrics are shown.
        models, methods: what to show, in this order; all, by name and the baseline first, if None.
        baseline: the method that a change of verdict is told against.
        metric: the benchmark's own; GenEval's where scores have it, if empty. It says whether an
            image is right where all its values are 1 or 0, as GenEval's have to be. An image that
            its rules leave out is shown as such.

    Raises:
        FrameError: a model, a method, a baseline, an image or a score is missing or double, or a
            verdict of GenEval's is neither 0 nor 1. One message names all of it.
        FileNotFoundError: an image file is missing.
    """
    require(images, (*NETWORK, *PICTURE, "prompt", "path"), "images")
    require(scores, (*NETWORK, *PICTURE, "metric", "meaning", "value", "detail"), "scores")
    images, scores = first_network(images), first_network(scores)
    scores, faults = select(scores, models, methods)
    images = choose(images, models, methods)
    if scores.empty:
        stop_on(faults, "a gallery")
    foreign = set(images.loc[images["seed"] == NO_SEED, "method"])
    # Images of other tools stand in the rows of ours: their noise is not known.
    noises = images.loc[images["seed"] != NO_SEED, "seed"].unique()
    if foreign and len(noises) == 1:
        images, scores = (
            frame.assign(seed=frame["seed"].replace(NO_SEED, noises[0]))
            for frame in (images, scores)
        )
    there = set(scores["metric"])
    # Rows that say which images a metric leaves out are no values of images.
    there -= {left_out_of(name) for name in there}
    first = [metric or CORRECT] if metric or CORRECT in there else []
    paired, found = pair(scores, [*first, *sorted(there - set(first))], images, baseline)
    faults += found + without_baseline(paired.cells, baseline)
    values = paired.scores.get("".join(first), np.zeros(0))
    odd = values[np.isfinite(values) & (values != 0) & (values != 1)]
    if first == [CORRECT] and len(odd):
        faults.append(f"{CORRECT} is {odd[0]:g}, must be 0 or 1")
    stop_on(faults, "a gallery")
    verdict = "" if len(odd) else "".join(first)
    columns = _columns(paired.cells, models, methods or [baseline])
    columns["label"] += np.where(columns["method"].isin(foreign), ", own noise", "")
    # An image's place is its column's folder and its picture's number.
    numbered = paired.pictures.assign(number=range(len(paired.pictures)))
    rows = images.merge(numbered, on=list(PICTURE)).merge(columns[[*CELL, "folder"]], on=list(CELL))
    placed = zip(rows["path"], rows["folder"], rows["number"], strict=True)
    files = {path: f"{folder}/{number}" for path, folder, number in placed}
    return Gallery(_data(paired, images, scores, columns, verdict, baseline), files)


def write(
    made: Gallery, out: str | Path, job: TableJob, record: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write the folder; what an earlier gallery left in it is removed.

    Args:
        record: as for :func:`harness.report.formats.write`.

    Returns:
        The page, the folder of images and the provenance.
    """
    page = Path(out).with_name(f"{Path(out).name}.html")
    folder = page.parent / IMAGE_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    kinds: dict[str, set[tuple[str, int]]] = {}
    for source, place in made.files.items():
        kinds.setdefault(place.rpartition("/")[0], set()).add(_copy(Path(source), folder / place))
    if odd := {place: sorted(kind) for place, kind in kinds.items() if len(kind) > 1}:
        raise FrameError(f"images of one column are of several kinds: {odd}")
    found = {place: kind.pop() for place, kind in kinds.items()}
    # Images of other tools may have another size.
    side_px = max(side for _, side in found.values())
    models = [
        model | {"columns": [one | {"suffix": found[one["folder"]][0]} for one in model["columns"]]}
        for model in made.data["models"]
    ]
    drawn = {"models": models, "side_px": side_px, "crisp": side_px <= CRISP_PX}
    write_text(
        page, render("gallery.html", data={**made.data, **drawn, "origin": describe(job, record)})
    )
    return [page, folder, write_sidecar(page.parent, "gallery", job, [page, folder])]


def _columns(
    cells: pd.DataFrame, models: Sequence[str] | None, methods: Sequence[str]
) -> pd.DataFrame:
    """The cells in the order in which they are shown: their ``number`` in ``cells``, their label
    and their folder."""
    numbered = cells.assign(number=range(len(cells)))
    shown = in_order(numbered, ("model", "method", "reward", "steps"), models, methods)
    rewards = shown[shown["reward"] != ""].groupby("method")["reward"].nunique()
    several_steps = shown["steps"].nunique() > 1
    places = shown.groupby("model", sort=False).cumcount()
    labels, folders = [], []
    for place, row in zip(places, shown.to_dict("records"), strict=True):
        # The method, with what tells columns of the same method apart.
        label = str(row["method"])
        label += f" on {row['reward']}" if rewards.get(row["method"], 0) > 1 else ""
        labels.append(label + (f", {row['steps']} steps" if several_steps else ""))
        parts = (row["model"], f"{place:02d}_{row['method']}")
        folders.append("/".join(_UNSAFE.sub("_", part) for part in parts))
    return shown.assign(label=labels, folder=folders)


def _data(
    paired: Paired,
    images: pd.DataFrame,
    scores: pd.DataFrame,
    columns: pd.DataFrame,
    verdict: str,
    baseline: str,
) -> dict[str, Any]:
    pictures = paired.pictures
    prompts = images.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
    tasks = pictures["task"].drop_duplicates()
    ordered = tasks.iloc[rank(tasks, TASKS).argsort()].to_list()
    cells = paired.cells.assign(cell=range(len(paired.cells)))
    numbered = pictures.assign(number=range(len(pictures)))
    told = scores[scores["detail"] != ""].merge(cells, on=list(CELL))
    told = told.merge(numbered, on=list(PICTURE))
    # Cell -> picture -> what its metrics say in words, where they do.
    details: dict[int, dict[int, str]] = {}
    for cell, number, words in zip(told["cell"], told["number"], told["detail"], strict=True):
        said = details.setdefault(cell, {})
        said[number] = f"{said[number]}; {words}" if number in said else words
    # Each has one: else a fault has been raised.
    against = [int(base or 0) for base in baselines(paired.cells, baseline)]
    folders = dict(zip(columns["number"], columns["folder"], strict=True))
    models: dict[str, list[dict[str, Any]]] = {}
    for row in columns.to_dict("records"):
        cell = row["number"]
        # Four digits are what people read, and a third of the bytes.
        values = {
            name: [float(f"{value:.4g}") if np.isfinite(value) else None for value in grid[cell]]
            for name, grid in paired.scores.items()
        }
        shown = {"label": row["label"], "folder": row["folder"], "base": folders[against[cell]]}
        shown |= {"values": values, "details": details.get(cell, {})}
        models.setdefault(row["model"], []).append(shown)
    return {
        "benchmark": ", ".join(sorted(pictures["benchmark"].unique())),
        "baseline": baseline,
        "verdict": verdict,
        "metrics": list(paired.scores),
        "meanings": dict(zip(scores["metric"], scores["meaning"], strict=True)),
        "tasks": ordered,
        "pictures": [
            [
                prompts[row["prompt_id"]],
                ordered.index(row["task"]),
                *(row[name] for name in ("image_index", "seed", "prompt_id")),
            ]
            for row in pictures.to_dict("records")
        ],
        "models": [{"name": name, "columns": of_model} for name, of_model in models.items()],
    }


def _copy(source: Path, target: Path) -> tuple[str, int]:
    """Copy an image or make its thumbnail; returns the suffix and the larger side in px."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open_image(source) as image:
            image.load()
            if max(image.size) <= THUMBNAIL_PX:
                shutil.copyfile(source, target.with_name(f"{target.name}{source.suffix}"))
                return source.suffix, max(image.size)
            small = rgb(image)
            small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
            small.save(target.with_name(f"{target.name}.webp"), quality=85)
            return ".webp", THUMBNAIL_PX
    except FileNotFoundError:
        raise FileNotFoundError(f"image {source} is missing") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"image {source} is truncated or no image: {error}") from error
