"""A small gallery on disk, for tests of its data and of its page."""

from __future__ import annotations

from pathlib import Path

import measured
import numpy as np
import pandas as pd
from PIL import Image

from harness.experiment.components import TableSpec
from harness.experiment.jobs import TableJob
from harness.report import make
from harness.results import frames

#: A prompt must stay text, whatever it holds.
NASTY = "</script><script>throw 1</script> <b>&amp; {/*DATA*/}"


def job(folder: Path, **arguments: str) -> TableJob:
    """The job of a gallery of what :func:`frames_in` wrote."""
    inputs = {kind: (str(folder / f"{kind}.parquet"),) for kind in ("images", "scores")}
    spec = TableSpec("gallery", "harness.report.gallery:gallery", 2, arguments=arguments)
    return TableJob(spec, inputs, str(folder / "gallery" / "index"))


def frames_in(folder: Path, size_px: int = 32, copies: int = 1) -> None:
    """Image and score frames of the measured world, ``copies`` times over, with image files."""
    images, scores = (repeated(made(), copies) for made in (measured.images, measured.scores))
    images["path"] = [f"png/{number % 144:03d}.png" for number in range(len(images))]
    images["prompt"] = [
        NASTY if i == "colors-0" else f"a photo of {i}" for i in images["prompt_id"]
    ]
    wrong = (scores["metric"] == "geneval_correct") & (scores["value"] == 0)
    scores["detail"] = np.where(wrong, "expected a cat>=1, found 0", "")
    (folder / "png").mkdir(parents=True)
    for number in range(144):
        shade = np.full((size_px, size_px, 3), number, np.uint8)
        shade[:: size_px // 4] = 255 - number
        Image.fromarray(shade).save(folder / "png" / f"{number:03d}.png")
    frames.write(images, folder / "images.parquet", "images", {})
    frames.write(scores, folder / "scores.parquet", "scores", {})


def repeated(rows: pd.DataFrame, copies: int) -> pd.DataFrame:
    """The same under further image indices."""
    parts = [rows.assign(image_index=rows["image_index"] + 2 * copy) for copy in range(copies)]
    return pd.concat(parts, ignore_index=True)


def made_in(folder: Path, size_px: int = 32, copies: int = 1) -> Path:
    """A finished gallery's folder."""
    frames_in(folder, size_px, copies)
    make.run(job(folder))
    return folder / "gallery"


def left_out_in(folder: Path, metric: str = "own") -> Path:
    """The folder of a gallery by a metric, where one image has no value of an own metric."""
    frames_in(folder)
    scores = measured.left_out_once(pd.read_parquet(folder / "scores.parquet"))
    frames.write(scores, folder / "scores.parquet", "scores", {})
    make.run(job(folder, metric=metric))
    return folder / "gallery"
