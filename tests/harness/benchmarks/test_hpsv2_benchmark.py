"""HPSv2's benchmark: its prompts and the table of its styles."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.analysis.pairing import FrameError
from harness.benchmarks import hpsv2
from harness.build import data_files
from harness.build.prompts import load_prompts
from harness.experiment.components import PromptsSpec

SPEC = PromptsSpec("harness.benchmarks.hpsv2:prompts")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two prompts of each style in the published form, under their own hashes."""
    (tmp_path / "hpsv2").mkdir()
    hashes = {}
    for style in hpsv2.STYLES:
        contents = json.dumps([f"{style} of a fox", "the same in all"]).encode()
        (tmp_path / "hpsv2" / f"{style}.json").write_bytes(contents)
        hashes[style] = hashlib.sha256(contents).hexdigest()
    monkeypatch.setattr(hpsv2, "_SHA256", hashes)
    monkeypatch.setattr(hpsv2, "N_PROMPTS", 2)
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    return tmp_path


def test_prompts_are_read_style_by_style(folder: Path) -> None:
    found = load_prompts(SPEC)
    assert [prompt.task for prompt in found] == [s for s in hpsv2.STYLES for _ in range(2)]
    assert found[2].prompt_id == "concept-art_0000"
    assert found[2].text == "concept-art of a fox"


def test_a_file_with_other_prompts_is_refused_with_both_hashes(folder: Path) -> None:
    path = folder / "hpsv2" / "photo.json"
    path.write_text('["another"]')
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"{found}.*{hpsv2._SHA256['photo']}"):
        load_prompts(SPEC)


@pytest.mark.parametrize(
    ("contents", "message"),
    [('["a"]', "has 1 prompts, not 2"), ('{"a": 1}', "is no list of texts")],
)
def test_a_file_of_another_form_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, contents: str, message: str
) -> None:
    (folder / "hpsv2" / "anime.json").write_text(contents)
    monkeypatch.setitem(hpsv2._SHA256, "anime", hashlib.sha256(contents.encode()).hexdigest())
    with pytest.raises(ValueError, match=message):
        load_prompts(SPEC)


def test_the_published_files_are_pinned_to_the_hubs_data_set() -> None:
    file = hpsv2._file("photo")
    assert file.url == (
        "https://huggingface.co/datasets/zhwang/HPDv2/resolve/"
        "b9517430f34b1080d4f741118d2a440155a165cd/benchmark/photo.json"
    )


def scores(method: str, offset: float) -> list[dict[str, Any]]:
    return [
        {
            "model": "m", "method": method, "reward": "", "steps": 1, "metric": "hpsv2_1",
            "task": style, "prompt_id": f"{style}_{i}", "image_index": 0,
            "value": offset + 0.01 * number + 0.002 * i,
        }
        for number, style in enumerate(hpsv2.STYLES)
        for i in range(2)
    ]  # fmt: skip


def test_styles_count_the_same_in_the_mean() -> None:
    rows = [*scores("base", 0.25), *scores("reno", 0.3)]
    extra = {**rows[0], "prompt_id": "anime_9", "value": 0.27}
    rows += [extra, {**extra, "method": "reno"}]
    found = hpsv2.table(pd.DataFrame(rows), methods=["reno", "base"])
    assert found["method"].tolist() == ["reno", "base"]
    base = found.iloc[1]
    anime = (0.25 + 0.252 + 0.27) / 3
    assert base["hpsv2_1_anime_mean"] == pytest.approx(anime)
    assert base["hpsv2_1_photo_mean"] == pytest.approx(0.281)
    assert base["hpsv2_1_mean"] == pytest.approx((anime + 0.261 + 0.271 + 0.281) / 4)
    assert base["n_images"] == 9


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*scores("base", 0), *scores("reno", 0)[1:]], "not scored for every method: anime_0 0"),
        (scores("base", 0)[:-2], "no image of photo"),
        ([row | {"task": "oil"} for row in scores("base", 0)], "tasks oil are no styles"),
        ([row | {"metric": "judge"} for row in scores("base", 0)], "name it among the config's"),
    ],
)
def test_incomplete_scores_make_no_table(rows: list[Any], message: str) -> None:
    with pytest.raises(FrameError, match=message):
        hpsv2.table(pd.DataFrame(rows))
