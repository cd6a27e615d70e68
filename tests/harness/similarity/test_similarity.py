"""Comparisons of images in pairs, against their originals, and the table that is made of them."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import lpips  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from harness_toys import BENCHMARK, MeanColour, made_images
from parity.pairs import photographs
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from harness.cli.command_line import main
from harness.experiment.components import SimilaritySpec
from harness.experiment.jobs import PairsJob
from harness.experiment.validation import to_json
from harness.results import frames
from harness.similarity.dinov2 import DinoV2, prepare
from harness.similarity.lpips import Lpips
from harness.similarity.matcher import MatcherDistance, MatcherSimilarity
from harness.stages import compare_images
from hypernoise.shapeworld.captions import captions
from hypernoise.shapeworld.scenes import lay_out, noise_features, render_batch

SMALL_DINO = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}


def photo_tensors(size: tuple[int, int]) -> Tensor:
    """Photographs [N, 3, H, W] in [0, 1] of one size."""
    resized = [p.convert("RGB").resize(size[::-1]) for p in photographs().values()]
    return torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in resized]) / 255


@pytest.fixture(scope="module")
def original() -> Any:
    """The package's own LPIPS on a random AlexNet, with the linear weights that it ships."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        # The package asks torchvision for its network in words that are deprecated.
        warnings.simplefilter("ignore", UserWarning)
        return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)


