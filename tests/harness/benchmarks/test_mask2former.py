"""GenEval's detector and colour classifier: how raw outputs become objects and colours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity.detections import CASES, Case, photographs, sampled, unpacked
from paths import SUPPORT
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import Mask2FormerForUniversalSegmentation

from harness.benchmarks.build import check_benchmark
from harness.benchmarks.clip_colors import ClipColors, cut_out
from harness.benchmarks.geneval import COLORS
from harness.benchmarks.geneval_coco import GenEval, judge_image
from harness.benchmarks.mask2former import (
    CLASSES,
    COCO_NAMES,
    DARKNET_NAMES,
    Instances,
    Mask2Former,
    by_class,
    check_classes,
    instances,
    prepare,
    small_config,
)
from harness.benchmarks.protocol import Prompt, Score
from harness.cli.command_line import main
from harness.cli.geneval import read_results
from harness.experiment.components import BenchmarkSpec

#: transformers' name of a part of its Swin -> that of the published weights, which lack ``UNUSED``.
PUBLISHED_NAMES = {
    "encoder.swin.": "encoder.",
    "attention.q_proj": "attention.self.query",
    "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value",
    "attention.relative_position_bias.": "attention.self.",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
UNUSED = ".pixel_level_module.encoder.layernorm."
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 255, (48, 40, 3), dtype=np.uint8))
SMALL_CLIP = "small-quickgelu"
SMALL_CLIP_CONFIG = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 1,
    },
}


def coco_labels() -> dict[int, str]:
    return {i: COCO_NAMES.get(name, name) for i, name in enumerate(CLASSES)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector with random weights, in the published format."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("mask2former")
    Mask2FormerForUniversalSegmentation(small_config()).save_pretrained(folder)
    return folder


def test_an_objects_score_is_its_class_probability_times_the_mean_inside_its_mask() -> None:
    class_logits = torch.tensor([[2.0, 0.0, 0.0]])
    mask_logits = torch.tensor([[[3.0, 1.0], [-1.0, -2.0]]])
    found = instances(class_logits, mask_logits, (2, 2), (2, 2), (2, 2), top_k=1)
    expected = class_logits.softmax(1)[0, 0] * torch.tensor([3.0, 1.0]).sigmoid().mean()
    torch.testing.assert_close(found.scores, expected[None], rtol=1e-5, atol=0)
    assert found.labels.tolist() == [0]
    assert found.masks.tolist() == [[[True, True], [False, False]]]
    assert found.boxes.tolist() == [[0.0, 0.0, 2.0, 1.0]]


def test_one_query_can_give_several_objects_and_no_object_is_no_class() -> None:
    class_logits = torch.tensor([[1.0, 0.9, 9.0], [0.1, 0.2, 0.0]])
    masks = torch.ones(2, 4, 4)
    found = instances(class_logits, masks, (4, 4), (4, 4), (4, 4), top_k=3)
    # The pairs of the second query have more probability than those of the first.
    assert found.labels.tolist() == [1, 0, 0]
    assert len(instances(class_logits, masks, (4, 4), (4, 4), (4, 4)).scores) == 4


def test_an_empty_mask_has_no_box_and_no_score() -> None:
    found = instances(torch.ones(1, 3), -torch.ones(1, 2, 2), (4, 4), (4, 4), (4, 4), top_k=1)
    assert found.scores.item() == 0
    assert found.boxes.tolist() == [[0.0] * 4]


def test_masks_are_upsampled_to_the_input_stripped_of_padding_then_resized() -> None:
    source = torch.Generator().manual_seed(0)
    class_logits = torch.randn(6, 4, generator=source)
    mask_logits = torch.randn(6, 8, 10, generator=source)
    padded, resized, image = (32, 40), (25, 40), (50, 80)
    found = instances(class_logits, mask_logits, padded, resized, image, top_k=5)
    for row in range(5):
        pairs = class_logits.softmax(1)[:, :-1].flatten().argsort(descending=True)
        query, label = divmod(int(pairs[row]), 3)
        at_input = bilinear(mask_logits[query].numpy(), padded)[: resized[0], : resized[1]]
        at_image = bilinear(at_input, image)
        assert found.labels[row] == label
        # Float32 sums in another order may flip a logit that is all but zero.
        assert (found.masks[row].numpy() != (at_image > 0)).mean() < 1e-3
        ys, xs = np.nonzero(found.masks[row].numpy())
        assert found.boxes[row].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixel centres are aligned, corners are not; written out along one axis after the other."""
    for axis in (0, 1):
        n, m = values.shape[axis], size[axis]
        at = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, None)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        weight = np.expand_dims(at - low, 1 - axis)
        values = values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight
    return values


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"mask_logits": torch.ones(3, 2, 2)}, r"got \(2, 3\) and \(3, 2, 2\)"),
        ({"resized_size": (5, 4)}, r"resized image \(5, 4\) does not fit into the input \(4, 4\)"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    fitting = {
        "class_logits": torch.ones(2, 3),
        "mask_logits": torch.ones(2, 2, 2),
        "padded_size": (4, 4),
        "resized_size": (4, 4),
        "image_size": (4, 4),
    }
    with pytest.raises(ValueError, match=message):
        instances(**fitting | arguments)


@pytest.mark.parametrize(
    ("size", "resized", "padded"),
    [
        ((512, 512), (800, 800), (800, 800)),
        ((1024, 1024), (800, 800), (800, 800)),
        ((640, 480), (800, 1067), (800, 1088)),
        ((2000, 500), (333, 1333), (352, 1344)),
    ],
)
def test_images_are_resized_and_padded_as_mmdet_does(
    size: tuple[int, int], resized: tuple[int, int], padded: tuple[int, int]
) -> None:
    prepared = prepare(Image.new("RGB", size, (124, 116, 104)))
    assert prepared.image_size == size[::-1]
    assert prepared.resized_size == resized
    assert prepared.padded_size == tuple(prepared.pixels.shape[2:]) == padded
    inside = prepared.pixels[0, :, : resized[0], : resized[1]]
    # A picture of the mean colour, whose fractions 8 bits cannot hold.
    assert inside.abs().max() < 0.02
    outside = torch.ones(padded, dtype=torch.bool)
    outside[: resized[0], : resized[1]] = False
    # Grey of 128, normalised.
    expected = torch.tensor([[0.07406], [0.20518], [0.42649]]).expand(-1, int(outside.sum()))
    torch.testing.assert_close(prepared.pixels[0][:, outside], expected, rtol=0, atol=1e-5)


def recorded() -> dict[str, Any]:
    """What mmdet itself gave, by tests/support/parity/record_mask2former.py."""
    path = SUPPORT / "parity" / "fixtures" / "mask2former.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_are_read_as_mmdet_reads_them(case: Case) -> None:
    expected = recorded()["cases"][case.name]
    sizes = (case.padded_size, case.resized_size, case.image_size)
    found = instances(*case.logits(), *sizes, top_k=case.top_k)
    labels, scores = found.labels.tolist(), found.scores.tolist()
    order = sorted(range(len(labels)), key=lambda row: (labels[row], -scores[row]))
    assert [labels[row] for row in order] == expected["labels"]
    # Exact on the machine that recorded; sums of float32 may take another order elsewhere.
    assert [scores[row] for row in order] == pytest.approx(expected["scores"], abs=1e-6)
    masks = [unpacked(text, case.image_size) for text in expected["masks"]]
    for row, box, mask in zip(order, expected["boxes"], expected["mask_of"], strict=True):
        assert (found.masks[row].numpy() != masks[mask]).sum() <= 2
        assert found.boxes[row].tolist() == pytest.approx(box, abs=1)


def test_classes_have_mmdets_order() -> None:
    assert [COCO_NAMES.get(name, name) for name in CLASSES] == recorded()["classes"]


def test_inputs_are_those_of_mmdets_test_pipeline() -> None:
    inputs = recorded()["inputs"]
    one_level = 1 / 57.12 + 1e-4
    differences = []
    for name, image in photographs().items():
        prepared = prepare(image)
        sizes = (prepared.padded_size, prepared.resized_size, prepared.image_size)
        assert [list(size) for size in sizes] == [
            inputs[name][size] for size in ("padded", "resized", "image")
        ]
        off = np.abs(np.subtract(sampled(prepared.pixels[0]), inputs[name]["values"]))
        assert off.max() < one_level, name
        differences += off.tolist()
    assert len(differences) > 900
    # OpenCV rounds otherwise where a value lies between two levels.
    assert np.mean(np.array(differences) > 1e-4) < 0.2


def test_a_wrong_list_of_classes_is_refused() -> None:
    check_classes(coco_labels(), "weights")
    check_classes(dict(enumerate(CLASSES)), "weights")
    swapped = coco_labels() | {63: "keyboard", 66: "laptop"}
    with pytest.raises(ValueError, match=r"weights .* class 63 is 'keyboard'.*'laptop'"):
        check_classes(swapped, "weights")
    with pytest.raises(ValueError, match="has 81 classes"):
        check_classes(coco_labels() | {80: "banner"}, "weights")


def test_classes_may_have_their_other_names_but_no_other_place() -> None:
    # As transformers' own converter names them: its label file has a sofa.
    labels = {i: DARKNET_NAMES.get(name, name) for i, name in coco_labels().items()}
    assert labels[57] == "sofa"
    check_classes(labels, "weights")
    with pytest.raises(ValueError, match=r"class 4 is 'motorbike'.*'airplane'"):
        check_classes(labels | {4: "motorbike"}, "weights")


def test_a_missing_weight_is_an_error_and_is_not_drawn_at_random(
    weights: Path, tmp_path: Path
) -> None:
    shutil.copytree(weights, tmp_path / "lacking")
    path = tmp_path / "lacking" / "model.safetensors"
    tensors = load_file(path)
    lost = "class_predictor.bias"
    kept = {n: t for n, t in tensors.items() if n != lost}
    save_file(kept, path, {"format": "pt"})
    with pytest.raises(ValueError, match=rf"lacks 1 weights of Mask2Former.*{lost}"):
        Mask2Former(str(tmp_path / "lacking"))


def test_weights_under_the_published_names_give_the_same_objects(
    weights: Path, tmp_path: Path
) -> None:
    shutil.copytree(weights, tmp_path / "published")
    path = tmp_path / "published" / "model.safetensors"
    renamed = {published_name(name): tensor for name, tensor in load_file(path).items()}
    save_file({n: t for n, t in renamed.items() if UNUSED not in n}, path, {"format": "pt"})
    for one, other in zip(
        Mask2Former(str(weights)).detect(NOISE),
        Mask2Former(str(path.parent)).detect(NOISE),
        strict=True,
    ):
        assert torch.equal(one, other)


def published_name(name: str) -> str:
    """A weight's name as transformers had it when the published weights were converted."""
    if ".pixel_level_module.encoder." not in name:
        return name
    for new, old in PUBLISHED_NAMES.items():
        name = name.replace(new, old)
    return name


def test_the_same_image_gets_the_same_objects_and_colours_to_the_last_bit(
    weights: Path, small_clip: Path
) -> None:
    # Two loads: what is drawn at random cannot be the same in both.
    first, again = (Mask2Former(str(weights)).detect(NOISE) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    colors = ClipColors(str(small_clip), SMALL_CLIP)
    crops = [cut_out(NOISE, first.masks[row], first.boxes[row]) for row in range(8)]
    features = [colors._encode_images(crops) for _ in range(2)]
    assert torch.equal(*features)


def test_the_detector_runs_on_images_of_any_shape(weights: Path) -> None:
    detector = Mask2Former(str(weights))
    pixels = np.random.default_rng(0).integers(0, 255, (40, 64, 3), dtype=np.uint8)
    found = detector.detect(Image.fromarray(pixels))
    assert found.masks.shape == (100, 40, 64)
    assert bool((found.scores <= 1).all()) and bool((found.scores >= 0).all())
    detections, members = by_class(found)
    assert sum(len(rows) for rows in detections.values()) == 100
    for name, rows in members.items():
        np.testing.assert_array_equal(detections[name][:, 4], found.scores[rows].numpy())
    other = Mask2Former(str(weights), postprocessing="transformers").detect(Image.fromarray(pixels))
    assert other.masks.shape[1:] == (40, 64)


def test_an_unknown_post_processing_is_refused(weights: Path) -> None:
    with pytest.raises(ValueError, match="post-processing 'mmdet2'"):
        Mask2Former(str(weights), postprocessing="mmdet2")  # type: ignore[arg-type]


def test_a_repository_needs_a_commit() -> None:
    with pytest.raises(ValueError, match="revision '' of facebook/mask2former is no commit"):
        Mask2Former("facebook/mask2former")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"detector": "facebook/mask2former", "clip": "no.pt"},
            "revision '' of facebook/mask2former is no commit",
        ),
        ({"detector": ".", "clip": "no.pt"}, r"weight file no\.pt is missing"),
        ({"detector": ".", "clip": "openai"}, "weight file openai is missing"),
        ({"detector": ".", "clip": "https://host/clip.pt"}, "no '#sha256='.*sha256sum"),
        ({"detector": ".", "clip": "no.pt", "postprocessing": "mmdt"}, "post-processing 'mmdt'"),
    ],
)
def test_a_scorer_that_cannot_run_is_found_before_any_image(
    arguments: dict[str, str], message: str
) -> None:
    benchmark = BenchmarkSpec(
        "geneval",
        "harness.benchmarks.geneval_coco:GenEval",
        1,
        metric="geneval_correct",
        arguments=arguments,
    )
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        check_benchmark(benchmark)


