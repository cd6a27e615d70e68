"""Scoring: what is on disk, by the benchmark's scorer and by rewards."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness_toys
import numpy as np
import pandas as pd
import pytest
from harness_toys import BENCHMARK, METHOD, PROMPTS, REWARD, ToyBenchmark, made_images
from PIL import Image

from harness.benchmarks.build import check_benchmark
from harness.benchmarks.protocol import Score
from harness.experiment.jobs import ScoreJob
from harness.results import frames
from harness.stages import score
from hypernoise.models.protocol import Conditioning


@pytest.fixture(autouse=True)
def _counts() -> Iterator[None]:
    harness_toys.reset()
    yield
    harness_toys.reset()


@pytest.fixture
def images(tmp_path: Path) -> str:
    return made_images(tmp_path / "base")


@pytest.fixture
def other_images(tmp_path: Path) -> str:
    method = dataclasses.replace(METHOD, name="other")
    return made_images(tmp_path / "other", method=method)


def score_job(*images: str, **changes: Any) -> ScoreJob:
    fields: dict[str, Any] = {
        "benchmark": BENCHMARK,
        "rewards": {"train_reward": REWARD},
        "images": images,
        "out": str(Path(images[0]).parents[2] / "scores.parquet") if images else "none.parquet",
        "batch_size": 4,
    }
    return ScoreJob(**fields | changes)


def scored(*images: str, **changes: Any) -> pd.DataFrame:
    job = score_job(*images, **changes)
    score.run(job)
    return frames.read(job.out, "scores")


def bytes_of(row: Any, images: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(Path(images).parent / row.path), dtype=np.float32) / 255


def test_every_image_gets_a_row_per_metric_with_the_images_identity(
    images: str, other_images: str
) -> None:
    table = scored(images, other_images)
    assert table.groupby(["method", "metric"]).size().to_dict() == {
        (method, metric): 6
        for method in ("toy_method", "other")
        for metric in ("number", "train_reward")
    }
    identity = [column.name for column in frames.IDENTITY]
    of_images = frames.read(images, "images")[identity]
    of_scores = table[(table["method"] == "toy_method") & (table["metric"] == "number")][identity]
    assert of_scores.reset_index(drop=True).equals(of_images)


def test_the_benchmark_gets_each_images_own_pixels_and_metadata(images: str) -> None:
    table = scored(images)
    found = table[table["metric"] == "number"].set_index(["prompt_id", "image_index"])
    for row in frames.read(images, "images").itertuples():
        own = found.loc[(row.prompt_id, row.image_index)]
        assert own["value"] == int(str(row.prompt_id).removeprefix("toy-"))
        assert own["detail"] == f"blue {bytes_of(row, images)[..., 2].mean():.4f}"


def test_a_reward_sees_the_bytes_of_the_png_and_its_own_prompt(images: str) -> None:
    table = scored(images)
    found = table[table["metric"] == "train_reward"].set_index(["prompt_id", "image_index"])
    for row in frames.read(images, "images").itertuples():
        expected = bytes_of(row, images)[..., 0].mean() + len(str(row.prompt))
        value = found.loc[(row.prompt_id, row.image_index), "value"]
        assert value == pytest.approx(expected, abs=1e-5)


def test_a_png_that_changes_on_disk_changes_its_score(images: str) -> None:
    before = scored(images)
    path = Path(images).parent / "png" / "toy-1_001.png"
    Image.new("RGB", (4, 4), (255, 0, 0)).save(path)
    changed = scored(images).merge(before, on=[*frames.SCORES.key], suffixes=("", "_before"))
    moved = changed[changed["value"] != changed["value_before"]]
    assert moved["prompt_id"].tolist() == ["toy-1"]
    assert moved["image_index"].tolist() == [1]
    assert moved["value"].item() == pytest.approx(1 + len(PROMPTS[1]))


def test_the_batch_size_changes_no_score(images: str) -> None:
    tables = [
        scored(images, batch_size=size).sort_values([*frames.SCORES.key], ignore_index=True)
        for size in (1, 4, 100)
    ]
    for other in tables[1:]:
        assert other.drop(columns="value").equals(tables[0].drop(columns="value"))
        assert np.allclose(other["value"], tables[0]["value"], atol=1e-6)


def test_a_batch_that_does_not_fit_is_halved_and_changes_no_score(
    images: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = [*frames.SCORES.key]
    whole = scored(images, batch_size=100).sort_values(key, ignore_index=True)
    harness_toys.Redness.room = 2
    halved = scored(images, batch_size=100).sort_values(key, ignore_index=True)
    assert halved.drop(columns="value").equals(whole.drop(columns="value"))
    assert np.allclose(halved["value"], whole["value"], atol=1e-6)
    assert (
        "score toy_benchmark of toy_model: out of memory with 6 at a time"
        in capsys.readouterr().err
    )


def test_each_prompt_is_encoded_once_per_reward(images: str, other_images: str) -> None:
    scored(images, other_images, batch_size=1)
    assert list(PROMPTS[:3]) == harness_toys.Redness.encoded


def test_a_benchmarks_arguments_reach_its_class(images: str) -> None:
    benchmark = dataclasses.replace(BENCHMARK, arguments={"offset": 10.0})
    table = scored(images, benchmark=benchmark, rewards={})
    assert set(table["value"]) == {10.0, 11.0, 12.0}


def test_a_reward_may_be_measured_under_its_own_name(images: str) -> None:
    rewards = {"judge_reward": REWARD, "toy_reward": REWARD}
    table = scored(images, rewards=rewards)
    assert set(table["metric"]) == {"number", "judge_reward", "toy_reward"}


def test_a_prompt_swap_scores_the_same_images_against_another_prompt(images: str) -> None:
    before = scored(images)
    table = scored(images, swap="within_task", seed=3)
    key = [*frames.SCORES.key]
    plain = table[~table["metric"].str.endswith(frames.SWAPPED)]
    pd.testing.assert_frame_equal(
        plain.sort_values(key, ignore_index=True), before.sort_values(key, ignore_index=True)
    )
    rows = table.set_index(["prompt_id", "image_index", "metric"])
    for row in frames.read(images, "images").itertuples():
        number, reward = (
            rows.loc[(row.prompt_id, row.image_index, name + frames.SWAPPED)]
            for name in ("number", "train_reward")
        )
        other = number["detail"].removeprefix("against ")
        assert other != row.prompt_id
        place = int(other.removeprefix("toy-"))
        assert number["value"] == place
        red = bytes_of(row, images)[..., 0].mean()
        assert reward["value"] == pytest.approx(red + len(PROMPTS[place]), abs=1e-5)


def test_a_prompt_swap_shows_an_image_to_the_benchmark_next_to_itself(images: str) -> None:
    scored(images, swap="within_task", seed=3, batch_size=100)
    # Six images, each against two prompts, in one call.
    assert ToyBenchmark.seen == [[range(start, start + 2) for start in range(0, 12, 2)]]


def test_a_prompt_swap_that_cannot_be_is_refused_before_any_scoring(images: str) -> None:
    for swap, message in (("between_tasks", "cannot be swapped"), ("any", "unknown prompt swap")):
        with pytest.raises(ValueError, match=message):
            scored(images, swap=swap)
    assert harness_toys.Redness.encoded == []


SEVERAL = dataclasses.replace(BENCHMARK, arguments={"square": True})


def test_a_benchmark_of_several_metrics_sees_an_image_once_and_gives_it_a_row_of_each(
    images: str,
) -> None:
    table = scored(images, benchmark=SEVERAL, rewards={})
    assert sum(run.stop - run.start for batch in ToyBenchmark.seen for run in batch) == 6
    values = table.set_index(["prompt_id", "image_index", "metric"])["value"].unstack()
    assert values["number"].tolist() == [0, 0, 1, 1, 2, 2]
    assert values["square"].tolist() == [0, 0, 1, 1, 4, 4]


def test_every_metric_says_what_it_means(images: str) -> None:
    table = scored(images, benchmark=SEVERAL, swap="within_task", seed=3)
    assert dict(zip(table["metric"], table["meaning"], strict=True)) == {
        "number": "the prompt's number",
        "square": "its square",
        "train_reward": "the reward toy_reward of the final image",
        "number_swapped": "the prompt's number, of a swapped prompt",
        "square_swapped": "its square, of a swapped prompt",
        "train_reward_swapped": "the reward toy_reward of the final image, of a swapped prompt",
    }


def test_an_image_that_a_metric_leaves_out_has_a_row_that_says_so_instead(images: str) -> None:
    benchmark = dataclasses.replace(SEVERAL, arguments={"square": True, "left_out": 1})
    table = scored(images, benchmark=benchmark, swap="within_task", seed=3)
    counts = table.groupby(["prompt_id", "metric"]).size().unstack(fill_value=0)
    assert counts["number"].to_dict() == {"toy-0": 2, "toy-1": 0, "toy-2": 2}
    assert counts["number_left_out"].to_dict() == {"toy-0": 0, "toy-1": 2, "toy-2": 0}
    assert counts["square"].to_dict() == {"toy-0": 2, "toy-1": 2, "toy-2": 2}
    left_out = table[table["metric"] == "number_left_out"]
    assert set(left_out["detail"]) == {"odd one out"}
    assert set(left_out["value"]) == {1.0}
    # Against other prompts, it is their images that are left out.
    swapped = table[table["metric"] == "number_left_out" + frames.SWAPPED]
    assert set(swapped["detail"]) == {"against toy-1"}
    assert len(swapped) == 2


def test_a_metric_that_the_benchmark_does_not_give_is_refused_before_any_scoring(
    images: str,
) -> None:
    benchmark = dataclasses.replace(SEVERAL, metric="sqaure")
    message = "unknown metric of benchmark 'toy_benchmark' 'sqaure'; did you mean 'square'"
    with pytest.raises(ValueError, match=message):
        scored(images, benchmark=benchmark)
    with pytest.raises(ValueError, match=message):
        check_benchmark(benchmark)
    assert harness_toys.Redness.encoded == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda scores: scores[:-1], "ToyBenchmark gives scores of 3 images, asked for 4"),
        (
            lambda scores: [{"square": one["square"]} for one in scores],
            "gives an image of prompt 'toy-0' square, must give each of number, square",
        ),
        (
            lambda scores: [True for _ in scores],
            "'True', a bool, must give a mapping for each image",
        ),
        (lambda scores: 0.5, "gives '0.5', a float, must give a list: a mapping for each image"),
        (lambda scores: [{**s, "number": 1.0} for s in scores], "as number '1.0', a float, must"),
        (lambda scores: [{} for _ in scores], "nothing, must give each of number, square"),
        (
            lambda scores: [one | {"number": Score(float("nan"))} for one in scores],
            "gives an image of prompt 'toy-0' the number nan, which is not finite",
        ),
        (
            lambda scores: [one | {"number": Score("1.0")} for one in scores],
            "gives an image of prompt 'toy-0' the number '1.0', a str, must give a number",
        ),
    ],
    ids=["images", "metric", "truth", "one number", "bare numbers", "nothing", "finite", "text"],
)
def test_what_a_benchmark_gives_is_checked(
    spoil: Any, message: str, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyBenchmark, "spoil", staticmethod(spoil))
    with pytest.raises(ValueError, match=message):
        scored(images, benchmark=SEVERAL)
    assert not Path(score_job(images).out).exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda prompts: None, "Redness.encode gives NoneType, must give a Conditioning of 3"),
        (lambda prompts: Conditioning({}, ("a cat",)), "gives 1 prompts, must give a Cond"),
    ],
)
def test_what_a_reward_encodes_is_checked(
    given: Any, words: str, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Theirs(harness_toys.Redness):
        encode = staticmethod(given)

    Theirs.encode.__qualname__ = "Redness.encode"
    monkeypatch.setattr(harness_toys, "Redness", Theirs)
    with pytest.raises(ValueError, match=words):
        scored(images)


@pytest.mark.parametrize("kind", [np.bool_, np.int64, np.float32, bool, int])
def test_numbers_of_numpy_and_truth_values_are_numbers(
    kind: Any, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ToyBenchmark,
        "spoil",
        staticmethod(lambda scores: [one | {"number": Score(kind(1))} for one in scores]),
    )
    table = scored(images, benchmark=SEVERAL)
    assert set(table["value"][table["metric"] == "number"]) == {1.0}


LIST = dataclasses.replace(
    BENCHMARK,
    target="harness.benchmarks.prompts:PromptList",
    arguments={"prompts": {"target": "harness_toys:prompts"}},
    metric="",
)


def test_a_benchmark_that_is_a_list_of_prompts_is_measured_by_rewards_alone(images: str) -> None:
    assert set(scored(images, benchmark=LIST)["metric"]) == {"train_reward"}
    with pytest.raises(ValueError, match="'toy_benchmark' measures nothing itself, and no reward"):
        scored(images, benchmark=LIST, rewards={})


def test_a_second_judge_is_measured_under_the_name_that_the_config_gives_it(images: str) -> None:
    rewards = {"train_reward": REWARD, "judge_reward": REWARD, "second_judge": REWARD}
    assert set(scored(images, rewards=rewards)["metric"]) == {"number", *rewards}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", "'number' of reward 'toy_reward' is measured by benchmark 'toy_benchmark'"),
        ("judge_swapped", "must not end in _left_out or _swapped"),
        ("judge_left_out", "must not end in _left_out or _swapped"),
    ],
)
def test_a_judge_with_the_name_of_something_else_is_refused_before_any_scoring(
    name: str, message: str, images: str
) -> None:
    job = score_job(images, rewards={name: REWARD})
    for refuse in (score.check_ahead, score.run):
        with pytest.raises(ValueError, match=message):
            refuse(job)
    assert harness_toys.Redness.encoded == []


@pytest.mark.parametrize(
    ("changes", "was", "now"),
    [
        ({"text": "a blue square"}, "a red circle", "a blue square"),
        ({"ids": ("toy-1", "toy-0", "toy-2")}, '"number": 0', '"number": 1'),
    ],
    ids=["text", "metadata"],
)
def test_an_image_is_not_judged_by_a_prompt_that_has_changed_since_it_was_made(
    changes: dict[str, Any], was: str, now: str, images: str
) -> None:
    for benchmark in (BENCHMARK, LIST):
        prompts = {"prompts": {"target": "harness_toys:prompts", **changes}}
        arguments = changes if benchmark is BENCHMARK else prompts
        with pytest.raises(ValueError, match=r"prompt 'toy-\d' .* has changed since") as caught:
            scored(images, benchmark=dataclasses.replace(benchmark, arguments=arguments))
        then, today = str(caught.value).split("Now: ")
        assert was in then
        assert now in today
    assert harness_toys.Redness.encoded == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ()}, "no files with images"),
        (
            {"benchmark": dataclasses.replace(BENCHMARK, name="toy2")},
            "images of benchmark 'toy_benchmark' cannot be scored as 'toy2'",
        ),
        (
            {"benchmark": dataclasses.replace(BENCHMARK, arguments={"n": 2})},
            "unknown prompt of benchmark toy_benchmark 'toy-2'.*toy-0, toy-1",
        ),
    ],
    ids=["images", "benchmark", "prompt"],
)
def test_a_job_that_cannot_be_carried_out_says_why(
    changes: dict[str, Any], message: str, images: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scored(images, **changes)
    assert harness_toys.Redness.encoded == []


def test_a_missing_weight_file_frame_or_image_is_named_before_any_scoring(images: str) -> None:
    lost = dataclasses.replace(REWARD, arguments={"weights": "lost.safetensors"})
    with pytest.raises(FileNotFoundError, match=r"lost\.safetensors is missing"):
        scored(images, rewards={"train_reward": lost})
    with pytest.raises(FileNotFoundError, match=r"none\.parquet is missing"):
        scored(images, "none.parquet")
    next(Path(images).parent.rglob("toy-2_000.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"toy-2_000\.png is missing"):
        scored(images)
    assert harness_toys.Redness.encoded == []


def test_the_same_images_twice_are_refused(images: str) -> None:
    with pytest.raises(ValueError, match="same thing"):
        scored(images, images)


def test_an_unreadable_image_and_an_image_of_another_size_are_named(images: str) -> None:
    path = next(Path(images).parent.rglob("toy-0_001.png"))
    Image.new("RGB", (5, 4)).save(path)
    with pytest.raises(ValueError, match=r"toy-0_001\.png has another size"):
        scored(images)
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"toy-0_001\.png cannot be read"):
        scored(images)


def test_a_reward_that_is_not_finite_is_named_and_nothing_is_written(images: str) -> None:
    broken = dataclasses.replace(REWARD, arguments={"broken": True})
    with pytest.raises(ValueError, match="'toy_redness' returned nan"):
        scored(images, rewards={"train_reward": broken})
    assert not Path(score_job(images).out).exists()
