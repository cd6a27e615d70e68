"""GenEval's object detector: Mask2Former from transformers, read out as mmdet 2 does.

transformers' own post-processing lets the segments of an image overwrite one another and upsamples
masks by their nearest pixel, which lowers scores; GenEval's thresholds were chosen for mmdet's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from hypernoise.errors import check_choice
from hypernoise.weights.hub import check_network
from hypernoise.weights.stand_ins import Shelf, commit_of, spread
from hypernoise.weights.whole_network import whole_network

# fmt: off
#: COCO's 80 things in their order, under GenEval's names.
CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "computer mouse", "tv remote",
    "computer keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator",
    "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
#: GenEval's name -> COCO's, where they differ.
COCO_NAMES = {"computer mouse": "mouse", "tv remote": "remote", "computer keyboard": "keyboard"}
#: GenEval's name -> what Darknet calls it. transformers' converter of these weights takes the names
#: of "coco-detection-mmdet-id2label.json", which calls the couch so, as other models of it show.
DARKNET_NAMES = {
    "motorcycle": "motorbike",
    "airplane": "aeroplane",
    "couch": "sofa",
    "potted plant": "pottedplant",
    "dining table": "diningtable",
    "tv": "tvmonitor",
}
Postprocessing = Literal["mmdet", "transformers"]
POSTPROCESSINGS: tuple[Postprocessing, ...] = get_args(Postprocessing)

#: mmdet's test pipeline: long and short side at most this, padded to a multiple.
_LONG_PX, SHORT_PX, _MULTIPLE_PX = 1333, 800, 32
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
#: What it pads with, before it normalises: grey of 8 bits.
_PADDING = 128
_TINY = 1e-6
#: transformers keeps a segment above this score; GenEval's own thresholds come later.
_KEPT_SCORE = 0.0
#: The last norm of transformers' Swin is no part of a backbone; the published weights have none.
_UNUSED = r"\.encoder\.(swin\.)?layernorm\."

#: Of a stand-in's class logits.
_SURE = 10.0

Size = tuple[int, int]


class Instances(NamedTuple):
    """Detected objects of one image, by descending class probability.

    Attributes:
        scores: [N] float32 in [0, 1].
        labels: [N] int64, indices into :data:`CLASSES`.
        boxes: [N, 4] float32 of (x_min, y_min, x_max + 1, y_max + 1) in pixels; zeros where the
            mask is empty.
        masks: [N, H, W] bool.
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor
    masks: Tensor


def instances(
    class_logits: Tensor,
    mask_logits: Tensor,
    padded_size: Size,
    resized_size: Size,
    image_size: Size,
    top_k: int = 100,
) -> Instances:
    """Read objects out of Mask2Former's raw outputs as mmdet 2's fusion head does.

    The best ``top_k`` pairs of query and class count, so that a query may give several objects. An
    object's score is its class probability times the mean probability inside its mask.

    Args:
        class_logits: [Q, C + 1]; the last class is "no object".
        mask_logits: [Q, h, w] at any resolution of the padded input.
        padded_size: (height, width) in pixels of the network's input.
        resized_size: of the image within that input, at its top left.
        image_size: of the image before it was resized; boxes and masks have this scale.
        top_k: how many pairs; all where there are fewer.

    Raises:
        ValueError: shapes that do not fit one another, or ``top_k`` < 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if class_logits.ndim != 2 or mask_logits.ndim != 3 or len(class_logits) != len(mask_logits):
        raise ValueError(
            "need class_logits [Q, C + 1] and mask_logits [Q, h, w], got "
            f"{tuple(class_logits.shape)} and {tuple(mask_logits.shape)}"
        )
    height, width = resized_size
    if height > padded_size[0] or width > padded_size[1]:
        raise ValueError(
            f"the resized image {resized_size} does not fit into the input {padded_size}"
        )
    probabilities = class_logits.float().softmax(dim=-1)[:, :-1]
    n_classes = probabilities.shape[1]
    flat = probabilities.flatten()
    class_scores, chosen = flat.topk(min(top_k, flat.numel()))
    masks = mask_logits.float()[chosen // n_classes]
    masks = functional.interpolate(masks[:, None], padded_size, mode="bilinear")
    masks = masks[..., :height, :width]
    masks = functional.interpolate(masks, image_size, mode="bilinear")[:, 0]
    inside = masks > 0
    mass = (masks.sigmoid() * inside).flatten(1).sum(1)
    mask_scores = mass / (inside.flatten(1).sum(1) + _TINY)
    return Instances(class_scores * mask_scores, chosen % n_classes, boxes_around(inside), inside)


def boxes_around(masks: Tensor) -> Tensor:
    """Boxes [N, 4] of masks [N, H, W] bool, as :class:`Instances` has them."""
    boxes = torch.zeros(len(masks), 4, device=masks.device)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        if len(rows):
            corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            box.copy_(torch.cat(corners))
    return boxes


class Prepared(NamedTuple):
    """A network input [1, 3, H, W], and the sizes that :func:`instances` needs."""

    pixels: Tensor
    padded_size: Size
    resized_size: Size
    image_size: Size


def prepare(image: Image.Image, short_px: int = SHORT_PX) -> Prepared:
    """An RGB image as mmdet's test pipeline feeds it: resized to fit 1333 x 800, padded to 32.

    OpenCV resizes in fixed-point numbers, so that every ninth value differs by one level of 255.
    """
    pixels = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32)).permute(2, 0, 1)
    height, width = pixels.shape[1:]
    scale = min(_LONG_PX / max(height, width), short_px / min(height, width))
    resized = (int(height * scale + 0.5), int(width * scale + 0.5))
    # As OpenCV's bilinear resize, which rounds to whole values and does not antialias.
    pixels = functional.interpolate(pixels[None], resized, mode="bilinear").round()
    padded = tuple(math.ceil(side / _MULTIPLE_PX) * _MULTIPLE_PX for side in resized)
    border = (0, padded[1] - resized[1], 0, padded[0] - resized[0])
    pixels = functional.pad(pixels, border, value=_PADDING)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
    return Prepared((pixels - mean) / std, (padded[0], padded[1]), resized, (height, width))


class Mask2Former:
    """The detector on one device.

    Args:
        weights: folder or hub name of a ``Mask2FormerForUniversalSegmentation`` for COCO's things.
        revision: commit of the hub repository; a folder has none.
        device: torch device.
        postprocessing: ``"mmdet"``, or transformers' own, for comparison.
        short_px: what the short side of an image is resized to.

    Raises:
        ValueError: the model's classes are not COCO's 80 things in their order, a weight is
            missing, a repository without a commit, or an unknown post-processing.
    """

    def __init__(
        self,
        weights: str,
        revision: str = "",
        device: str = "cpu",
        postprocessing: Postprocessing = "mmdet",
        short_px: int = SHORT_PX,
    ) -> None:
        from transformers import Mask2FormerForUniversalSegmentation

        check_choice("post-processing", postprocessing, POSTPROCESSINGS)
        check_source(weights, revision)
        stock: Any = Mask2FormerForUniversalSegmentation
        options = {"revision": revision or None, "use_safetensors": True}
        self.model = whole_network(stock, weights, _UNUSED, **options)
        check_classes(self.model.config.id2label, weights)
        self.model.requires_grad_(False).eval().to(device)
        self.device = device
        self.postprocessing = postprocessing
        self._short_px = short_px

    @torch.no_grad()
    def detect(self, image: Image.Image) -> Instances:
        """The objects in an RGB image, on the CPU."""
        prepared = prepare(image, self._short_px)
        out = self.model(pixel_values=prepared.pixels.to(self.device))
        if self.postprocessing == "transformers":
            return _of_transformers(out, prepared.image_size)
        found = instances(out.class_queries_logits[0], out.masks_queries_logits[0], *prepared[1:])
        return Instances(*(tensor.cpu() for tensor in found))


def small_config() -> Any:
    """The architecture of a small detector with COCO's classes."""
    from transformers import Mask2FormerConfig, SwinConfig

    made: Any = SwinConfig
    swin = made(
        embed_dim=12,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=7,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    return Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        id2label={index: COCO_NAMES.get(name, name) for index, name in enumerate(CLASSES)},
    )


