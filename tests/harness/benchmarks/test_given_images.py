"""Images of other tools: what is wrong with them is said in one message before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.benchmarks.given_images import GivenImages
from harness.benchmarks.protocol import Prompt

PROMPTS = [Prompt(f"p{n}", f"a photo of {n} cats", "counting") for n in range(4)]
SIZE_PX = 8


def picture(path: Path, size: tuple[int, int] = (SIZE_PX, SIZE_PX)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 90, 200)).save(path)


def folder(root: Path, suffix: str = ".png") -> Path:
    """The prompts' images, two of each, in GenEval's layout."""
    for number, prompt in enumerate(PROMPTS):
        for index in range(2):
            picture(root / f"{number:05}" / "samples" / f"{index:04}{suffix}")
        record = json.dumps({"prompt": prompt.text, "tag": prompt.task, "idx": 0})
        (root / f"{number:05}" / "metadata.jsonl").write_text(record, "utf-8-sig")
    return root


def table(root: Path) -> pd.DataFrame:
    """The same as rows; the files are beside the table."""
    rows = [
        (p.prompt_id, index, f"out/{p.prompt_id}_{index}.png") for p in PROMPTS for index in (0, 1)
    ]
    for *_, path in rows:
        picture(root / path)
    return pd.DataFrame(rows, columns=["prompt_id", "image_index", "path"])


def files(place: Path) -> dict[tuple[str, int], Path]:
    return GivenImages(str(place)).files(PROMPTS, 2, SIZE_PX)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".PNG"])
def test_a_folder_gives_every_image_whatever_its_format(tmp_path: Path, suffix: str) -> None:
    folder(tmp_path, suffix)
    (tmp_path / "00001" / "samples" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "00001" / "grid.png").write_bytes(b"x")
    found = files(tmp_path)
    assert set(found) == {(prompt.prompt_id, index) for prompt in PROMPTS for index in (0, 1)}
    assert found["p2", 1] == tmp_path / "00002" / "samples" / f"0001{suffix}"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_gives_the_same(tmp_path: Path, kind: str) -> None:
    rows, place = table(tmp_path), tmp_path / f"images.{kind}"
    rows.to_csv(place, index=False) if kind == "csv" else rows.to_parquet(place)
    assert files(place)["p3", 0] == tmp_path / "out" / "p3_0.png"


def test_gaps_doubles_and_surplus_are_in_one_message_with_three_of_each(tmp_path: Path) -> None:
    rows = table(tmp_path)
    rows = rows[rows["prompt_id"] != "p0"][:-2]
    extra = [("p9", 0, "out/p1_0.png"), ("p1", 7, "out/p1_1.png"), ("p1", "x", "out/p1_1.png")]
    extra += [("p2", 0, "out/p1_0.png"), ("p2", 1, "../secret.png"), ("p1", 0, "out/nothing.png")]
    rows = pd.concat([rows, pd.DataFrame(extra, columns=rows.columns)])
    rows.to_csv(tmp_path / "i.csv", index=False)
    with pytest.raises(ValueError, match=r"i\.csv: ") as caught:
        files(tmp_path / "i.csv")
    said = str(caught.value)
    missing = "prompt 'p0' image 0; prompt 'p0' image 1; prompt 'p3' image 0; and 1 more like it"
    assert f"missing images: {missing}" in said
    assert "unknown prompts: row 5: unknown prompt_id 'p9'" in said
    assert "image 7 (images are 0 to 1)" in said
    assert "no whole number: row 7: 'x'" in said
    assert "an image twice: p2_0.png and p1_0.png of p2, 0" in said
    assert "leave the folder: row 9 names '../secret.png'" in said


def test_a_wrong_size_and_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder(tmp_path)
    picture(tmp_path / "00000" / "samples" / "0000.png", (16, 8))
    (tmp_path / "00001" / "samples" / "0000.png").write_bytes(b"no image")
    grey = np.full((SIZE_PX, SIZE_PX), 40_000, np.uint16)
    Image.fromarray(grey).save(tmp_path / "00002" / "samples" / "0001.png")
    with pytest.raises(ValueError, match=r"not 8 x 8 px .*0000\.png is 16 x 8") as caught:
        files(tmp_path)
    assert "unreadable files" in str(caught.value) and "00001" in str(caught.value)
    assert "more than 8 bits a channel" in str(caught.value)


def test_a_size_of_their_own_may_be_said(tmp_path: Path) -> None:
    folder(tmp_path)
    assert GivenImages(str(tmp_path), size_px=SIZE_PX).files(PROMPTS, 2, 512)
    with pytest.raises(ValueError, match="not 16 x 16 px"):
        GivenImages(str(tmp_path), size_px=16).files(PROMPTS, 2, SIZE_PX)


def test_a_folder_of_other_prompts_is_not_scored_as_this_benchmark(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "00003" / "metadata.jsonl").write_text('{"prompt": "a dog"}')
    (tmp_path / "00002" / "metadata.jsonl").unlink()
    (tmp_path / "00004").mkdir()
    with pytest.raises(
        ValueError, match="00003 has 'a dog', the benchmark 'a photo of 3 cats'"
    ) as e:
        files(tmp_path)
    assert "metadata.jsonl without a prompt: 00002" in str(e.value)
    assert "folders beyond the 4 prompts: 00004" in str(e.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "images")
    picture(tmp_path / "secret.png")
    link = tmp_path / "images" / "00000" / "samples" / "0000.png"
    link.unlink()
    link.symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match="links that leave the folder"):
        files(tmp_path / "images")


def test_columns_that_are_unknown_or_lacking_and_other_files_are_named(tmp_path: Path) -> None:
    rows = table(tmp_path)
    rows.rename(columns={"path": "file"}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"a\.csv: unknown column 'file' .*path, prompt_id"):
        files(tmp_path / "a.csv")
    rows.drop(columns="image_index").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match="lacks the column image_index"):
        files(tmp_path / "b.csv")
    (tmp_path / "c.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"c\.parquet cannot be read"):
        files(tmp_path / "c.parquet")
    (tmp_path / "d.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is \.csv or \.parquet, or give a folder"):
        files(tmp_path / "d.json")
    with pytest.raises(FileNotFoundError, match="there is no"):
        files(tmp_path / "nowhere")


def test_two_folders_of_one_number_are_named(tmp_path: Path) -> None:
    shutil.copytree(folder(tmp_path) / "00002", tmp_path / "2")
    with pytest.raises(ValueError, match="folders of one number: 00002 and 2"):
        files(tmp_path)
