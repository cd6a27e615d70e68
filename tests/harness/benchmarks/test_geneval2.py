"""GenEval 2: its file, Soft-TIFA's means, its counterpart in the embedded world."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness_toys import BENCHMARK, made_images
from scipy import stats

from harness.base.errors import SpecError
from harness.benchmarks import geneval2, questions
from harness.benchmarks import shapeworld_questions as world
from harness.benchmarks.geneval2 import GenEval2
from harness.benchmarks.protocol import Images, Prompt
from harness.benchmarks.questions import Probabilities
from harness.build import data_files
from harness.experiment.jobs import ScoreJob
from harness.stages import score
from hypernoise.shapeworld.captions import captions
from hypernoise.shapeworld.scenes import lay_out, render

#: The example of the authors' README.
RECORD = {
    "prompt": "four white bicycles in front of three plastic cows",
    "atom_count": 7,
    "vqa_list": [
        ["How many bicycles are in the image?", "four"],
        ["Are the bicycles white?", "Yes"],
        ["Are the bicycles in front of the cows?", "Yes"],
    ],
    "skills": ["count", "attribute", "position"],
}
DETECTOR = {"target": "harness.benchmarks.shapeworld_questions:DetectorAnswerer"}
PUBLISHED = {"target": "harness.benchmarks.geneval2:prompts"}


class Told:
    """Gives the answers to an image's questions these probabilities, in their order."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def answer_probability(
        self, images: Images, asked: Sequence[Sequence[tuple[str, str]]]
    ) -> Probabilities:
        return [self.values[: len(those)] for those in asked]

    def check_answer(self, question: str, answer: str) -> None:
        pass


def scored(monkeypatch: pytest.MonkeyPatch, *values: float) -> tuple[float, dict[str, Any]]:
    monkeypatch.setattr(questions, "build_answerer", lambda _: Told(*values))
    benchmark = GenEval2(PUBLISHED, {"target": "x:Y"})
    (found,) = benchmark.score(np.zeros((1, 3, 4, 4), np.float32), [asked(RECORD)])
    return found["geneval2"].value, json.loads(found["geneval2"].detail)


def asked(metadata: Mapping[str, Any], prompt_id: str = "toy-0") -> Prompt:
    return Prompt(prompt_id, "a circle", "atoms_1", metadata)


def test_a_score_is_the_geometric_mean_with_the_arithmetic_one_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value, detail = scored(monkeypatch, 0.9, 0.5, 0.6)
    # The authors' script takes scipy's.
    assert value == pytest.approx(stats.gmean([0.9, 0.5, 0.6]), abs=1e-12)
    assert detail["geometric"] == pytest.approx(value, abs=1e-6)
    assert detail["arithmetic"] == pytest.approx(2 / 3, abs=1e-6)
    assert [atom[2:] for atom in detail["atoms"]] == [
        [0.9, "count"],
        [0.5, "attribute"],
        [0.6, "position"],
    ]


def test_one_impossible_answer_fails_the_prompt_but_not_its_other_atoms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value, detail = scored(monkeypatch, 1.0, 0.0, 1.0)
    assert value == 0
    assert detail["arithmetic"] == pytest.approx(2 / 3, abs=1e-6)


def test_the_published_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "geneval2_data.jsonl"
    path.write_text(f"{json.dumps(RECORD)}\n{json.dumps({**RECORD, 'atom_count': 3})}\n")
    first, second = geneval2.read_prompts(path)
    assert (first.prompt_id, first.text, first.task) == ("00000", RECORD["prompt"], "atoms_7")
    assert (second.prompt_id, second.task) == ("00001", "atoms_3")
    assert first.metadata["vqa_list"] == RECORD["vqa_list"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "line 1: not JSON"),
        ('{"prompt": "a cat", "skills": []}', "line 1 lacks atom_count, vqa_list"),
        ("[]", "line 1 lacks prompt, atom_count"),
        (json.dumps({**RECORD, "prompt": 3}), "line 1: prompt is 3, must be a text"),
        (json.dumps({**RECORD, "vqa_list": "who?"}), "vqa_list is 'who\\?', must be a list"),
        (json.dumps({**RECORD, "skills": ["count"]}), "as long as each other"),
        (json.dumps({**RECORD, "skills": [], "vqa_list": []}), "not empty"),
        (
            json.dumps({**RECORD, "skills": ["x"], "vqa_list": [["Where is it?", "in front"]]}),
            "line 1, prompt 'four white .*', question 'Where is it\\?': .*one word, got 'in front'",
        ),
        (json.dumps({**RECORD, "skills": ["x"], "vqa_list": [["How many?", 4]]}), "two texts"),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "geneval2_data.jsonl"
    path.write_text(line)
    with pytest.raises(ValueError, match=message):
        geneval2.read_prompts(path)


