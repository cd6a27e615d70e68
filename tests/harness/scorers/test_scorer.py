"""A declared reward or benchmark as a function of images and prompts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paths import REPOSITORY
from PIL import Image

from harness.base.errors import SpecError
from harness.benchmarks.protocol import Score
from harness.build.prompts import load_prompts
from harness.experiment.component_files import declared
from harness.scorers import Scorer, load
from hypernoise.prompt_lengths import Length

REGISTRY = declared(REPOSITORY / "workflows")


@pytest.fixture(scope="module")
def redness() -> Scorer:
    return load("redness")


@pytest.fixture(scope="module")
def shapeworld() -> Scorer:
    return load("shapeworld")


@pytest.fixture
def drawn(tmp_path: Path) -> list[Any]:
    """One picture in every form that is taken."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
    return [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels, tensor]


def test_every_form_of_an_image_is_worth_the_same(redness: Scorer, drawn: list[Any]) -> None:
    found = redness(drawn, ["red"] * len(drawn))
    assert list(found.columns) == ["prompt", "redness"]
    assert found["redness"].nunique() == 1
    red, green, blue = (drawn[3][..., channel].mean() / 255 for channel in range(3))
    assert found["redness"][0] == pytest.approx(red - (green + blue) / 2, abs=1e-5)


def test_images_of_other_sizes_and_a_whole_tensor_are_taken(redness: Scorer) -> None:
    one = np.zeros((8, 16, 3), dtype=np.uint8)
    other = np.full((4, 4, 3), 255, dtype=np.uint8)
    red = np.zeros((8, 16, 3), dtype=np.uint8)
    red[..., 0] = 255
    found = redness([one, other, red], ["a", "b", "c"])
    assert found["redness"].tolist() == [0.0, 0.0, 1.0]
    batch = torch.zeros(2, 3, 4, 4)
    batch[1, 0] = 1
    assert redness(batch, ["a", "b"])["redness"].tolist() == [0.0, 1.0]


def test_batches_change_nothing(drawn: list[Any]) -> None:
    colors = ("red", "blue", "green")
    images = [np.roll(drawn[3], shift, axis=0) for shift in range(len(colors))]
    texts = [f"a photo of a {color} circle" for color in colors]
    one, several = (load("matcher", batch_size=size)(images, texts) for size in (1, 5))
    np.testing.assert_allclose(one["matcher"], several["matcher"], atol=1e-4)


def test_a_benchmark_knows_its_own_prompts_by_their_text(shapeworld: Scorer) -> None:
    prompts = load_prompts(REGISTRY.benchmarks["shapeworld"].prompts)[:4]
    blank = [np.zeros((32, 32, 3), dtype=np.uint8)] * 4
    told = shapeworld(blank, [prompt.text for prompt in prompts])
    full = shapeworld(blank, prompts)
    given = [{"prompt": p.text, "task": p.task, "metadata": dict(p.metadata)} for p in prompts]
    assert told.equals(full) and told.equals(shapeworld(blank, given))
    metric = shapeworld.metrics[0].name
    assert told[metric].tolist() == [0.0] * 4
    assert all(told[f"{metric}_detail"])


