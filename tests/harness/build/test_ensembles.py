"""Sums of rewards: declared by name, checked, handed to jobs, scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_toys import BENCHMARK, made_images
from parity import small
from recorded_scorers import TARGETS, build

from harness.base.errors import SpecError
from harness.build.rewards import build_reward, check_reward, reward_files
from harness.experiment.components import BenchmarkSpec, Registry, RewardSpec
from harness.experiment.identity import job_hash
from harness.experiment.jobs import ScoreJob
from harness.experiment.validation import from_json, to_json
from harness.results import frames
from harness.stages import score

ENSEMBLE = "hypernoise.rewards.ensemble:Ensemble"
REDNESS = "hypernoise.rewards.redness:Redness"
MATCHER = "hypernoise.rewards.matcher:ShapeMatcher"


def registry(**parts: float) -> Registry:
    """Two rewards and a sum, which is declared before its parts."""
    made = Registry()
    made.add_reward("sum", target=ENSEMBLE, parts=parts, version=1, file="sum.smk")
    made.add_reward("red", target=REDNESS, version=1, scale=2.0, file="red.smk")
    made.add_reward("pink", target=REDNESS, version=1, file="pink.smk")
    return made


def test_a_missing_part_names_the_file_and_the_nearest_reward() -> None:
    made = registry(red=1.0, pnk=2.0)
    with pytest.raises(SpecError, match=r"sum\.smk: unknown part of reward 'sum': 'pnk'.*'pink'"):
        made.check_rewards()


def test_a_sum_that_contains_itself_shows_the_circle() -> None:
    made = registry(other=1.0)
    made.add_reward("other", target=ENSEMBLE, parts={"sum": 1.0}, version=1)
    with pytest.raises(SpecError, match="sum -> other -> sum"):
        made.check_rewards()


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"parts": {}}, "no parts"),
        ({"parts": {"red": "five"}}, "weight of part 'red' in reward 'bad' is 'five'"),
        ({"parts": {"red": float("nan")}}, "is nan, must be a finite number"),
        ({"target": REDNESS, "parts": {"red": 1.0}}, "'parts'"),
    ],
)
def test_a_bad_sum_is_refused_where_it_is_declared(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Registry().add_reward("bad", **{"target": ENSEMBLE, "version": 1, **keywords})


def test_a_job_carries_the_declarations_of_all_parts() -> None:
    spec = registry(red=3.0, pink=-1.0).reward("sum")
    job = ScoreJob(
        BenchmarkSpec("toy", "harness_toys:prompts", 1), {"sum": spec}, ("a",), "scores.parquet"
    )
    read = from_json(to_json(job), ScoreJob).rewards["sum"]
    assert read == spec
    built: Any = build_reward(read, "cpu")
    assert [(weight, part.name, part.scale) for weight, part in built.parts] == [
        (-1.0, "pink", 1.0),
        (3.0, "red", 2.0),
    ]
    assert built.name == "sum"


def test_a_new_version_of_a_part_makes_another_job() -> None:
    def hash_of(version: int) -> str:
        made = Registry()
        made.add_reward("sum", target=ENSEMBLE, parts={"red": 1.0}, version=1)
        made.add_reward("red", target=REDNESS, version=version)
        benchmark = BenchmarkSpec("toy", "harness_toys:prompts", 1)
        return job_hash(ScoreJob(benchmark, {"sum": made.reward("sum")}, ("a",), "o"))

    assert hash_of(1) == hash_of(1) != hash_of(2)


def test_parts_of_parts_are_weighed_twice() -> None:
    made = registry(red=3.0)
    made.add_reward("outer", target=ENSEMBLE, parts={"sum": 2.0, "pink": 1.0}, version=1)
    spec = made.reward("outer")
    assert [single.name for single in spec.singles()] == ["red", "pink"]
    reward = build_reward(spec, "cpu")
    images = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert reward.score(images, reward.encode(["x"])).tolist() == [2 * 3 * 2 + 1]


def sum_of_file(text: str) -> RewardSpec:
    made = Registry()
    made.add_reward("sum", target=ENSEMBLE, parts={"match": 1.0}, version=1)
    made.add_reward("match", target=MATCHER, weights=text, version=1, file="match.smk")
    return made.reward("sum")


def test_a_missing_file_of_a_part_is_found_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors"):
        check_reward(sum_of_file(str(tmp_path / "gone.safetensors")))


def test_a_download_without_a_hash_is_refused_before_any_work() -> None:
    spec = sum_of_file(f"hf://owner/name@{'0' * 40}/matcher.safetensors")
    with pytest.raises(SpecError, match=r"match\.smk: weights of reward 'match'.*#sha256="):
        check_reward(spec)


def test_a_parts_file_is_part_of_a_jobs_identity(tmp_path: Path) -> None:
    weights = tmp_path / "matcher.safetensors"
    weights.touch()
    assert reward_files(sum_of_file(str(weights))) == [str(weights)]


def test_a_sum_of_a_published_scorer_and_another_runs_through_the_score_verb(
    tmp_path: Path,
) -> None:
    build("hpsv2", tmp_path)
    made = Registry()
    hpsv2 = {"architecture": small.OPEN_CLIP, "dtype": "float32"}
    weights = str(tmp_path / "weights.pt")
    made.add_reward("hpsv2", target=TARGETS["hpsv2"], weights=weights, version=1, **hpsv2)
    made.add_reward("red", target=REDNESS, version=1)
    made.add_reward("sum", target=ENSEMBLE, parts={"hpsv2": 5.0, "red": 0.5}, version=1)
    rewards = {name: made.reward(name) for name in ("hpsv2", "red", "sum")}
    images = made_images(tmp_path)
    job = ScoreJob(BENCHMARK, rewards, (images,), str(tmp_path / "scores.parquet"))
    score.run(from_json(to_json(job), ScoreJob))
    wide = frames.read(job.out, "scores").pivot_table(
        index=["prompt_id", "image_index"], columns="metric", values="value"
    )
    assert len(wide) == 6
    assert wide["hpsv2"].nunique() == 6
    np.testing.assert_allclose(wide["sum"], 5 * wide["hpsv2"] + 0.5 * wide["red"], atol=1e-6)
