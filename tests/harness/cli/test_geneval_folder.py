"""GenEval's folder of images and its results, read, scored, written and summarised."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness_toys import damage, made_images
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from harness.benchmarks import shapeworld
from harness.benchmarks.geneval import Evaluator, judge
from harness.cli.command_line import main
from harness.cli.geneval import (
    evaluator_of,
    read_results,
    score_all,
    summary,
    write_results,
)
from harness.cli.geneval_folder import export, read_folder
from harness.experiment.components import BenchmarkSpec, MethodSpec, ModelSpec
from harness.experiment.jobs import GenerateJob, ScoreJob
from harness.results import frames
from harness.stages import generate, score
from hypernoise.shapeworld.captions import captions
from hypernoise.shapeworld.scenes import Placed, Scene, render

WORLD = BenchmarkSpec(
    "world",
    "harness.benchmarks.shapeworld:ShapeWorld",
    version=1,
    arguments={"n": 12, "split": "evaluation"},
    metric="geneval_correct",
    n_images=2,
)
BASE = MethodSpec("base", "hypernoise.methods.base:Base", version=1)
TINY = ModelSpec(
    "tiny_sd",
    "hypernoise.models.unet:SdTurbo",
    weights="hypernoise/shapeworld/weights/tiny_sd",
    size_px=32,
    version=1,
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    job = GenerateJob(
        TINY, BASE, None, WORLD, 1, 0, 24, None,
        str(folder / "images" / "images.parquet"), str(folder / "work"),
    )  # fmt: skip
    generate.run(job)
    return Path(job.out)


@pytest.fixture
def exported(images: Path, tmp_path: Path) -> Path:
    export(images, tmp_path / "geneval")
    return tmp_path / "geneval"


def test_exported_images_get_the_same_decisions_as_in_the_score_frame(
    images: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ScoreJob(WORLD, {}, (str(images),), str(tmp_path / "scores.parquet"))
    score.run(job)
    expected = frames.read(job.out, "scores")
    out = tmp_path / "results.jsonl"
    arguments = ["geneval", str(exported), "--detector", "shapeworld", "--out", str(out)]
    assert main([*arguments, "--prompts", "12", "--samples", "2"]) == 0
    results = read_results(out)
    assert [float(result.correct) for result in results] == expected["value"].tolist()
    assert [result.reason for result in results] == expected["detail"].tolist()
    assert {result.correct for result in results} == {True, False}
    assert [Path(r.filename).parts[-3:] for r in results[:3]] == [
        ("00000", "samples", "0000.png"),
        ("00000", "samples", "0001.png"),
        ("00001", "samples", "0000.png"),
    ]
    details = json.loads(results[0].details)
    assert all(len(row) == 5 for rows in details.values() for row in rows)
    printed = capsys.readouterr().out
    assert f"% correct images: {expected['value'].mean():.2%}" in printed
    assert main(["geneval", str(out)]) == 0
    assert capsys.readouterr().out == printed


def test_exported_prompts_are_in_the_originals_layout(exported: Path) -> None:
    prompts = shapeworld.ShapeWorld("evaluation").prompts()
    known = {prompt.text: prompt.metadata for prompt in prompts}
    folders = sorted(exported.iterdir())
    assert [folder.name for folder in folders] == [f"{number:05}" for number in range(12)]
    for folder in folders:
        (line,) = (folder / "metadata.jsonl").read_text().splitlines()
        assert json.loads(line) == known[json.loads(line)["prompt"]]


def test_every_gap_is_listed_before_anything_is_scored(exported: Path) -> None:
    damage(exported / "00001" / "samples" / "0000.png")
    (exported / "00002" / "samples" / "0001.png").unlink()
    (exported / "00003" / "metadata.jsonl").unlink()
    (exported / "00004" / "samples" / "0000.png").rename(exported / "00004" / "samples" / "a.png")
    shutil.rmtree(exported / "00005")
    record = json.loads((exported / "00006" / "metadata.jsonl").read_text())
    record["include"][0]["class"] = "cirlce"
    (exported / "00006" / "metadata.jsonl").write_text(json.dumps(record))
    (exported / "00007" / "samples" / ".DS_Store").touch()
    with pytest.raises(ValueError, match="not whole") as caught:
        read_folder(exported, shapeworld.evaluator())
    said = str(caught.value)
    for fault in (
        "00001/samples/0000.png cannot be read",
        "00002/samples/0001.png is missing",
        "00003/metadata.jsonl is missing",
        "00004/samples/0000.png is missing",
        "00004/samples/a.png is not named like 0000.png",
        "00005 is missing",
        "did you mean 'circle'?",
    ):
        assert fault in said
    assert "00007" not in said


def undecodable(path: Path) -> None:
    """A PNG whose checksums are right and whose data is not."""
    content = path.read_bytes()
    kept = content[: content.index(b"IDAT") - 4]
    data = zlib.compress(b"too little")
    parts = [(b"IDAT", data), (b"IEND", b"")]
    for name, own in parts:
        kept += struct.pack(">I", len(own)) + name + own
        kept += struct.pack(">I", zlib.crc32(name + own))
    path.write_bytes(kept)


def test_images_that_only_decoding_finds_are_all_listed_and_nothing_is_written(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [exported / name / "samples" / "0001.png" for name in ("00002", "00009")]
    for path in broken:
        undecodable(path)
    out = tmp_path / "results.jsonl"
    assert main(["geneval", str(exported), "--detector", "shapeworld", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert all(f"{path} cannot be read" in said for path in broken)
    assert not out.exists()


def test_each_image_is_decoded_once(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Any] = []
    own = PngImageFile.load_prepare

    def counted(image: PngImageFile) -> None:
        decoded.append(image)
        own(image)

    monkeypatch.setattr(PngImageFile, "load_prepare", counted)
    out = ["--out", str(tmp_path / "results.jsonl")]
    assert main(["geneval", str(exported), "--detector", "shapeworld", *out]) == 0
    assert len(decoded) == 24


def test_prompts_and_images_that_the_end_lacks_are_missed_where_their_number_is_given(
    exported: Path,
) -> None:
    evaluator = shapeworld.evaluator()
    assert len(read_folder(exported, evaluator)) == 24
    with pytest.raises(ValueError, match=r"00012 is missing; .*00013 is missing"):
        read_folder(exported, evaluator, n_prompts=14)
    with pytest.raises(ValueError, match=r"00000/samples/0002.png is missing; .*and 9 more"):
        read_folder(exported, evaluator, n_samples=3)
    with pytest.raises(ValueError, match=r"00000/samples/0001.png is one more than 1"):
        read_folder(exported, evaluator, n_samples=1)


def test_a_folder_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*00000"):
        read_folder(tmp_path, shapeworld.evaluator())
    with pytest.raises(FileNotFoundError, match="lost is missing"):
        read_folder(tmp_path / "lost", shapeworld.evaluator())


def test_rendered_truth_is_right(tmp_path: Path) -> None:
    caption = captions("evaluation")[0]
    folder = tmp_path / "00000" / "samples"
    folder.mkdir(parents=True)
    (folder.parent / "metadata.jsonl").write_text(json.dumps(caption.metadata))
    (subject,) = caption.subjects
    scene = Scene((Placed(subject.shape, "red", 14.0, 14.0),), (0.95, 0.95, 0.95))
    pixels = np.moveaxis(render(scene), 0, -1)
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(folder / "0000.png")
    out = tmp_path / "results.jsonl"
    arguments = ["geneval", str(tmp_path), "--detector", "shapeworld", "--out", str(out)]
    assert main(arguments) == 0
    assert [(result.correct, result.reason) for result in read_results(out)] == [(True, "")]


def line(**changes: Any) -> str:
    record = {
        "filename": "a/00000/samples/0000.png",
        "tag": "single_object",
        "prompt": "a photo of a bench",
        "correct": True,
        "reason": "",
        "metadata": '{"tag": "single_object"}',
        "details": "{}",
    }
    return json.dumps(record | changes)


def test_results_of_another_tool_are_summarised_like_the_originals_script(tmp_path: Path) -> None:
    lines = [
        line(),
        line(correct=False, reason="expected bench>=1, found 0", extra=3),
        line(correct=False, metadata="other"),
        line(tag="counting", correct=True, metadata="third"),
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    assert summary(read_results(tmp_path / "r.jsonl")) == (
        "Summary\n=======\nTotal images: 4\nTotal prompts: 3\n% correct images: 50.00%\n"
        "% correct prompts: 66.67%\n\nTask breakdown\n==============\n"
        "single_object    = 33.33% (1 / 3)\ncounting         = 100.00% (1 / 1)\n\n"
        "Overall score (avg. over tasks): 0.66667"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "line 1: no filename, tag, prompt, correct, reason, metadata, details"),
        (line() + "\n{", "line 2: no JSON"),
        (line(correct="yes"), "correct is 'yes', must be true or false"),
        (line(tag={}), "tag is {}, must be a text"),
        ("", "holds no results"),
    ],
)
def test_broken_results_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path / "r.jsonl")


def test_results_are_read_back_as_written(exported: Path, tmp_path: Path) -> None:
    (result,) = read_results(_written(tmp_path, line(prompt="a \N{SNOWMAN}", reason="a\nb")))
    write_results([result], tmp_path / "deep" / "again.jsonl")
    assert read_results(tmp_path / "deep" / "again.jsonl") == [result]
    assert list(asdict(result)) == list(json.loads(line()))


def _written(folder: Path, text: str) -> Path:
    (folder / "r.jsonl").write_text(text)
    return folder / "r.jsonl"


def test_the_published_detector_needs_a_commit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["geneval", str(Path(__file__).parent)]) == 2
    said = capsys.readouterr().err
    assert "facebook/mask2former-swin-small-coco-instance" in said
    assert "commit" in said


def test_another_detector_is_named_by_its_function() -> None:
    named = evaluator_of("harness.benchmarks.shapeworld:evaluator")
    assert named.classes == evaluator_of("shapeworld").classes
    with pytest.raises(ValueError, match="has no revision"):
        evaluator_of("shapeworld", revision="0" * 40)


@pytest.mark.parametrize(
    ("found", "colors", "message"),
    [
        ({"ring": [[0, 0, 9, 9, 0.9]]}, ("red",), "unknown class of a detection 'ring'"),
        ({"bus": [[0, 0, 9, 9, 0.9]]}, ("crimson",), "unknown color of a detection 'crimson'"),
    ],
)
def test_a_detector_that_gives_names_of_its_own_is_refused(
    tmp_path: Path, found: Any, colors: tuple[str, ...], message: str
) -> None:
    record = {
        "tag": "colors",
        "include": [{"class": "bus", "count": 1, "color": "red"}],
        "prompt": "a photo of a red bus",
    }
    samples = tmp_path / "00000" / "samples"
    samples.mkdir(parents=True)
    (samples.parent / "metadata.jsonl").write_text(json.dumps(record))
    Image.new("RGB", (9, 9)).save(samples / "0000.png")
    plugged = Evaluator(lambda _, asked: judge(asked, found, lambda *_: colors), ("bus",))
    with pytest.raises(ValueError, match=message):
        score_all(read_folder(tmp_path, plugged), plugged)


def test_images_without_genevals_fields_are_not_exported(tmp_path: Path) -> None:
    frame = Path(made_images(tmp_path))
    with pytest.raises(ValueError, match="'toy_benchmark' is not in GenEval's fields"):
        export(frame, tmp_path / "out")


def test_missing_images_stop_an_export_and_are_listed(images: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(images.parent, copy)
    lost = sorted((copy / "png").iterdir())[:2]
    for path in lost:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{lost[0].name}, .*{lost[1].name}"):
        export(copy / "images.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_overwrites_nothing(images: Path, exported: Path) -> None:
    with pytest.raises(ValueError, match="is not empty"):
        export(images, exported)


def test_a_folder_whose_files_are_links_out_of_it_is_refused(
    exported: Path, tmp_path: Path
) -> None:
    for name in ("00000/samples/0000.png", "00001/metadata.jsonl"):
        path = exported / name
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    with pytest.raises(ValueError, match="not whole") as caught:
        read_folder(exported, shapeworld.evaluator())
    for name in ("00000/samples/0000.png", "00001/metadata.jsonl"):
        assert f"names '{name}', a link to " in str(caught.value)
