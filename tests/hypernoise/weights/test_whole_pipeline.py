"""What a pipeline's folder lacks is named before anything is loaded from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import REPOSITORY
from safetensors.torch import load_file, save_file

from harness.base.errors import SpecError
from harness.build.generators import check_generator
from harness.experiment.components import ModelSpec

SHIPPED = REPOSITORY / "hypernoise" / "shapeworld" / "weights"
TARGETS = {
    "tiny_sd": "unet:SdTurbo",
    "tiny_sana": "sana:SanaSprint",
    "tiny_flux": "flux:FluxSchnell",
}


def check(folder: Path, family: str = "tiny_sd", **arguments: object) -> None:
    target = f"hypernoise.models.{TARGETS[family]}"
    place = {"weights": str(folder), "size_px": 32, "version": 1}
    check_generator(ModelSpec("mine", target=target, arguments=arguments, **place))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "tiny_sd", tmp_path / "tiny_sd"))


@pytest.mark.parametrize("family", TARGETS)
def test_what_is_shipped_is_whole(family: str) -> None:
    check(SHIPPED / family, family)


@pytest.mark.parametrize(
    ("part", "weight"),
    [
        ("text_encoder", "embeddings.position_embedding.weight"),
        ("unet", "add_embedding.pool.v_proj.weight"),
        ("vae", "decoder.conv_norm_out.weight"),
    ],
)
def test_a_weight_that_a_file_lacks_is_named(copy: Path, part: str, weight: str) -> None:
    (file,) = (copy / part).glob("*.safetensors")
    weights = load_file(file)
    # The shipped UNet has no such layer: any other does.
    name = next((key for key in weights if key.endswith(weight)), min(weights))
    del weights[name]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{part} lacks 1 weights of .*{name}"):
        check(copy)


def rename(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))


def empty_tokenizer(folder: Path) -> None:
    for path in (folder / "tokenizer").iterdir():
        path.unlink()


def cut_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def cut_config(folder: Path) -> None:
    (folder / "unet" / "config.json").write_text('{"a": ')


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (rename, r"has no weights without a variant: say variant=\"fp16\""),
    (empty_tokenizer, "tokenizer has no vocabulary"),
    (cut_index, r"model_index\.json is no JSON, or cut off"),
    (cut_config, r"unet/config\.json is no JSON, or cut off"),
    (lambda f: (f / "unet" / "config.json").unlink(), r"unet/config\.json is missing"),
    (lambda f: (f / "vae" / "config.json").unlink(), r"vae/config\.json is missing"),
    (
        lambda f: (f / "scheduler" / "scheduler_config.json").unlink(),
        "scheduler_config.json is mis",
    ),
    (lambda f: (f / "scheduler" / "scheduler_config.json").write_bytes(b"\xe9"), "not UTF-8"),
]


@pytest.mark.parametrize(("damage", "said"), FAULTS)
def test_a_file_that_is_missing_or_broken_is_named_before_loading(
    copy: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(copy)
    with pytest.raises((ValueError, FileNotFoundError), match=f"weights of model 'mine': .*{said}"):
        check(copy)


def test_a_variant_is_one_that_is_there(copy: Path) -> None:
    with pytest.raises(ValueError, match="has no files of the variant 'fp16': leave it out"):
        check(copy, variant="fp16")
    rename(copy)
    check(copy, variant="fp16")


@pytest.mark.parametrize(("family", "other"), [(a, b) for a in TARGETS for b in TARGETS if a != b])
def test_a_folder_of_another_family_is_refused(family: str, other: str) -> None:
    with pytest.raises(ValueError, match=rf"{other} is a \w+Pipeline, wh"):
        check(SHIPPED / other, family)


def test_a_byte_order_mark_before_a_config_is_read_over(copy: Path) -> None:
    index = copy / "model_index.json"
    index.write_bytes(b"\xef\xbb\xbf" + index.read_bytes())
    check(copy)


def test_an_argument_that_is_no_families_is_still_refused_first(copy: Path) -> None:
    with pytest.raises(SpecError, match="variannt"):
        check(copy, variannt="fp16")
