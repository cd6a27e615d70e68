from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hypernoise.models.unet import SdTurbo
from hypernoise.weights.folders import check_file, check_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline folder with one model, one tokenizer and one component that is left out."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
        "requires_safety_checker": False,
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name in ("unet", "tokenizer"):
        (tmp_path / name).mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    save_file({"weight": torch.ones(100)}, tmp_path / "unet" / "model.safetensors")
    return tmp_path


def test_a_whole_folder_passes(folder: Path) -> None:
    check_folder(str(folder))


def test_a_folder_without_an_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="model_index"):
        check_folder(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        check_folder(str(tmp_path / "nowhere"))


def test_a_missing_component_is_named(folder: Path) -> None:
    (folder / "tokenizer").rmdir()
    with pytest.raises(FileNotFoundError, match="'tokenizer'"):
        check_folder(str(folder))


def test_a_model_without_weights_is_named(folder: Path) -> None:
    (folder / "unet" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no safetensors weights in .*unet"):
        check_folder(str(folder))


@pytest.mark.parametrize("kept_bytes", [0, 4, 200])
def test_a_truncated_weight_file_is_named_before_anything_loads(
    folder: Path, kept_bytes: int
) -> None:
    path = folder / "unet" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated"):
        check_file(path)
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated"):
        SdTurbo(weights=str(folder))


def test_a_missing_weight_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"matcher\.safetensors is missing"):
        check_file(tmp_path / "matcher.safetensors")


def test_a_missing_relative_folder_is_not_taken_for_a_hub_name() -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder weights/tiny .*needs? a revision"):
        SdTurbo(weights="weights/tiny")


def test_pickled_weights_are_refused_with_the_reason(folder: Path) -> None:
    weights = folder / "unet" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ValueError, match=r"unet has pickled weights only \(pytorch_model\.bin\)"):
        check_folder(str(folder))


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "unet" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match=r"model-2\.safetensors is missing"):
        check_folder(str(folder))
