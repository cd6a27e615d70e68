"""GenEval as published: 553 prompts about COCO's things, judged by Mask2Former and CLIP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Annotated, Any

import torch
from PIL import Image

from harness.base.errors import each
from harness.benchmarks.clip_colors import ARCHITECTURE, ClipColors
from harness.benchmarks.geneval import CORRECT, Decision, Evaluator, judge, scores_of
from harness.benchmarks.geneval_metadata import check_prompts, load_metadata
from harness.benchmarks.mask2former import (
    CLASSES,
    POSTPROCESSINGS,
    SHORT_PX,
    Instances,
    Mask2Former,
    Postprocessing,
    by_class,
    check_source,
    lay_small,
)
from harness.benchmarks.neighbours import runs
from harness.benchmarks.protocol import Images, Prompt, Score
from harness.build.data_files import locate
from harness.build.devices import default_device
from harness.experiment import pins
from hypernoise.errors import check_choice
from hypernoise.identity import SCORES_ONLY
from hypernoise.images import to_uint8
from hypernoise.rewards import openclip
from hypernoise.weights.stand_ins import Shelf

DETECTOR = "facebook/mask2former-swin-small-coco-instance"
#: OpenAI's ViT-L/14 with open_clip's names.
CLIP = (
    "hf://timm/vit_large_patch14_clip_224.openai@18d0535469bb561bf468d76c1d73aa35156c922b/"
    "open_clip_model.safetensors"
    "#sha256=9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e"
)
METADATA = "geneval/evaluation_metadata.jsonl"
#: What a stand-in of the detector finds: the things of its prompts.
_LIKELY = ("cat", "bench", "train")


def prompts() -> tuple[Prompt, ...]:
    """The published prompts; an id is the name of the prompt's folder in GenEval's layout.

    Raises:
        ValueError, FileNotFoundError: the metadata cannot be had; see
        :mod:`harness.build.data_files`.
    """
    records = load_metadata(locate(METADATA), classes=CLASSES)
    return tuple(
        Prompt(f"{number:05}", record["prompt"], record["tag"], record)
        for number, record in enumerate(records)
    )


def judge_image(
    image: Image.Image, metadata: Mapping[str, Any], detector: Mask2Former, colors: ClipColors
) -> Decision:
    """GenEval's decision about one RGB image."""
    return judge_objects(image, detector.detect(image), metadata, colors)


def judge_objects(
    image: Image.Image, found: Instances, metadata: Mapping[str, Any], colors: ClipColors
) -> Decision:
    """GenEval's decision about one RGB image by the objects that were found in it."""
    detections, members = by_class(found)

    def classify(name: str, chosen: Sequence[int]) -> list[str]:
        return colors.classify(image, name, found, [members[name][index] for index in chosen])

    return judge(metadata, detections, classify)


class GenEval:
    """GenEval as published.

    Args:
        detector: folder or hub name of the detector's weights.
        clip: checkpoint of the colour classifier (:mod:`hypernoise.weights.pinned_files`).
        detector_revision: commit of the detector's hub repository.
        postprocessing: ``"mmdet"`` as published, or ``"transformers"``.
        clip_architecture: name of an open_clip configuration, or one as a mapping.
        detector_px: what the short side of an image is resized to for the detector.
    """

    metrics = (CORRECT,)

    def __init__(
        self,
        detector: Annotated[str, SCORES_ONLY] = DETECTOR,
        clip: Annotated[str, SCORES_ONLY] = CLIP,
        detector_revision: Annotated[str, SCORES_ONLY] = "",
        postprocessing: Annotated[Postprocessing, SCORES_ONLY] = "mmdet",
        clip_architecture: Annotated[str | Mapping[str, Any], SCORES_ONLY] = ARCHITECTURE,
        detector_px: Annotated[int, SCORES_ONLY] = SHORT_PX,
    ) -> None:
        self._detector = detector
        self._clip = clip
        self._revision = detector_revision
        self._postprocessing: Postprocessing = postprocessing
        self._clip_architecture = clip_architecture
        self._detector_px = detector_px

    @classmethod
    def stand_in(
        cls, shelf: Shelf, *, detector: str, clip: str, detector_revision: str = "", **_: Any
    ) -> dict[str, Any]:
        """As :class:`hypernoise.weights.stand_ins.HasStandIn` says; images are not enlarged."""
        small = openclip.small_clip(cls, shelf, weights=clip, architecture=ARCHITECTURE)
        return {
            "clip": small["weights"],
            "clip_architecture": small["architecture"],
            "detector_revision": lay_small(shelf, detector, detector_revision, _LIKELY),
            "detector_px": 128,
        }

    def prompts(self) -> tuple[Prompt, ...]:
        """As :func:`prompts`."""
        return prompts()

    def check(self, prompts: Sequence[Prompt] = ()) -> None:
        """Check the weights, and prompts' metadata; nothing is loaded.

        Raises:
            ValueError: metadata that no image could be judged by, an unknown post-processing, or
                weights of the hub that are not pinned or that it does not give.
            FileNotFoundError: a file is missing.
        """
        check_choice("post-processing", self._postprocessing, POSTPROCESSINGS)
        checks: list[Callable[[], object]] = [
            partial(check_source, self._detector, self._revision),
            partial(ClipColors, self._clip),
            partial(check_prompts, prompts, CLASSES),
        ]
        each(checks)

    def score(self, images: Images, prompts: Sequence[Prompt]) -> list[dict[str, Score]]:
        """GenEval's decision about each image [3, H, W] in [0, 1]."""
        pictures = [Image.fromarray(pixels) for pixels in to_uint8(torch.from_numpy(images))]
        decisions: list[Decision] = []
        for run in runs(images):
            picture = pictures[run.start]
            found = self._networks[0].detect(picture)
            judged = [prompts[place].metadata for place in run]
            decisions += [judge_objects(picture, found, m, self._networks[1]) for m in judged]
        return scores_of(decisions)

    def judge(self, image: Image.Image, metadata: Mapping[str, Any]) -> Decision:
        """GenEval's decision about one RGB image."""
        return judge_image(image, metadata, *self._networks)

    @cached_property
    def _networks(self) -> tuple[Mask2Former, ClipColors]:
        device = default_device()
        how = (self._postprocessing, self._detector_px)
        detector = Mask2Former(self._detector, self._revision, device, *how)
        return detector, ClipColors(self._clip, self._clip_architecture, device)


def evaluator(detector: str = DETECTOR, clip: str = CLIP, detector_revision: str = "") -> Evaluator:
    """GenEval's evaluator, loaded at the first image; arguments as of :class:`GenEval`.

    A detector without a revision has the one that the checkout's pins give it, if they do.
    """
    benchmark = GenEval(detector, clip, detector_revision or pins.commit_of(detector))
    benchmark.check()
    return Evaluator(benchmark.judge, CLASSES)