def test_an_object_is_cut_out_on_grey() -> None:
    image = Image.new("RGB", (8, 6), "red")
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[2:4, 3:6] = True
    cut = cut_out(image, mask, torch.tensor([2.0, 1.0, 7.0, 5.0]))
    assert cut.size == (5, 4)
    assert cut.getpixel((1, 1)) == (255, 0, 0)
    assert cut.getpixel((0, 0)) == (0x99, 0x99, 0x99)


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    config = path.with_name(f"{SMALL_CLIP}.json")
    config.write_text(json.dumps(SMALL_CLIP_CONFIG))
    open_clip.add_model_config(config)
    save_file(open_clip.create_model(SMALL_CLIP).state_dict(), path)
    return path


def test_colours_are_the_nearest_of_mean_text_features(small_clip: Path) -> None:
    import open_clip

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 64, 3), dtype=np.uint8))
    masks = torch.ones(2, 40, 64, dtype=torch.bool)
    boxes = torch.tensor([[0.0, 0.0, 32.0, 40.0], [20.0, 5.0, 60.0, 30.0]])
    found = Instances(torch.ones(2), torch.zeros(2, dtype=torch.long), boxes, masks)
    colors = ClipColors(str(small_clip), SMALL_CLIP)
    labels = colors.classify(image, "tv remote", found, [1, 0])

    model, _, transform = open_clip.create_model_and_transforms(
        SMALL_CLIP, pretrained=str(small_clip)
    )
    model.eval()
    tokenizer = open_clip.get_tokenizer(SMALL_CLIP)
    expected = []
    with torch.no_grad():
        for box in ((20, 5, 60, 30), (0, 0, 32, 40)):
            pixels = transform(image.crop(box))[None]
            feature = functional.normalize(model.encode_image(pixels), dim=-1)[0]
            cosines = []
            for color in COLORS:
                texts = [
                    f"a photo of a {color} tv remote",
                    f"a photo of a {color}-colored tv remote",
                    f"a photo of a {color} object",
                ]
                rows = functional.normalize(model.encode_text(tokenizer(texts)), dim=-1)
                cosines.append(float(functional.normalize(rows.mean(0), dim=0) @ feature))
            expected.append(COLORS[int(np.argmax(cosines))])
    assert labels == expected


