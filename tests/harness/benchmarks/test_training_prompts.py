"""The paper's training prompts, from published files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from shared_data import SHARED, needs

from harness.benchmarks import training_prompts
from harness.benchmarks.training_prompts import abc_6k, pick_a_pic, preference, t2i_compbench
from harness.build import data_files
from harness.build.prompts import NOTES

BENCHMARKS = SHARED / "benchmarks"
GENEVAL = "harness.benchmarks.geneval_coco:prompts"
needs_data = needs("benchmarks")


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder with the published files and a small Pick-a-Pic."""
    for name in ("t2i_compbench", "abc6k", "geneval"):
        (tmp_path / name).symlink_to(BENCHMARKS / name)
    (tmp_path / "pick_a_pic").mkdir()
    lines = ["a photo of a bench", "A fox, oil on canvas", "", "a fox, oil on canvas."]
    (tmp_path / training_prompts.PICK_A_PIC).write_text("\n".join(lines))
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    return tmp_path


@needs_data
def test_the_published_files_are_read_whole(data: Path) -> None:
    counts = Counter(prompt.task for prompt in t2i_compbench("train"))
    assert set(counts) == {f"compbench_{name}_train" for name in training_prompts.CATEGORIES}
    assert set(counts.values()) == {700}
    assert len(t2i_compbench("val")) == 6 * 300
    assert len(abc_6k()) == 6434
    everything = (*t2i_compbench("train"), *t2i_compbench("val"), *abc_6k(), *pick_a_pic())
    assert len({prompt.prompt_id for prompt in everything}) == len(everything)


@needs_data
def test_the_mixture_leaves_out_repetitions_and_what_is_evaluated_on(
    data: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", NOTES.name)
    smaller = preference(4000, GENEVAL)
    assert len(smaller) == len({prompt.text for prompt in smaller}) == 4000
    with pytest.raises(ValueError, match=r"there are (\d+) different") as caught:
        preference(70_000, GENEVAL)
    n = int(str(caught.value).split()[2])
    texts = [prompt.text for prompt in preference(n, GENEVAL)]
    assert "A fox, oil on canvas" in texts
    assert "a fox, oil on canvas." not in texts
    assert "a photo of a bench" not in texts
    assert "evaluated on, so not trained on: 'a photo of a bench'" in caplog.messages
    # A run's check says it once; every job that reads the list would say it again.
    assert capsys.readouterr() == ("", "")


def test_without_pick_a_pic_the_message_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"prompts\.txt is missing: .*harness pick-a-pic"):
        pick_a_pic()


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'evaluation'.*train, val"):
        t2i_compbench("evaluation")
