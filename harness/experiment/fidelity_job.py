"""The job that measures how far images are from others; and where images of a frame lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass

from harness.experiment.components import SimilaritySpec
from harness.experiment.identity import Place, Places, Threads
from harness.experiment.validation import STRICT, Count
from harness.experiment.weight_files import weights_of
from hypernoise.identity import SPEED_ONLY

#: Images lie in this folder beside their frame.
PNG_FOLDER = "png"


def with_pictures(frames: Sequence[str]) -> tuple[str, ...]:
    """Frames of images, and the folders of the images that they name."""
    return (*frames, *(str(Path(frame).with_name(PNG_FOLDER)) for frame in frames))


@dataclass(frozen=True, config=STRICT)
class FidelityJob:
    """Measure how far each method's images are from a reference.

    Attributes:
        features: name -> feature network (:class:`harness.similarity.protocol.FeatureNetwork`).
        images: paths of ``images.parquet`` files.
        reference: the same, of the images that they are compared with.
        reference_images: a folder of images to compare with as well; empty for none.
        batch_size: images that are embedded together.
        out: path of the distances' parquet.
        work: folder that keeps the features of every image, by the hash of its file.
    """

    features: Mapping[str, SimilaritySpec]
    images: Places
    reference: Places
    out: Place
    work: Place
    reference_images: str = ""
    threads: Threads = 1
    batch_size: Annotated[Count, SPEED_ONLY] = 32

    @property
    def reads(self) -> tuple[str, ...]:
        folder = (self.reference_images,) if self.reference_images else ()
        return (*with_pictures((*self.images, *self.reference)), *folder)

    weights = property(lambda job: weights_of(comparisons=job.features))
