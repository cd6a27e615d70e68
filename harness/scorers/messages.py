"""What the HTTP service of scorers is sent and answers, and images as it is sent them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.base.errors import SpecError
from harness.results.image_files import FAULTS, Bytes, open_image, rgb


class AskedPrompt(BaseModel):
    """A prompt that is not one of a benchmark's own, with what its images are judged by."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    task: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)


class ScoreRequest(BaseModel):
    """Images, and the prompt of each."""

    model_config = ConfigDict(extra="forbid")

    prompts: list[str | AskedPrompt] = Field(min_length=1)
    images: list[str] = Field(min_length=1, description="base64 of PNG, JPEG or WebP files")


class ScoreAnswer(BaseModel):
    """For each image, what every metric says: higher is better."""

    scores: list[dict[str, float | None]] = Field(
        description="name of the metric -> value; null where the metric leaves the image out"
    )
    details: list[dict[str, str]] = Field(description="name of the metric -> why")
    cut_prompts: list[str] = Field(description="prompts that are longer than the scorer reads")


class Described(BaseModel):
    """A scorer that is served."""

    name: str
    metrics: dict[str, str] = Field(description="name -> meaning")
    waiting_images: int


class Health(BaseModel):
    """That the service answers, and what waits."""

    status: str
    scorers: list[Described]


def decoded_images(texts: Sequence[str], most_pixels: int) -> list[Bytes]:
    """The pixels of images that were sent, uint8 [H, W, 3] each.

    Args:
        texts: base64 of image files.
        most_pixels: of one image; its header says how many, before any is decoded.

    Raises:
        SpecError: one is no base64, no readable image, or has more pixels; its place is named.
    """
    found = []
    for n, text in enumerate(texts):
        where = f"images[{n}]"
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise SpecError(f"{where} is no base64: {error}") from error
        try:
            with open_image(BytesIO(data)) as image:
                size = f"{image.width} x {image.height}"
                is_small = image.width * image.height <= most_pixels
                pixels = np.asarray(rgb(image)) if is_small else None
        except FAULTS as error:
            raise SpecError(f"{where} cannot be read: {error}") from error
        if pixels is None:
            raise SpecError(f"{where} has {size} pixels, of at most {most_pixels}")
        found.append(pixels)
    return found
