"""GenEval as published: 553 prompts about COCO's things, judged by Mask2Former and CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from harness.benchmarks.clip_colors import ClipColors
from harness.benchmarks.geneval import Decision, Evaluator, judge, load_metadata
from harness.benchmarks.mask2former import (
    CLASSES,
    POSTPROCESSINGS,
    Instances,
    Mask2Former,
    Postprocessing,
    by_class,
    check_source,
)
from harness.benchmarks.neighbours import runs
from harness.build.data_files import DataFile, locate
from harness.build.devices import default_device
from harness.experiment import pins
from hypernoise.choices import check_choice
from hypernoise.images import to_uint8

DETECTOR = "facebook/mask2former-swin-small-coco-instance"
#: OpenAI's ViT-L/14 with open_clip's names.
CLIP = (
    "hf://timm/vit_large_patch14_clip_224.openai@18d0535469bb561bf468d76c1d73aa35156c922b/"
    "open_clip_model.safetensors"
    "#sha256=9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e"
)
METADATA = DataFile(
    name="geneval/evaluation_metadata.jsonl",
    repository="djghosh13/geneval",
    commit="af4902f",
    path="prompts/evaluation_metadata.jsonl",
    sha256="5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13",
)


@dataclass(frozen=True)
class GenEvalPrompt:
    """One of GenEval's prompts; ``metadata`` is its line of the published file."""

    prompt_id: str
    text: str
    task: str
    metadata: dict[str, Any]


def prompts() -> tuple[GenEvalPrompt, ...]:
    """The published prompts; an id is the name of the prompt's folder in GenEval's layout.

    Raises:
        ValueError, FileNotFoundError: the metadata cannot be had; see
        :mod:`harness.build.data_files`.
    """
    records = load_metadata(locate(METADATA), classes=CLASSES)
    return tuple(
        GenEvalPrompt(f"{number:05}", record["prompt"], record["tag"], record)
        for number, record in enumerate(records)
    )


def judge_image(
    image: Image.Image, metadata: dict[str, Any], detector: Mask2Former, colors: ClipColors
) -> Decision:
    """GenEval's decision about one RGB image."""
    return judge_objects(image, detector.detect(image), metadata, colors)


def judge_objects(
    image: Image.Image, found: Instances, metadata: dict[str, Any], colors: ClipColors
) -> Decision:
    """GenEval's decision about one RGB image by the objects that were found in it."""
    detections, members = by_class(found)

    def classify(name: str, chosen: Sequence[int]) -> list[str]:
        return colors.classify(image, name, found, [members[name][index] for index in chosen])

    return judge(metadata, detections, classify)


def evaluator(detector: str = DETECTOR, clip: str = CLIP, detector_revision: str = "") -> Evaluator:
    """GenEval's evaluator, loaded at the first image; arguments as :func:`check_score`.

    A detector without a revision has the one that the checkout's pins give it, if they do.
    """
    detector_revision = detector_revision or pins.commit_of(detector)
    check_score(detector, clip, detector_revision)

    def judge_one(image: Image.Image, metadata: dict[str, Any]) -> Decision:
        networks = _judges(detector, detector_revision, clip, "mmdet", default_device())
        return judge_image(image, metadata, *networks)

    return Evaluator(judge_one, CLASSES)


def score(
    images: NDArray[np.float32],
    metadata: Sequence[dict[str, Any]],
    detector: str = DETECTOR,
    clip: str = CLIP,
    detector_revision: str = "",
    postprocessing: Postprocessing = "mmdet",
) -> list[tuple[float, str]]:
    """GenEval per image: (1.0 or 0.0, the reason of a failure).

    Args:
        images: [N, 3, H, W] in [0, 1].
        metadata: N prompts in GenEval's fields.
        detector: folder or hub name of the detector's weights.
        detector_revision: commit of the hub repository.
        clip: checkpoint of the colour classifier (:mod:`hypernoise.weights.pinned_files`).
        postprocessing: ``"mmdet"`` as published, or ``"transformers"``.
    """
    networks = _judges(detector, detector_revision, clip, postprocessing, default_device())
    pictures = [Image.fromarray(pixels) for pixels in to_uint8(torch.from_numpy(images))]
    decisions: list[Decision] = []
    for run in runs(images):
        picture, found = pictures[run.start], networks[0].detect(pictures[run.start])
        decisions += [judge_objects(picture, found, metadata[p], networks[1]) for p in run]
    return [(float(decision.correct), decision.reason) for decision in decisions]


def check_score(
    detector: str = DETECTOR,
    clip: str = CLIP,
    detector_revision: str = "",
    postprocessing: Postprocessing = "mmdet",
) -> None:
    """Check the arguments of :func:`score` before any image is made; nothing is loaded.

    Raises:
        ValueError: an unknown post-processing, or weights of the hub that are not pinned or that it
            does not give.
        FileNotFoundError: a file is missing.
    """
    check_source(detector, detector_revision)
    check_choice("post-processing", postprocessing, POSTPROCESSINGS)
    ClipColors(clip)


@cache
def _judges(
    detector: str,
    revision: str,
    clip: str,
    postprocessing: Postprocessing,
    device: str,
) -> tuple[Mask2Former, ClipColors]:
    # Once per process: a scorer is called for every batch.
    return (
        Mask2Former(detector, revision, device, postprocessing),
        ClipColors(clip, device=device),
    )