@pytest.fixture(scope="module")
def alexnet(original: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its AlexNet in torchvision's names."""
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.safetensors"
    state = original.net.state_dict()
    save_file({f"features.{name.partition('.')[2]}": v for name, v in state.items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    torch.manual_seed(0)
    network: Any = Dinov2Model(Dinov2Config(**SMALL_DINO)).eval()
    # Fresh weights make nearly equal vectors of all images.
    for value in network.parameters():
        value.data.normal_(0, 0.3)
    path = tmp_path_factory.mktemp("dino") / "dino.safetensors"
    save_file(network.state_dict(), path)
    return str(path), network


@pytest.mark.parametrize("size", [(64, 64), (75, 113)])
def test_lpips_is_the_packages(original: Any, alexnet: str, size: tuple[int, int]) -> None:
    images = photo_tensors(size)
    ours = compare_images.all_pairs(Lpips(alexnet), Lpips(alexnet).embed(images))
    with torch.no_grad():
        theirs = [
            original(images[i : i + 1], images[j : j + 1], normalize=True).item()
            for i, j in combinations(range(len(images)), 2)
        ]
    assert len(theirs) == 28
    assert max(theirs) > 2 * min(theirs) > 0
    # The square root and the square of each weight are rounded, and sums have another order.
    torch.testing.assert_close(ours, torch.tensor(theirs), rtol=2e-5, atol=1e-7)


def test_dinov2_is_transformers_own_on_photographs(dino: tuple[str, Any]) -> None:
    weights, network = dino
    photos = [p.convert("RGB") for p in photographs().values()]
    processor = BitImageProcessor(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}, resample=3,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    comparison = DinoV2(weights, SMALL_DINO)
    for photo in photos:
        pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 255
        theirs = processor(photo, return_tensors="pt")["pixel_values"]
        # PIL rounds to 8 bits and clips after each pass of a resize: more at sharp edges.
        levels = (prepare(pixels) - theirs).abs() * 0.229 * 255
        assert float(levels.max()) < 8
        assert float(levels.mean()) < 0.5
        with torch.no_grad():
            vector = network(pixel_values=prepare(pixels)).pooler_output
        expected = torch.nn.functional.normalize(vector, dim=-1)
        torch.testing.assert_close(comparison.embed(pixels), expected)


def test_dinov2_similarities_are_cosines(dino: tuple[str, Any]) -> None:
    comparison = DinoV2(dino[0], SMALL_DINO)
    vectors = comparison.embed(photo_tensors((64, 64))[:3])
    expected = torch.nn.functional.cosine_similarity(vectors[[0, 0, 1]], vectors[[1, 2, 2]])
    values = compare_images.all_pairs(comparison, vectors)
    torch.testing.assert_close(values, expected)
    assert float(values.max() - values.min()) > 0.01


@pytest.fixture(params=["lpips", "dino", "distance", "similarity"])
def comparison(request: pytest.FixtureRequest) -> Any:
    if request.param == "lpips":
        return Lpips(request.getfixturevalue("alexnet"))
    if request.param == "dino":
        return DinoV2(request.getfixturevalue("dino")[0], SMALL_DINO)
    return MatcherDistance() if request.param == "distance" else MatcherSimilarity()


def test_an_image_embeds_the_same_alone_and_in_a_batch(comparison: Any) -> None:
    images = photo_tensors((32, 32))[:3]
    alone = torch.cat([comparison.embed(image[None]) for image in images])
    torch.testing.assert_close(comparison.embed(images), alone, atol=2e-6, rtol=1e-4)


def test_comparisons_are_symmetric_and_extreme_for_the_same_image(comparison: Any) -> None:
    first, other = comparison.embed(photo_tensors((32, 32))[:2])
    one, two = comparison.compare(first, torch.stack([first, other]))
    torch.testing.assert_close(comparison.compare(other, first[None])[0], two)
    is_distance = isinstance(comparison, Lpips | MatcherDistance)
    assert float(one) == pytest.approx(0.0 if is_distance else 1.0, abs=1e-5)
    assert (two > one) if is_distance else (two < one)


def test_a_faded_scene_is_nearer_to_the_matchers_than_another_one() -> None:
    chosen = [c for c in captions("evaluation") if c.task == "color_attr"][:4]
    noise = noise_features(torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
    pairs = zip(chosen, noise.numpy(), strict=True)
    scenes = render_batch([lay_out(caption, features) for caption, features in pairs])
    for comparison, sign in ((MatcherDistance(), 1), (MatcherSimilarity(), -1)):
        vectors = comparison.embed(scenes)
        faded = comparison.embed(0.9 * scenes + 0.05)
        near = [comparison.compare(v, f[None]) for v, f in zip(vectors, faded, strict=True)]
        others = compare_images.all_pairs(comparison, vectors)
        assert (sign * others).min() > (sign * torch.cat(near)).max()


MEAN = {"mean_distance": SimilaritySpec("harness_toys:MeanColour")}


def test_there_is_a_row_for_every_pair_of_a_prompts_images(tmp_path: Path) -> None:
    images = made_images(tmp_path, benchmark=replace(BENCHMARK, n_images=4))
    MeanColour.embedded = 0
    job = PairsJob(MEAN, (images,), str(tmp_path / "pairs.parquet"), batch_size=3)
    assert main(["pairs", "--job", to_json(job)]) == 0
    found = frames.read(job.out, "pairs")
    assert MeanColour.embedded == 12
    expected = list(combinations(range(4), 2))
    for _, rows in found.groupby("prompt_id"):
        assert list(zip(rows["image_index"], rows["other_index"], strict=True)) == expected
    assert len(found) == 3 * 6
    row = found.iloc[4]
    made = frames.read(images, "images")
    own = made[made["prompt_id"] == row["prompt_id"]].set_index("image_index")["path"]
    one, two = (
        np.asarray(Image.open(Path(images).parent / own[row[name]])).mean(axis=(0, 1)) / 255
        for name in ("image_index", "other_index")
    )
    assert row["value"] == pytest.approx(((one - two) ** 2).sum(), rel=1e-4)


def test_pairs_do_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    images = made_images(tmp_path, benchmark=replace(BENCHMARK, n_images=3))
    values = []
    for size in (1, 2, 16):
        job = PairsJob(MEAN, (images,), str(tmp_path / f"{size}.parquet"), batch_size=size)
        compare_images.run(job)
        values.append(frames.read(job.out, "pairs")["value"].to_numpy())
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5)
    np.testing.assert_allclose(values[2], values[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("comparisons", "message"),
    [
        ({}, "at least one is needed"),
        ({"lpips": MEAN["mean_distance"]}, "'lpips' of pairs must end in _distance or"),
        ({"a_distance": SimilaritySpec("harness_toys:MeanColor")}, "did you mean 'MeanColour'"),
        ({"a_distance": SimilaritySpec("harness_toys:MeanColour", {"n": 1})}, "'n'"),
        (
            {"a_distance": SimilaritySpec("harness.similarity.lpips:Lpips", {"weights": "a.pt"})},
            "a.pt is missing",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_loaded(
    tmp_path: Path, comparisons: dict[str, SimilaritySpec], message: str
) -> None:
    images = made_images(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        compare_images.check(PairsJob(comparisons, (images,), "out.parquet"))


def test_one_image_is_no_pair(tmp_path: Path) -> None:
    images = made_images(tmp_path, benchmark=replace(BENCHMARK, n_images=1))
    with pytest.raises(ValueError, match=r"one image of .*toy-0.*: a pair needs two"):
        compare_images.check(PairsJob(MEAN, (images,), "out.parquet"))


def test_weights_of_another_network_are_refused(tmp_path: Path, dino: tuple[str, Any]) -> None:
    save_file({"features.0.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"have no slice1\.0\.weight of the shape \(64, 3, 11, 11"):
        Lpips(str(tmp_path / "w.safetensors"))
    with pytest.raises(ValueError, match="do not fit Dinov2Model"):
        DinoV2(dino[0])


def test_a_job_survives_json() -> None:
    job = PairsJob(MEAN, ("a/images.parquet",), "out.parquet")
    assert json.loads(to_json(job))["comparisons"]["mean_distance"]["arguments"] == {}
