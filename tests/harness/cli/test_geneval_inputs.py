"""GenEval's verb on what other tools and file managers leave: read, or refused in few words."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks import shapeworld
from harness.benchmarks.geneval import TASKS
from harness.cli.command_line import main
from harness.cli.geneval import DETECTORS, read_results
from harness.cli.geneval_folder import read_folder
from harness.report.grids import read_pixels
from harness.results.image_files import decoded, upright
from hypernoise.shapeworld.captions import captions

WORLD = ["--detector", "shapeworld"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two plain grey images for a prompt of each task."""
    folder = tmp_path / "images"
    by_task = {caption.task: caption for caption in captions("evaluation")}
    assert by_task.keys() == set(TASKS)
    for number, caption in enumerate(by_task.values()):
        samples = folder / f"{number:05}" / "samples"
        samples.mkdir(parents=True)
        (samples.parent / "metadata.jsonl").write_text(json.dumps(caption.metadata))
        for image in range(2):
            Image.new("RGB", (32, 32), (240, 240, 240)).save(samples / f"{image:04}.png")
    return folder


def faults(folder: Path, **given: Any) -> str:
    with pytest.raises(ValueError, match="not whole") as caught:
        read_folder(folder, shapeworld.evaluator(), **given)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".PNG", ".jpg", ".JPEG", ".webp"])
def test_images_of_other_formats_and_spellings_are_taken(images: Path, suffix: str) -> None:
    for path in images.rglob("*.png"):
        with Image.open(path) as image:
            image.save(path.with_name(path.stem.lstrip("0") or "0").with_suffix(suffix))
        path.unlink()
    assert len(read_folder(images, shapeworld.evaluator())) == 12


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "._0000.png"])
def test_what_file_managers_leave_is_no_image(images: Path, name: str) -> None:
    (images / "00003" / "samples" / name).write_text("x")
    assert len(read_folder(images, shapeworld.evaluator())) == 12


@pytest.mark.parametrize("name", ["grid.png", "notes.txt", "0001 (copy).png", "0002.gif"])
def test_one_strange_file_is_named_and_no_other_prompt_is_blamed(images: Path, name: str) -> None:
    (images / "00003" / "samples" / name).write_text("x")
    said = faults(images)
    assert f"00003/samples/{name} is not named like 0000.png" in said
    assert "missing" not in said


def test_of_many_faults_of_a_kind_three_are_shown_and_counted(images: Path) -> None:
    for path in images.rglob("0001.png"):
        path.rename(path.with_suffix(".tiff"))
    said = faults(images, n_prompts=50)
    assert said.count(".tiff is not named") == 3
    assert "and 3 more like it" in said
    assert "and 41 more like it" in said
    assert len(said) < 2000


def test_fields_of_other_tools_are_left_alone_with_a_note_but_not_misspelt_ones(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = images / "00002" / "metadata.jsonl"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "idx": 0, "enhanced_prompt": "a long one"}))
    assert main(["geneval", str(images), *WORLD, "--out", str(tmp_path / "r.jsonl")]) == 0
    assert "left alone: enhanced_prompt, idx" in capsys.readouterr().err
    record.pop("exclude", None)
    path.write_text(json.dumps({**record, "exlude": []}))
    assert "did you mean 'exclude'" in faults(images)


@pytest.mark.parametrize("size", [(512, 512), (1, 1), (32, 16)])
def test_a_detector_of_one_size_takes_no_other(images: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(images / "00001" / "samples" / "0001.png")
    said = f"0001.png has {size[0]} x {size[1]} px, and this detector takes images of 32 px alone"
    assert said in faults(images)


def test_a_byte_order_mark_and_separators_of_unicode_are_read_over(
    images: Path, tmp_path: Path
) -> None:
    path = images / "00000" / "metadata.jsonl"
    record = {**json.loads(path.read_text()), "prompt": "a sign\u2028that says \x85"}
    path.write_text("\ufeff" + json.dumps(record, ensure_ascii=False), encoding="utf-8")
    out = tmp_path / "r.jsonl"
    assert main(["geneval", str(images), *WORLD, "--out", str(out)]) == 0
    lines = out.read_text().strip().split("\n")
    rows = [json.dumps(json.loads(line), ensure_ascii=False) for line in lines]
    out.write_text("\ufeff" + "\n".join(rows), encoding="utf-8")
    assert read_results(out)[0].prompt == record["prompt"]


def test_text_that_is_not_utf8_is_blamed_on_its_file_and_line(images: Path, tmp_path: Path) -> None:
    path = images / "00000" / "metadata.jsonl"
    path.write_bytes(b'{"tag": "caf\xe9"}')
    assert f"{path}, line 1: not UTF-8" in faults(images)
    (tmp_path / "r.jsonl").write_bytes(b"\n\xe9")
    with pytest.raises(ValueError, match=r"r\.jsonl, line 2: not UTF-8"):
        read_results(tmp_path / "r.jsonl")


def rows(n_prompts: int = 6, n_samples: int = 2) -> list[dict[str, Any]]:
    return [
        {
            "filename": f"{prompt:05}/samples/{image:04}.png",
            "tag": TASKS[prompt % len(TASKS)],
            "prompt": f"prompt {prompt}",
            "correct": True,
            "reason": "",
            "metadata": json.dumps({"prompt": prompt}),
            "details": "{}",
        }
        for prompt in range(n_prompts)
        for image in range(n_samples)
    ]


def results(folder: Path, given: list[dict[str, Any]]) -> str:
    path = folder / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    return str(path)


def test_results_whose_fields_are_objects_are_summarised_like_those_of_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["geneval", results(tmp_path, rows())]) == 0
    said = capsys.readouterr().out
    objects = [{**row, "metadata": json.loads(row["metadata"]), "details": {}} for row in rows()]
    assert main(["geneval", results(tmp_path, objects)]) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ([*rows(), {**rows()[3], "correct": False}], [], "judged more than once: 00001/samples/00"),
        (rows(), ["--prompts", "553"], "has 6 prompts, there must be 553"),
        (rows(), ["--samples", "4"], "must be 4 images per prompt; 'prompt 0' has 2"),
        (rows()[:-1], ["--samples", "2"], "must be 2 images per prompt; 'prompt 5' has 1"),
        (rows(), ["--out", "x.jsonl"], "judged already: it takes no --out"),
        (rows(), WORLD, "judged already: it takes no --detector"),
        (rows(), ["--revision", "a" * 40, "--clip", "b"], "takes no --revision, no --clip"),
    ],
)
def test_results_that_are_double_or_other_than_asked_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: list[dict[str, Any]],
    options: list[str],
    said: str,
) -> None:
    assert main(["geneval", results(tmp_path, given), *options]) == 2
    assert said in capsys.readouterr().err


