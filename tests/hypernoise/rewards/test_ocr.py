from __future__ import annotations

import numpy as np
import pytest
import torch
from paths import REPOSITORY
from PIL import Image, ImageDraw, ImageFont

from harness.base.import_strings import resolve
from harness.benchmarks import text_rendering
from harness.benchmarks.build import build_benchmark
from harness.benchmarks.protocol import Prompt
from harness.build.rewards import check_gradient, check_reward
from harness.experiment.component_files import declared
from hypernoise.rewards import ocr

DECLARED = declared(REPOSITORY / "workflows")
PROMPT = 'A sign that says "OPEN 24 h"'


@pytest.fixture(scope="module")
def sign() -> torch.Tensor:
    """A sign with OPEN 24 h, and an empty one: [2, 3, 96, 224]."""
    written = Image.new("RGB", (224, 96), "white")
    ImageDraw.Draw(written).text((10, 25), "OPEN 24 h", "black", ImageFont.load_default(36))
    pair = np.stack([np.asarray(written), np.full((96, 224, 3), 255, np.uint8)])
    return torch.from_numpy(pair.transpose(0, 3, 1, 2)).float() / 255


def test_a_drawn_text_is_read_and_scored_by_edits(sign: torch.Tensor) -> None:
    reward = ocr.Ocr()
    images, prompts = sign[[0, 0, 1]], [PROMPT, 'A sign that says "OVEN 24 h"', PROMPT]
    scores = reward.score(images, reward.encode(prompts))
    assert scores.tolist() == pytest.approx([1, 6 / 7, 0])


def test_the_benchmark_reads_the_same_image_once_and_says_what_it_read(sign: torch.Tensor) -> None:
    benchmark = build_benchmark(DECLARED.benchmarks["text_rendering"])
    asked = [PROMPT, 'A sign that says "open"', PROMPT]
    prompts = [Prompt(str(n), text, "word") for n, text in enumerate(asked)]
    scores = benchmark.score(sign[[0, 0, 1]].numpy(), prompts)
    assert [score["text_rendering"].value for score in scores] == [1, 1, 0]
    assert [score["text_exact"].value for score in scores] == [1, 0, 0]
    assert [score["text_exact"].detail for score in scores] == [
        *['{"read": "OPEN 24 h"}'] * 2,
        '{"read": ""}',
    ]


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("ab", "ba", 2)],
)
def test_edits_are_levenshteins(one: str, other: str, distance: int) -> None:
    assert ocr.edits(one, other) == ocr.edits(other, one) == distance


@pytest.mark.parametrize(
    ("read", "asked", "score"),
    [
        ("OPEN", "open", 1),
        ("we are\nO PEN now", "open", 1),  # More than what is asked for costs nothing.
        ("opeh", "open", 0.75),
        ("quite another long text", "open", 0),  # No more edits than the text has signs.
        ("", "open", 0),
    ],
)
def test_a_similarity_is_flow_grpos(read: str, asked: str, score: float) -> None:
    assert ocr.text_similarity(read, asked) == score


@pytest.mark.parametrize("prompt", ["A sign", 'A sign that says ""', 'A sign that says " "'])
def test_a_prompt_without_a_text_is_refused_before_any_image(prompt: str) -> None:
    with pytest.raises(ValueError, match="needs its text in double quotes"):
        ocr.Ocr().encode([prompt])
    with pytest.raises(ValueError, match="needs its text in double quotes"):
        build_benchmark(DECLARED.benchmarks["text_rendering"]).check([Prompt("0", prompt, "word")])


def test_without_the_package_the_command_to_have_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ocr, "find_spec", lambda _: None)
    reward, benchmark = DECLARED.reward("ocr"), DECLARED.benchmarks["text_rendering"]
    for check in (lambda: check_reward(reward), build_benchmark(benchmark).check):
        with pytest.raises(FileNotFoundError, match="needs the package rapidocr") as caught:
            check()
        assert getattr(caught.value, "command", "") == "pip install 'hypernoise[ocr]'"


def test_no_method_may_follow_its_gradient() -> None:
    with pytest.raises(ValueError, match="reward 'ocr' has none"):
        check_gradient(DECLARED.reward("ocr"), "reno")
    assert resolve(DECLARED.rewards["ocr"].target).differentiable is False


def test_every_own_prompt_asks_for_one_text_and_none_twice() -> None:
    listed = text_rendering.prompts()
    assert len({prompt.text for prompt in listed}) == len(listed) >= 36
    assert {prompt.task for prompt in listed} == {"word", "number", "phrase", "sentence"}
    assert all(prompt.text.count('"') == 2 and prompt.metadata["text"] for prompt in listed)
