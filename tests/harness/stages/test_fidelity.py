"""The distances of a method's images: the verb, its cache, its table, and the networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from harness_toys import BENCHMARK, MeanColour, made_images
from parity.pairs import photographs
from PIL import Image
from toys import build_generator, encode

from harness.analysis.fidelity import fidelity as table_of
from harness.cli.command_line import main
from harness.experiment.components import SimilaritySpec
from harness.experiment.fidelity_job import FidelityJob
from harness.experiment.validation import to_json
from harness.results import frames
from harness.similarity import features
from harness.similarity.feature_distances import DISTANCES
from harness.stages import fidelity
from hypernoise.methods.base import Base
from hypernoise.methods.protocol import Request
from hypernoise.noise import draws
from hypernoise.weights.stand_ins import Shelf

MEAN = {"colour": SimilaritySpec("harness_toys:MeanColour")}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("images")
    return made_images(folder, benchmark=replace(BENCHMARK, n_images=4))


def job_of(images: str, folder: Path, **changes: Any) -> FidelityJob:
    given = {"features": MEAN, "images": (images,), "reference": (images,), **changes}
    return FidelityJob(**given, out=str(folder / "distances.parquet"), work=str(folder / "work"))


def test_each_distance_is_of_the_images_features_and_no_image_is_embedded_twice(
    images: str, tmp_path: Path
) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(5):
        # Of several sizes, as photographs are.
        pixels = rng.integers(0, 255, (8 + n, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    job = job_of(images, tmp_path, reference_images=str(folder), batch_size=3)
    MeanColour.embedded = 0
    assert main(["fidelity", "--job", to_json(job)]) == 0
    assert MeanColour.embedded == 12 + 5
    found = frames.read(job.out, "distances").set_index(["reference", "metric"])
    rows = fidelity.check(job)[0]
    network = MeanColour()

    def embedded(paths: list[Path]) -> np.ndarray:
        each = [torch.from_numpy(np.asarray(Image.open(p)).copy()).permute(2, 0, 1) for p in paths]
        return np.concatenate([network.embed(image[None] / 255).numpy() for image in each])

    own = embedded([Path(path) for path in rows["path"]])
    real = embedded(sorted(folder.iterdir()))
    for metric, distance in DISTANCES.items():
        row = found.loc[(str(folder), metric)]
        assert row["value"] == pytest.approx(distance(own, real), rel=1e-3, abs=1e-4)
        assert (row["n_images"], row["n_reference"], row["n_dimensions"]) == (12, 5, 3)
    assert found.loc[("toy_method", "precision"), "value"] == 1.0
    MeanColour.embedded = 0
    fidelity.run(job)
    assert MeanColour.embedded == 0
    pd.testing.assert_frame_equal(
        frames.read(job.out, "distances").set_index(["reference", "metric"]), found
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {}}, "config key 'features' names none"),
        ({"features": {"a": SimilaritySpec("harness_toys:MeanColor")}}, "did you mean"),
        ({"reference_images": "nowhere"}, "'nowhere': 0 images there, 4 or more are needed"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_loaded(
    images: str, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fidelity.check(job_of(images, tmp_path, **changes))


def test_a_method_with_too_few_images_is_named(tmp_path: Path) -> None:
    few = made_images(tmp_path, benchmark=replace(BENCHMARK, n_images=1))
    with pytest.raises(ValueError, match=r"3 images of .*toy_method.*: distances need 4 or more"):
        fidelity.check(job_of(few, tmp_path))


def test_another_draw_is_other_noise_of_the_same_image_whatever_the_batch() -> None:
    generator = build_generator("tiny_flux")
    asked = draws(0, [("p", 0), ("p", 1), ("q", 0)], generator.noise_shape, "cpu")

    def noise_of(draw: int, rows: slice) -> torch.Tensor:
        noise, seeds = asked.noise[rows], asked.seeds[rows]
        encoded = encode(generator, len(noise))
        return Base(draw).run(Request(generator, encoded, noise, seeds)).noise

    whole = slice(None)
    torch.testing.assert_close(noise_of(0, whole), asked.noise)
    other = noise_of(1, whole)
    cosines = torch.cosine_similarity(other.flatten(1), asked.noise.flatten(1))
    assert float(cosines.abs().max()) < 0.5
    assert not torch.equal(other, noise_of(2, whole))
    torch.testing.assert_close(noise_of(1, slice(1, 2)), other[1:2])
    with pytest.raises(ValueError, match="draw is -1"):
        Base(-1)


def test_a_network_that_is_installed_as_a_package_knows_a_cat_and_a_cup_of_coffee() -> None:
    network = features.EfficientNetLite0()
    photos = [
        photographs()[name].convert("RGB").resize((224, 224)) for name in ("chelsea", "coffee")
    ]
    pixels = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in photos]) / 255
    classes = network.classify(pixels).argmax(dim=1).tolist()
    # ImageNet's cats are 281 to 285; 967 is espresso.
    assert classes[0] in range(281, 286)
    assert classes[1] == 967
    assert network.embed(pixels).shape == (2, 1280)


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        (features.DinoV2Features, "hf://facebook/dinov2-base@" + "0" * 40 + "/model.safetensors"),
        (features.ClipFeatures, "hf://a/b@" + "0" * 40 + "/open_clip_model.safetensors"),
    ],
)
def test_a_published_network_has_a_stand_in_and_gives_each_image_a_vector_of_its_own(
    kind: Any, weights: str, tmp_path: Path
) -> None:
    given = kind.stand_in(Shelf(tmp_path), weights=weights, architecture="ViT-H-14")
    # As if it had been downloaded: the hub's cache is chosen when a process starts.
    (laid,) = [path for path in tmp_path.rglob("*.safetensors") if path.is_file()]
    network = kind(**{**given, "weights": str(laid)})
    pixels = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    found = network.embed(pixels)
    torch.testing.assert_close(network.embed(pixels[1:]), found[1:], atol=1e-5, rtol=1e-4)
    assert found.shape[0] == 2
    is_unit = torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-4)
    assert is_unit == (kind is features.ClipFeatures)


def test_the_embedded_worlds_networks_tell_noise_from_scenes() -> None:
    grey = torch.full((1, 3, 32, 32), 0.95)
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for kind in (features.MatcherFeatures, features.RecogniserFeatures):
        one, two = kind().embed(torch.cat([grey, noise]))
        assert float((one - two).norm()) > 0.1 * float(one.norm())


def test_the_table_has_a_row_for_each_network_with_intervals_that_shares_keep_to() -> None:
    identity = {"model": "m", "reward": "", "benchmark": "b", "steps": 1, "features": "f"}
    sizes = {"n_groups": 6, "n_images": 8, "n_reference": 8, "n_dimensions": 3}
    rows = [
        {**identity, **sizes, "method": method, "reference": "base:draw=1", "metric": metric}
        | {"value": 1.0, "se": 0.5}
        for method in ("base", "reno")
        for metric in DISTANCES
    ]
    found = table_of(pd.DataFrame(rows).assign(training_seed=None))
    assert found["method"].to_list() == ["base", "reno"]
    row = found.iloc[0]
    # Student's t of 5 degrees of freedom.
    assert row["kid_ci_low"] == pytest.approx(1 - 2.5706 * 0.5, abs=1e-3)
    assert (row["frechet_ci_low"], row["precision_ci_high"]) == (0.0, 1.0)