def test_what_results_or_a_folder_may_lack_is_said(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["geneval", results(tmp_path, rows(5)[:-1])]) == 0
    said = capsys.readouterr().err
    assert "there is no image of color_attr: the overall score leaves that out" in said
    assert "of 1 prompts there are fewer than 2 images: 'prompt 4' has 1" in said
    assert "there are 5 prompts, GenEval has 553" in said
    shutil.rmtree(images / "00005")
    assert main(["geneval", str(images), *WORLD, "--out", str(tmp_path / "o")]) == 0
    assert "there are 5 prompts, GenEval has 553" in capsys.readouterr().err
    whole = results(tmp_path, rows())
    assert main(["geneval", whole, "--prompts", "6", "--samples", "2"]) == 0
    assert not capsys.readouterr().err


def test_a_misspelt_detector_is_no_hub_name(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "o")]
    assert "shapeworld" in DETECTORS
    assert main(["geneval", str(images), "--detector", "shapewrold", *out]) == 2
    assert "unknown detector 'shapewrold'; did you mean 'shapeworld'?" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_found_before_any_image_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # There are no images: what is said first was looked at first.
    file = tmp_path / "file"
    file.touch()
    lost = str(tmp_path / "lost")
    for out, said in (
        (tmp_path, "is a folder: name a file"),
        (file / "r.jsonl", "is no folder"),
        (Path("/dev/null"), "is no plain file"),
    ):
        assert main(["geneval", lost, *WORLD, "--out", str(out)]) == 2
        assert said in capsys.readouterr().err
    assert main(["compare", lost, lost, "--out", str(file / "moved")]) == 2
    assert f"{file} is no folder" in capsys.readouterr().err
    assert Path("/dev/null").is_char_device()


def test_results_by_default_overwrite_none_and_named_ones_say_so(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["geneval", str(images), *WORLD]) == 0
    first = Path("results.jsonl").read_text()
    assert main(["geneval", str(images), *WORLD]) == 2
    assert "results.jsonl is there already: name a file with --out" in capsys.readouterr().err
    assert main(["geneval", str(images), *WORLD, "--out", "results.jsonl"]) == 0
    assert "results.jsonl is there already and will be written anew" in capsys.readouterr().err
    assert Path("results.jsonl").read_text() == first


def test_an_output_that_is_a_link_is_written_through(images: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link.jsonl").symlink_to("scratch/r.jsonl")
    for _ in range(2):
        out = ["--out", str(tmp_path / "link.jsonl")]
        assert main(["geneval", str(images), *WORLD, *out]) == 0
        assert (tmp_path / "link.jsonl").is_symlink()
        assert len(read_results(tmp_path / "scratch" / "r.jsonl")) == 12
        (tmp_path / "scratch" / "r.jsonl").write_text("old")
    assert not [name for name in os.listdir(tmp_path / "scratch") if name.endswith("partial")]


@pytest.mark.parametrize("value", ["-3", "0", "two", "2.5", "9" * 30])
def test_counts_that_are_none_are_refused_in_words(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = ["train", "--job", "{}", "--threads"]
    for verb in (["geneval", "x", "--prompts"], ["profile", "--batch-sizes"], threads):
        with pytest.raises(SystemExit):
            main([*verb, value])
        said = capsys.readouterr().err
        assert f"must be a whole number, at least 1, got {value!r}" in said
        assert "invalid" not in said
    with pytest.raises(SystemExit):
        main(["plan", "--price", "nan"])
    assert "must be a number, at least 0, got 'nan'" in capsys.readouterr().err


def test_sixteen_bits_are_scaled_and_floats_refused(tmp_path: Path) -> None:
    levels = np.linspace(0, 255, 32 * 32).astype(np.uint8).reshape(32, 32)
    expected = np.repeat(levels[..., None], 3, axis=2)
    for name, pixels in {
        "short.png": levels.astype(np.uint16) * 257,
        "int.pgm": levels.astype(np.int32) * 257,
    }.items():
        path = tmp_path / name
        Image.fromarray(pixels).save(path)
        with Image.open(path) as image:
            assert image.mode.startswith("I")
        for read in (decoded, upright, read_pixels):
            assert np.array_equal(read(str(path)), expected), (name, read)
    Image.fromarray(levels.astype(np.float32)).save(tmp_path / "float.pfm")
    for read in (decoded, upright, read_pixels):
        with pytest.raises(ValueError, match=r"float\.pfm .*mode F; save it with 8 bits"):
            read(str(tmp_path / "float.pfm"))