def test_missing_clip_weights_are_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt is missing"):
        ClipColors("nowhere.pt")


def test_an_image_is_judged_by_detector_and_colours_together(
    weights: Path, small_clip: Path
) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    metadata = {
        "tag": "colors",
        "include": [{"class": "zebra", "count": 1, "color": "red"}],
        "prompt": "a photo of a red zebra",
    }
    detector, colors = Mask2Former(str(weights)), ClipColors(str(small_clip), SMALL_CLIP)
    decision = judge_image(image, metadata, detector, colors)
    # Random weights are never sure of anything.
    assert not decision.correct
    assert decision.reason == "expected zebra>=1, found 0"
    pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None] / 255
    benchmark = GenEval(str(weights), str(small_clip))
    (scored,) = benchmark.score(pixels, [Prompt("a", "a zebra", "colors", metadata)])
    assert scored == {"geneval_correct": Score(0.0, decision.reason)}


def test_an_image_that_stands_beside_itself_is_looked_at_once(
    weights: Path, small_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Image.Image] = []
    monkeypatch.setattr(Mask2Former, "detect", lambda _, image: looked.append(image) or NOTHING)
    names = ("zebra", "bus", "bus")
    metadata = [{"tag": "single_object", "include": [{"class": n, "count": 1}]} for n in names]
    asked = [Prompt("a", "a thing", "single_object", record) for record in metadata]
    pixels = np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)[[0, 0, 1]]
    scored = GenEval(str(weights), str(small_clip)).score(pixels, asked)
    assert [of_image["geneval_correct"].detail for of_image in scored] == [
        f"expected {name}>=1, found 0" for name in ("zebra", "bus", "bus")
    ]
    assert len(looked) == 2


NOTHING = Instances(
    torch.zeros(0),
    torch.zeros(0, dtype=torch.long),
    torch.zeros(0, 4),
    torch.zeros(0, 32, 32, dtype=torch.bool),
)


def test_a_folder_in_genevals_layout_is_judged_by_detector_and_colours(
    weights: Path, small_clip: Path, tmp_path: Path
) -> None:
    record = {
        "tag": "single_object",
        "include": [{"class": "zebra", "count": 1}],
        "prompt": "a photo of a zebra",
    }
    samples = tmp_path / "images" / "00000" / "samples"
    samples.mkdir(parents=True)
    (samples.parent / "metadata.jsonl").write_text(json.dumps(record))
    Image.new("L", (40, 24)).save(samples / "0000.png")
    out = tmp_path / "results.jsonl"
    options = ["--detector", str(weights), "--clip", str(small_clip), "--out", str(out)]
    assert main(["geneval", str(tmp_path / "images"), *options]) == 0
    (result,) = read_results(out)
    assert (result.correct, result.reason) == (False, "expected zebra>=1, found 0")
    assert json.loads(result.metadata) == record
