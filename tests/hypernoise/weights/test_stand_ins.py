"""Stand-ins lie where downloads would, in the formats and under the names of the real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import REPOSITORY

from harness.base.import_strings import resolve
from harness.experiment.component_files import declared
from hypernoise.rewards.imagereward import ImageReward, published_names, renamed
from hypernoise.weights.pinned_files import PinnedFile, read
from hypernoise.weights.pins import HUB_FILE
from hypernoise.weights.stand_ins import Shelf

COMMIT = "0123456789" * 4
REGISTRY = declared(REPOSITORY / "workflows")
MODELS = (
    "sd_turbo",
    "sdxl_turbo",
    "sana_sprint_0_6b",
    "flux_schnell",
    "sd3_5_large_turbo",
    "pixart_alpha_dmd",
    "flux2_klein_4b",
    "z_image_turbo",
    "sd3_5_medium_turbo",
    "qwen_image_lightning_4steps",
    "hyper_sdxl",
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def on(shelf: Shelf, place: str) -> Path:
    """Where a shelf has a file of the hub."""
    found = HUB_FILE.fullmatch(place.partition("#")[0])
    assert found
    return shelf.repository(found["repository"], found["revision"]) / found["path"]


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_file_has_the_hash_that_its_place_names_and_the_format_that_its_name_says(
    shelf: Shelf, ending: str
) -> None:
    place = shelf.file(f"hf://a/b@{COMMIT}/weights.{ending}", {"weight": torch.ones(2)})
    file = on(shelf, place)
    PinnedFile(str(file), PinnedFile.parse(place).sha256).fetch()
    assert read(file)["weight"].tolist() == [1, 1]
    # Archives of PyTorch begin as zip files do.
    assert (file.read_bytes()[:2] == b"PK") == (ending == "pt")


def test_a_file_of_the_web_is_found_in_torchs_cache(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shelf.file("https://example.org/weights.pth", {"weight": torch.ones(2)})
    monkeypatch.setenv("TORCH_HOME", shelf.environment["TORCH_HOME"])
    assert read(PinnedFile.parse(place).fetch())["weight"].tolist() == [1, 1]


def test_a_place_without_a_commit_gets_a_made_up_one_each_time_the_same(shelf: Shelf) -> None:
    places = {shelf.file("hf://a/b/words.txt", b"yes") for _ in range(2)}
    assert len(places) == 1
    PinnedFile.parse(places.pop())


@pytest.mark.parametrize("name", MODELS)
def test_a_family_draws_from_its_stand_in_as_from_a_download(shelf: Shelf, name: str) -> None:
    spec = REGISTRY.models[name]
    family = resolve(spec.target)
    given: dict[str, Any] = {"weights": spec.weights, "revision": spec.revision}
    changed = family.stand_in(shelf, architecture=spec.architecture, **given, **spec.arguments)
    folder = shelf.repository(spec.weights, spec.revision)
    arguments = {**spec.arguments, "size_px": changed["size_px"], "weights": str(folder)}
    arguments["dtype"] = getattr(torch, arguments["dtype"])
    if "lora" in changed:
        arguments["lora"] = str(on(shelf, changed["lora"]))
    # A folder has no commit; the distilled repository's part is looked at below.
    distilled = arguments.pop("distilled", ""), arguments.pop("distilled_revision", "")
    generator = family(**arguments)
    with torch.no_grad():
        conditioning = generator.encode(["a red cat"])
        noise = torch.randn(1, *generator.noise_shape)
        images = generator.sample(noise, conditioning, 1, [0])
    assert images.shape == (1, 3, changed["size_px"], changed["size_px"])
    assert images.isfinite().all()
    assert images.std() > 0
    if all(distilled):
        assert (shelf.repository(*distilled) / "transformer" / "config.json").is_file()


def test_large_networks_are_in_several_files(shelf: Shelf) -> None:
    spec = REGISTRY.models["sana_sprint_0_6b"]
    resolve(spec.target).stand_in(
        shelf, weights=spec.weights, revision=spec.revision, architecture=spec.architecture
    )
    folder = shelf.repository(spec.weights, spec.revision) / "vae"
    (index,) = folder.glob("*.index.json")
    assert len(set(json.loads(index.read_text())["weight_map"].values())) > 1


def test_a_family_without_an_architecture_says_what_its_stand_in_lacks(shelf: Shelf) -> None:
    family = resolve(REGISTRY.models["sd_turbo"].target)
    with pytest.raises(ValueError, match=r"a/b: .*`architecture`"):
        family.stand_in(shelf, weights="a/b", revision=COMMIT)


def test_imagerewards_stand_in_has_the_published_names_and_sees_the_image(shelf: Shelf) -> None:
    changed = ImageReward.stand_in(
        shelf, weights=f"hf://a/b@{COMMIT}/reward.pt", vocabulary=f"hf://a/b@{COMMIT}/vocab.txt"
    )
    files = {name: str(on(shelf, changed[name])) for name in ("weights", "vocabulary")}
    saved = read(Path(files["weights"]))
    assert {"blip.visual_encoder.cls_token", "mlp.layers.7.bias"} <= saved.keys()
    assert list(published_names(renamed(saved))) == list(saved)
    reward = ImageReward(**{**changed, **files})
    shades = torch.tensor([0.1, 0.9]).view(2, 1, 1, 1).expand(2, 3, 32, 32)
    with torch.no_grad():
        first, second = reward.score(shades, reward.encode(["a cat", "a cat"])).tolist()
    assert first != second
