"""The gallery's data and files; what its page does with them is tested in a browser."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import galleries
import pandas as pd
import pytest
from harness_toys import damage
from paths import REPOSITORY
from PIL import Image

from harness.cli.command_line import main
from harness.cli.verify import verify
from harness.experiment.component_files import declared
from harness.experiment.validation import to_json
from harness.report import gallery, make
from harness.results.results_folder import survey


def data_of(folder: Path) -> dict[str, Any]:
    page = (folder / "index.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    data: dict[str, Any] = json.loads(text)
    return data


def test_the_verb_writes_a_page_images_and_provenance(tmp_path: Path) -> None:
    galleries.frames_in(tmp_path)
    assert main(["gallery", "--job", to_json(galleries.job(tmp_path))]) == 0
    data = data_of(tmp_path / "gallery")
    assert [model["name"] for model in data["models"]] == ["tiny_a", "tiny_b"]
    assert data["metrics"][0] == data["verdict"] == "geneval_correct"
    labels = [column["label"] for column in data["models"][0]["columns"]]
    assert labels == ["base", "hypernoise", "reno"]
    assert sorted(path.name for path in (tmp_path / "gallery").iterdir()) == [
        "images",
        "index.html",
        "provenance.json",
    ]


def test_every_picture_is_its_own_file_byte_for_byte(tmp_path: Path) -> None:
    folder = galleries.made_in(tmp_path)
    data = data_of(folder)
    rows = pd.read_parquet(tmp_path / "images.parquet").set_index(["model", "method"])
    for model in data["models"]:
        for column in model["columns"]:
            own = rows.loc[(model["name"], column["label"])].reset_index()
            for number, (prompt, task, index, *_) in enumerate(data["pictures"]):
                same = (own["prompt"] == prompt) & (own["image_index"] == index)
                same &= own["task"] == data["tasks"][task]
                (name,) = set(own["path"][same][:1])
                shown = folder / "images" / column["folder"] / f"{number}{column['suffix']}"
                if same.sum() == 1:
                    assert shown.read_bytes() == (tmp_path / name).read_bytes()


def test_scores_and_verdicts_belong_to_their_pictures(tmp_path: Path) -> None:
    data = data_of(galleries.made_in(tmp_path))
    hypernoise = data["models"][0]["columns"][1]
    for number, (prompt, _, index, *_) in enumerate(data["pictures"]):
        second = prompt.endswith("-1")
        right = hypernoise["values"]["geneval_correct"][number]
        assert right == (not (second and index == 1))
        assert (str(number) in hypernoise["details"]) == (not right)
    rewards = hypernoise["values"]["train_reward"]
    assert {reward - row[2] for row, reward in zip(data["pictures"], rewards, strict=True)} == {0.5}


def test_large_images_become_thumbnails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "THUMBNAIL_PX", 24)
    monkeypatch.setattr(gallery, "CRISP_PX", 16)
    folder = galleries.made_in(tmp_path)
    data = data_of(folder)
    assert (data["side_px"], data["crisp"]) == (24, False)
    assert {c["suffix"] for model in data["models"] for c in model["columns"]} == {".webp"}
    shown = folder / "images" / data["models"][0]["columns"][0]["folder"] / "0.webp"
    with Image.open(shown) as thumbnail:
        assert thumbnail.size == (24, 24)


def test_a_gallery_made_again_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    folder = galleries.made_in(tmp_path)
    (folder / "images" / "old.png").touch()
    make.run(galleries.job(tmp_path))
    assert not (folder / "images" / "old.png").exists()


def test_a_missing_score_names_rows_and_files(tmp_path: Path) -> None:
    galleries.frames_in(tmp_path)
    path = tmp_path / "scores.parquet"
    pd.read_parquet(path).drop(index=3).to_parquet(path)
    with pytest.raises(ValueError, match="image without a score: prompt '") as error:
        make.run(galleries.job(tmp_path))
    assert str(path) in str(error.value)
    assert not (tmp_path / "gallery").exists()


def test_a_missing_or_broken_image_is_named(tmp_path: Path) -> None:
    galleries.frames_in(tmp_path)
    damage(tmp_path / "png" / "007.png")
    with pytest.raises(ValueError, match=r"007\.png is truncated or no image"):
        make.run(galleries.job(tmp_path))
    (tmp_path / "png" / "005.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"005\.png is missing"):
        make.run(galleries.job(tmp_path))


def test_a_verdict_that_is_no_verdict_is_refused(tmp_path: Path) -> None:
    galleries.frames_in(tmp_path)
    images, scores = (
        pd.read_parquet(tmp_path / f"{kind}.parquet") for kind in ("images", "scores")
    )
    is_verdict = scores["metric"] == "geneval_correct"
    scores["value"] = scores["value"].mask(is_verdict, 0.5)
    with pytest.raises(ValueError, match=r"geneval_correct is 0.5, must be 0 or 1"):
        gallery.gallery(images, scores)


def test_a_metric_that_is_no_verdict_is_shown_as_a_score(tmp_path: Path) -> None:
    galleries.frames_in(tmp_path)
    images, scores = (
        pd.read_parquet(tmp_path / f"{kind}.parquet") for kind in ("images", "scores")
    )
    data = gallery.gallery(images, scores, metric="train_reward").data
    assert data["verdict"] == ""
    assert data["metrics"][0] == "train_reward"


def test_an_image_that_the_metrics_rules_leave_out_has_no_verdict_and_the_reason(
    tmp_path: Path,
) -> None:
    data = data_of(galleries.left_out_in(tmp_path))
    assert data["verdict"] == "own"
    assert set(data["metrics"]) == {"own", "own_swapped", "train_reward", "judge_reward"}
    lost = {
        (model["name"], column["label"], data["pictures"][i][4], column["details"][str(i)])
        for model in data["models"]
        for column in model["columns"]
        for metric in ("own", "own_swapped")
        for i, value in enumerate(column["values"][metric])
        if value is None
    }
    said = "no cat is asked for; no cat is asked for"
    assert lost == {("tiny_a", "hypernoise", "single_object-0", said)}


def test_verify_notices_a_gallery_that_was_edited(tmp_path: Path) -> None:
    folder = galleries.made_in(tmp_path)
    assert not _in(folder, tmp_path)
    page = folder / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("0.5", "0.9"), encoding="utf-8")
    shutil.rmtree(folder / "images")
    assert {str(page), str(folder / "images")} <= set(_in(folder, tmp_path))


def _in(folder: Path, results: Path) -> list[str]:
    """Files of a folder that verify has found fault with."""
    components = declared(REPOSITORY / "workflows")
    found = [finding.file for finding in verify(survey(results), components)]
    return [file for file in found if Path(file).is_relative_to(folder)]
