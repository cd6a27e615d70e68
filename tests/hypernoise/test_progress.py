"""Lines of progress: whole, rare, and each of one job only."""

from __future__ import annotations

import re

import pytest

from hypernoise import progress
from hypernoise.progress import Progress, in_words


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock of one number that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_says_whose_what_how_fast_and_how_long(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("generate tiny_sd reno", 400, "images", done=100) as bar:
        clock[0] = 20.0
        bar.update(100)
        clock[0] = 40.0
        bar.note = "reward 0.5"
        bar.update(200)
    assert capsys.readouterr().err.splitlines() == [
        "generate tiny_sd reno: 200 of 400 images, 5 images/s, 40 s left",
        "generate tiny_sd reno: 400 of 400 images, 7.5 images/s, reward 0.5, in 40 s",
    ]


def test_lines_come_at_most_once_an_interval_and_always_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in Progress("train", 1000, "steps").each(range(1000)):
        clock[0] += 0.031
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        *(f"train: {n} of 1000 steps" for n in (323, 646, 969)),
        "train: 1000 of 1000 steps",
    ]


def test_what_takes_seconds_each_is_told_in_seconds_each(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("audit", 3, "noises") as bar:
        clock[0] = 90.0
        bar.update()
    assert capsys.readouterr().err.startswith("audit: 1 of 3 noises, 90 s each, 3 min left\n")


def test_an_error_leaves_a_last_line_that_says_how_far_it_came(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="broken"), Progress("score", 9, "images") as bar:
        bar.update(4)
        raise ValueError("broken")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"score: 4 of 9 images, .*, stopped", line)


def test_a_silent_one_prints_nothing_and_nothing_is_ever_drawn_over(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for silent in (True, False):
        for _ in Progress("train", 5, "steps", silent=silent).each(range(5)):
            clock[0] += 11.0
    said = capsys.readouterr().err
    assert said.count("\n") == 5
    assert "\r" not in said


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.6, "1 min"), (93, "1 min 33 s"), (7500, "2 h 5 min"), (90000, "25 h")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
