"""Prompt lists made from others."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import harness_toys
import pytest

from harness.benchmarks.prompts import balanced, subset
from harness.benchmarks.protocol import Prompt
from harness.build import prompts as build_prompts
from harness.build.prompts import load_prompts
from harness.experiment.components import PromptsSpec
from hypernoise.shapeworld.captions import TASKS, captions
from hypernoise.text_files import lines_of, read_json

CAPTIONS = "hypernoise.shapeworld.captions:captions"


def test_a_small_subset_has_every_task() -> None:
    assert {prompt.task for prompt in subset(CAPTIONS, len(TASKS), split="train")} == set(TASKS)


def test_a_subset_holds_each_prompt_once_and_none_from_elsewhere() -> None:
    whole = captions("evaluation")
    assert sorted(p.prompt_id for p in subset(CAPTIONS, 10**6, split="evaluation")) == sorted(
        p.prompt_id for p in whole
    )
    assert len(subset(CAPTIONS, 7, split="evaluation")) == 7


def test_an_empty_subset_is_refused() -> None:
    with pytest.raises(ValueError, match="n >= 1, got 0"):
        subset(CAPTIONS, 0, split="train")


def test_balanced_prompts_are_as_many_for_every_task_and_each_has_an_id_of_its_own() -> None:
    prompts = balanced("hypernoise.shapeworld.captions:captions", 30, split="train")
    tasks = Counter(prompt.task for prompt in prompts)
    assert set(tasks.values()) == {30} and len(tasks) == 6
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts)
    assert {prompt.text for prompt in prompts} <= {c.text for c in captions("train")}


def test_balanced_prompts_need_at_least_one_per_task() -> None:
    with pytest.raises(ValueError, match="per_task >= 1"):
        balanced("hypernoise.shapeworld.captions:captions", 0, split="train")


def test_half_a_character_is_refused_with_its_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [Prompt("good", "a \N{SNOWMAN} \U0001f600", "t"), Prompt("bad", "bad \ud800 one", "t")]
    monkeypatch.setattr(build_prompts, "check_call", lambda *_: None)
    monkeypatch.setattr(build_prompts, "resolve", lambda _: lambda: given)
    said = r"prompt 'bad' has half a character, '\\ud800', at letter 5"
    with pytest.raises(ValueError, match=said):
        load_prompts(PromptsSpec("somewhere:prompts", {}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a cat", "a dog"], "gives 'a cat', a str, in a list of prompts: its prompt_id is 'None'"),
        ([Prompt("one", "a cat", "t"), None], "'None', a NoneType, in a list of prompts"),
        ([Prompt("one", b"a cat", "t")], "its text is \"b'a cat'\", a bytes, must be a text"),
        ([Prompt(1, "a cat", "t")], "its prompt_id is '1', a int, must be a text"),
        (None, "gives 'None', a NoneType, must give a list of prompts"),
        ("a cat", "gives 'a cat', a str, must give a list of prompts"),
        ({"one": "a cat"}, "a dict, must give a list of prompts"),
    ],
)
def test_what_gives_no_prompts_is_named_with_what_it_gives(
    given: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_prompts, "check_call", lambda *_: None)
    monkeypatch.setattr(build_prompts, "resolve", lambda _: lambda: given)
    with pytest.raises(ValueError, match=f"somewhere:prompts.*{re.escape(words)}"):
        load_prompts(PromptsSpec("somewhere:prompts", {}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a cat"], "a str, in a list of prompts: its prompt_id"),
        (None, "must give a list of prompts"),
        ([Prompt("one", "a cat", "t", {"size": {1, 2}})], "metadata_text of 'one': .*not JSON"),
        ([Prompt("one", "a cat", "t", meaning=None)], "its meaning is 'None', a NoneType, must"),
    ],
)
def test_prompts_of_a_benchmark_are_checked_before_any_image_is_made(
    given: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness_toys.ToyBenchmark, "prompts", lambda _: given)
    with pytest.raises(ValueError, match=f"prompts of harness_toys:ToyBenchmark.*{words}"):
        load_prompts(harness_toys.BENCHMARK.prompts)


def test_lines_end_where_every_tool_ends_them_and_marks_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffa cat\u2028sleeps\r\ncaf\u00e9\x85 \x1c\n\nlast".encode())
    assert lines_of(path) == ["a cat\u2028sleeps", "caf\u00e9\x85 \x1c", "", "last"]
    path.write_bytes(b"one\ntwo\n")
    assert lines_of(path) == ["one", "two"]
    path.write_bytes(b"one\ncaf\xe9")
    with pytest.raises(ValueError, match=r"prompts\.txt, line 2: not UTF-8"):
        lines_of(path)
    path.write_bytes(b"\xef\xbb\xbf{")
    with pytest.raises(ValueError, match=r"prompts\.txt is no JSON, or cut off"):
        read_json(path)