def lay_small(shelf: Shelf, weights: str, revision: str, likely: Sequence[str] = ()) -> str:
    """Lay a small random detector onto a shelf; gives its commit.

    Args:
        likely: the classes that it mostly finds.
    """
    from transformers import Mask2FormerForUniversalSegmentation

    commit = commit_of(weights, revision)
    network: Any = spread(Mask2FormerForUniversalSegmentation(small_config()))
    with torch.no_grad():
        # Sure of itself, and mostly of what a rehearsal's prompts ask for: else nothing is found.
        network.class_predictor.weight.mul_(_SURE)
        for name in likely:
            network.class_predictor.bias[CLASSES.index(name)] += _SURE
    network.save_pretrained(shelf.repository(weights, commit))
    return commit


def check_source(weights: str, revision: str) -> None:
    """Check that a detector is a folder, or can be had of the hub at a commit.

    Raises:
        ValueError, FileNotFoundError: as :func:`hypernoise.weights.hub.check_network`.
    """
    if not Path(weights).is_dir():
        check_network(weights, revision)


def check_classes(id2label: dict[int, str], source: str) -> None:
    """Raise ValueError unless a model's classes are COCO's things in GenEval's order.

    The commonest silent error of ports: a name that the detector never gives is never found.
    """
    expected = {i: COCO_NAMES.get(name, name) for i, name in enumerate(CLASSES)}
    names = {i: {name, expected[i], DARKNET_NAMES.get(name)} for i, name in enumerate(CLASSES)}
    wrong = [i for i in expected if id2label.get(i, "") not in names[i]]
    if wrong or len(id2label) != len(CLASSES):
        first = wrong[0] if wrong else len(CLASSES)
        raise ValueError(
            f"{source} has {len(id2label)} classes, and class {first} is "
            f"{id2label.get(first)!r}; GenEval needs COCO's {len(CLASSES)} things, there "
            f"{expected.get(first)!r}"
        )


def by_class(found: Instances) -> tuple[dict[str, NDArray[np.float32]], dict[str, list[int]]]:
    """Detections as GenEval's protocol takes them, and the row of each among ``found``."""
    rows = torch.cat([found.boxes, found.scores[:, None]], dim=1).numpy()
    members: dict[str, list[int]] = {}
    for row, label in enumerate(found.labels.tolist()):
        members.setdefault(CLASSES[label], []).append(row)
    return {name: rows[indices] for name, indices in members.items()}, members


def _of_transformers(out: Any, image_size: Size) -> Instances:
    from transformers import Mask2FormerImageProcessor

    (found,) = Mask2FormerImageProcessor().post_process_instance_segmentation(
        out, threshold=_KEPT_SCORE, target_sizes=[image_size], return_binary_maps=True
    )
    segments: Sequence[dict[str, Any]] = found["segments_info"]
    height, width = image_size
    masks = torch.as_tensor(found["segmentation"]).bool().reshape(-1, height, width).cpu()
    return Instances(
        torch.tensor([segment["score"] for segment in segments]),
        torch.tensor([segment["label_id"] for segment in segments], dtype=torch.long),
        boxes_around(masks),
        masks,
    )