def test_another_file_stops_with_both_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    path = tmp_path / geneval2.DATA
    path.parent.mkdir()
    path.write_text(json.dumps(RECORD))
    expected = data_files.places()[geneval2.DATA].partition("#sha256=")[2]
    with pytest.raises(ValueError, match=f"SHA-256 [0-9a-f]{{64}}, expected {expected}"):
        geneval2.prompts()


def test_an_answerer_that_knows_only_yes_and_no_is_refused_before_any_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "build_answerer", lambda _: object())
    with pytest.raises(SpecError, match="answer_probability"):
        GenEval2(PUBLISHED, {"target": "x:Y"}).check()


def test_an_answer_that_cannot_be_judged_is_named_before_any_image_is_scored(
    tmp_path: Path,
) -> None:
    pairs = [["Is there a circle?", "Yes"], ["How many circles are in the image?", "dozens"]]
    prompts = [asked({"vqa_list": pairs[:1]}), asked({"vqa_list": pairs}, "toy-1")]
    message = "prompt 'toy-1', question 'How many circles .*', answer 'dozens': .*cannot say"
    with pytest.raises(ValueError, match=message):
        GenEval2(PUBLISHED, DETECTOR).check(prompts)
    benchmark = replace(
        BENCHMARK,
        target="harness.benchmarks.geneval2:GenEval2",
        arguments={
            "prompts": {"target": "harness_toys:questioned", "vqa_list": pairs},
            "answerer": DETECTOR,
        },
        metric="geneval2",
    )
    images = made_images(tmp_path, benchmark=benchmark)
    job = ScoreJob(benchmark, {}, (images,), str(tmp_path / "scores.parquet"))
    with pytest.raises(ValueError, match="prompt 'toy-0', question 'How many"):
        score.check(job)


def test_rendered_captions_pass_in_the_embedded_world() -> None:
    chosen = captions("evaluation")[::9]
    noise = np.random.default_rng(0).standard_normal((len(chosen), 4, 8, 8)).astype(np.float32)
    scenes = [lay_out(caption, features) for caption, features in zip(chosen, noise, strict=True)]
    images = np.stack([render(scene) for scene in scenes]).astype(np.float32)
    known = {prompt.prompt_id: prompt for prompt in world.geneval2()}
    prompts = [known[f"geneval2_{caption.prompt_id}"] for caption in chosen]
    benchmark = GenEval2(PUBLISHED, DETECTOR)
    values = [found["geneval2"].value for found in benchmark.score(images, prompts)]
    assert min(values) > 0.9
    # Another caption's images fail most of the time.
    swapped = benchmark.score(images, prompts[1:] + prompts[:1])
    wrong = [found["geneval2"].value for found in swapped]
    assert sum(value > 0.5 for value in wrong) < len(wrong) / 2


def test_a_caption_is_asked_for_one_of_what_it_names_once() -> None:
    records = {prompt.text: prompt.metadata for prompt in world.geneval2()}
    caption = next(c for c in captions("evaluation") if c.task == "two_object")
    asked = records[caption.text]["vqa_list"]
    assert [answer for _, answer in asked] == ["Yes", "Yes", "one", "one"]
    counted = next(c for c in captions("evaluation") if c.task == "counting")
    assert records[counted.text]["skills"] == ["object", "count"]


def test_the_mean_of_equal_values_is_that_value() -> None:
    assert geneval2.geometric_mean([0.3] * 5) == pytest.approx(0.3)
    assert math.isfinite(geneval2.geometric_mean([1e-300] * 40))
