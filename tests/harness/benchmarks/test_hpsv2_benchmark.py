"""HPSv2's benchmark: its prompts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from harness.benchmarks import hpsv2
from harness.benchmarks.tasks import STYLES
from harness.build import data_files
from harness.build.prompts import load_prompts
from harness.experiment.components import PromptsSpec

SPEC = PromptsSpec("harness.benchmarks.hpsv2:prompts")


def place_of(contents: bytes) -> str:
    """Where a published file of such contents could be."""
    return f"https://example.org/file.json#sha256={hashlib.sha256(contents).hexdigest()}"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two prompts of each style in the published form, under their own hashes."""
    (tmp_path / "hpsv2").mkdir()
    places = {}
    for style in STYLES:
        contents = json.dumps([f"{style} of a fox", "the same in all"]).encode()
        (tmp_path / "hpsv2" / f"{style}.json").write_bytes(contents)
        places[f"hpsv2/{style}.json"] = place_of(contents)
    monkeypatch.setattr(data_files, "places", lambda: places)
    monkeypatch.setattr(hpsv2, "N_PROMPTS", 2)
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    return tmp_path


def test_prompts_are_read_style_by_style(folder: Path) -> None:
    found = load_prompts(SPEC)
    assert [prompt.task for prompt in found] == [s for s in STYLES for _ in range(2)]
    assert found[2].prompt_id == "concept-art_0000"
    assert found[2].text == "concept-art of a fox"


def test_a_file_with_other_prompts_is_refused_with_both_hashes(folder: Path) -> None:
    path = folder / "hpsv2" / "photo.json"
    path.write_text('["another"]')
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = data_files.places()["hpsv2/photo.json"].partition("#sha256=")[2]
    with pytest.raises(ValueError, match=f"{found}.*{expected}"):
        load_prompts(SPEC)


@pytest.mark.parametrize(
    ("contents", "message"),
    [('["a"]', "has 1 prompts, not 2"), ('{"a": 1}', "is no list of texts")],
)
def test_a_file_of_another_form_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, contents: str, message: str
) -> None:
    (folder / "hpsv2" / "anime.json").write_text(contents)
    monkeypatch.setitem(data_files.places(), "hpsv2/anime.json", place_of(contents.encode()))
    with pytest.raises(ValueError, match=message):
        load_prompts(SPEC)


def test_the_published_files_are_pinned_to_the_hubs_data_set() -> None:
    assert data_files.places()["hpsv2/photo.json"].startswith(
        "https://huggingface.co/datasets/zhwang/HPDv2/resolve/"
        "b9517430f34b1080d4f741118d2a440155a165cd/benchmark/photo.json#sha256="
    )