def test_what_is_left_out_has_no_value(shapeworld: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    name = shapeworld.metrics[0].name
    given = [{name: Score(1.0, "", left_out=True)}, {name: Score(1.0)}]
    monkeypatch.setattr(shapeworld._measure, "score", lambda *_: given)
    asked = load_prompts(REGISTRY.benchmarks["shapeworld"].prompts)[:2]
    found = shapeworld([np.zeros((32, 32, 3), dtype=np.uint8)] * 2, asked)[name]
    assert np.isnan(found[0]) and found[1] == 1.0


BLACK = np.zeros((32, 32, 3), dtype=np.uint8)
#: Scorer, images, prompts, and what is said.
FAULTS: tuple[tuple[str, Any, Any, str], ...] = (
    ("redness", [BLACK], ["a", "b"], "there are 1 images and 2 prompts"),
    ("redness", [BLACK], "a red circle", "prompts are one for each image, got the text 'a red"),
    ("redness", [BLACK], [3], r"prompt 0 is '3', a int, must be a text or a mapping"),
    (
        "redness",
        [BLACK],
        [{"prompt": "a", "tsk": ""}],
        "field of prompt 0 'tsk'; did you mean 'task'",
    ),
    (
        "redness",
        [BLACK],
        [{"prompt": "a", "metadata": []}],
        r"metadata of prompt 0 is '\[\]', a list",
    ),
    (
        "redness",
        [BLACK.astype(np.float64)],
        ["a"],
        r"image 0 must be a file, .* float64 \[32, 32, 3\]",
    ),
    ("redness", [torch.full((3, 4, 4), 2.0)], ["a"], r"image 0 must be \[3, H, W\] in \[0, 1\]"),
    ("redness", [torch.full((3, 4, 4), float("nan"))], ["a"], r"image 0 must be \[3, H, W\] in"),
    ("redness", ["nowhere.png"], ["a"], "image nowhere.png cannot be read"),
    ("matcher", [BLACK[:16]], ["a"], "scorer 'matcher' takes images of 32 px alone, .* of 16 px"),
    (
        "shapeworld",
        [BLACK],
        ["a zebra"],
        r"prompt of benchmark shapeworld \(others need metadata\) 'a zebra'",
    ),
    (
        "shapeworld",
        [BLACK],
        [{"prompt": "a", "task": "b", "metadata": {}}],
        "metadata of prompt 'a': unknown tag None",
    ),
)


@pytest.mark.parametrize(("name", "images", "prompts", "said"), FAULTS)
def test_what_cannot_be_scored_is_refused(name: str, images: Any, prompts: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load(name)(images, prompts)


def test_names_that_are_none_are_refused_with_those_that_are() -> None:
    with pytest.raises(SpecError, match="reward or benchmark 'matchr'; did you mean 'matcher'"):
        load("matchr")
    with pytest.raises(SpecError, match="batch_size must be at least 1, got 0"):
        load("redness", batch_size=0)
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        load("redness", device="gpu")
    lists = [name for name, one in REGISTRY.benchmarks.items() if "PromptList" in one.target]
    for name in lists[:1]:
        with pytest.raises(SpecError, match=re.escape(f"benchmark {name!r} measures nothing")):
            load(name)


def test_own_components_are_scorers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # Their folder comes onto the path, and must not stay there for other tests.
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    found = load("my_reward", components=("workflows", REPOSITORY / "examples"))
    blue = np.zeros((4, 4, 3), dtype=np.uint8)
    blue[..., 2] = 255
    assert found([blue], ["whatever"])["my_reward"].tolist() == [1.0]


def test_long_prompts_are_told(
    redness: Scorer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lengths(prompts: Sequence[str]) -> list[dict[str, Length]]:
        return [{"clip": Length(len(text), 77)} for text in prompts]

    monkeypatch.setattr(redness._measure._reward, "lengths", lengths, raising=False)
    redness([BLACK, BLACK], ["a" * 90, "short"])
    said = capsys.readouterr().err
    assert said.startswith("scorer redness: 1 of 2 prompts have more tokens than it reads")
    assert "90 of 77 in clip" in said


def test_the_script_that_is_shown_prints_a_row_for_each_image(tmp_path: Path) -> None:
    Image.fromarray(BLACK).save(tmp_path / "a.png")
    script = REPOSITORY / "examples" / "own-scripts" / "score_images.py"
    given = ["redness", "a red circle", str(tmp_path / "a.png"), "black", str(tmp_path / "a.png")]
    done = subprocess.run(
        [sys.executable, str(script), *given],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["prompt", "redness"]
    assert [row.split()[-1] for row in rows] == ["0.0", "0.0"]
