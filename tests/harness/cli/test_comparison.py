"""``harness compare``: differences worked out by hand, paired where noise is shared, and causes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness_toys import BENCHMARK, REWARD, damage
from paths import REPOSITORY
from scipy.special import stdtrit  # type: ignore[import-untyped]

from harness.analysis.statistics import paired_difference, unpaired_difference
from harness.cli.command_line import main
from harness.experiment.jobs import ScoreJob
from harness.experiment.variants import Variant
from harness.report.run_comparison import Comparison, compare
from harness.results import frames, provenance
from harness.results.earlier_names import method_today
from harness.results.results_folder import survey

Change = Callable[[pd.DataFrame], pd.DataFrame]


def results(
    folder: Path, change: Change = lambda rows: rows, version: int = 1, reward: str = REWARD.name
) -> Path:
    """A results folder with scores and timings."""
    spec = replace(REWARD, version=version, name=reward)
    out = folder / "scores" / "s.parquet"
    job = ScoreJob(BENCHMARK, {"train_reward": spec}, (), str(out))
    frames.write(change(measured.scores()), out, "scores", job)
    frames.write(measured.timings(), folder / "timings" / "t.parquet", "timings", {})
    return folder


def with_images(folder: Path) -> Path:
    """A results folder with an image frame and its files besides."""
    rows = measured.images()
    frames.write(rows, results(folder) / "images" / "images.parquet", "images", {})
    (folder / "images" / "png").mkdir()
    for name in rows["path"]:
        (folder / "images" / name).write_bytes(b"pixels")
    return folder


def of(found: Comparison, method: str, metric: str) -> pd.Series[Any]:
    rows = found.moved.query("model == 'tiny_a' and method == @method and metric == @metric")
    assert len(rows) == 1
    return rows.iloc[0]


def base_all_right(rows: pd.DataFrame) -> pd.DataFrame:
    right = (rows["method"] == "base") & (rows["metric"] == "geneval_correct")
    return rows.assign(value=rows["value"].mask(right, 1.0))


def other_noise(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(seed=rows["seed"] + 1)


def test_a_run_compared_with_itself_has_not_moved(tmp_path: Path) -> None:
    found = compare(survey(results(tmp_path / "a")), survey(results(tmp_path / "b")))
    assert len(found.moved) == 2 * 3 * 3
    assert not found.moved["moved"].any()
    assert (found.moved[["difference", "difference_ci_low", "difference_ci_high"]] == 0).all(
        axis=None
    )
    assert (found.moved["noise"] == "paired").all()
    assert (found.times["ratio"] == 1).all()
    assert found.causes.empty
    assert found.alone == []


def test_what_moved_is_paired_on_the_same_noise(tmp_path: Path) -> None:
    a, b = results(tmp_path / "a"), results(tmp_path / "b", base_all_right)
    row = of(compare(survey(a), survey(b)), "base", "geneval_correct")
    # Of every prompt one image was wrong before: the same difference everywhere.
    assert (row["a"], row["b"], row["difference"]) == (0.5, 1.0, 0.5)
    assert row["moved"]
    assert (row["n_a"], row["n_b"], row["n_paired"]) == (24, 24, 24)


def seeds_of(*seeds: int) -> Change:
    """Hypernoise's rows once for each training seed, whose number the reward grows with."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        trained = rows["method"] == "hypernoise"
        own = [rows[trained].assign(training_seed=s, value=rows["value"] + s) for s in seeds]
        return pd.concat([rows[~trained], *own]).astype({"training_seed": "Int64"})

    return change


def test_trainings_of_the_same_seed_are_paired_and_others_left_out(tmp_path: Path) -> None:
    a, b, c = (
        survey(results(tmp_path / name, seeds_of(*seeds)))
        for name, seeds in (("a", (0, 1)), ("b", (1, 2)), ("c", (5,)))
    )
    row = of(compare(a, b), "hypernoise", "train_reward")
    assert (row["noise"], row["n_a"], row["n_b"], row["n_paired"]) == ("paired", 48, 48, 24)
    assert row["difference"] == 0
    row = of(compare(c, survey(results(tmp_path / "e"))), "hypernoise", "train_reward")
    assert (row["noise"], row["n_paired"], row["difference"]) == ("paired", 24, -5.0)
    row = of(compare(a, c), "hypernoise", "train_reward")
    assert row["noise"] == "unpaired"
    # Seeds 0 and 1 differ by 1: their mean has a standard error of .5 with one degree of freedom.
    half = row["difference_ci_high"] - row["difference"]
    assert half == pytest.approx(0.5 * stdtrit(1, 0.975))


def test_two_rewards_are_not_compared_under_the_name_of_one(tmp_path: Path) -> None:
    a, b = (results(tmp_path / name, reward=name) for name in ("matcher", "redness"))
    found = compare(survey(a), survey(b))
    assert "train_reward" not in set(found.moved["metric"])
    assert "judge_reward" in set(found.moved["metric"])
    (said,) = found.foreign
    assert "train_reward (matcher) in a, and train_reward (redness) in b" in said
    assert any("train_reward (redness)" in line for line in found.alone)


def test_other_noise_is_not_paired_and_said_so(tmp_path: Path) -> None:
    a, b = results(tmp_path / "a"), results(tmp_path / "b", other_noise)
    row = of(compare(survey(a), survey(b)), "hypernoise", "geneval_correct")
    assert (row["noise"], row["n_paired"], row["difference"]) == ("unpaired", 0, 0.0)


def test_holm_takes_all_rows_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shifts = rng.normal(0.35, 0.5, len(measured.scores()))
    a = results(tmp_path / "a")
    b = results(tmp_path / "b", lambda rows: rows.assign(value=rows["value"] + shifts))
    found = compare(survey(a), survey(b)).moved
    zero_outside = (found["difference_ci_low"] > 0) | (found["difference_ci_high"] < 0)
    assert found["moved"].sum() < zero_outside.sum()
    assert not (found["moved"] & ~zero_outside).any()


def test_causes_name_versions_packages_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = results(tmp_path / "a")
    monkeypatch.setattr(provenance, "packages", lambda: {"torch": "0.1"})
    b = results(tmp_path / "b", version=2)
    causes = compare(survey(a), survey(b)).causes.set_index("what")
    assert causes.loc["packages.torch", "b"] == "0.1"
    assert causes.loc["packages.torch", "where"] == "everywhere"
    version = causes.loc["spec.rewards.train_reward.version"]
    assert (version["where"], version["a"], version["b"]) == ("scores/s.parquet", "1", "2")


def test_what_only_one_run_has_is_listed(tmp_path: Path) -> None:
    a = results(tmp_path / "a")
    b = results(tmp_path / "b", lambda rows: rows[rows["method"] != "reno"])
    alone = compare(survey(a), survey(b)).alone
    assert len(alone) == 2 * 3
    assert all(line.startswith("a: shapes tiny_") and " reno " in line for line in alone)


def test_images_are_compared_file_by_file_and_missing_files_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = with_images(tmp_path / "a"), with_images(tmp_path / "b")
    png = sorted((a / "images" / "png").glob("tiny_a_base_*"))
    (b / "images" / "png" / png[0].name).write_bytes(b"others")
    png[1].unlink()
    (b / "images" / "png" / png[2].name).unlink()
    found = compare(survey(a), survey(b))
    row = of(found, "base", "train_reward")
    assert (row["n_paired"], row["n_redrawn"], row["n_without_file"]) == (24, 1, 2)
    assert of(found, "reno", "train_reward")["n_without_file"] == 0
    assert found.missing == {"a": [png[1]], "b": [b / "images" / "png" / png[2].name]}
    assert main(["compare", str(a), str(b), "--out", str(tmp_path / "c")]) == 0
    assert f"- a: {png[1].parent}: 1 files: {png[1].name}\n" in capsys.readouterr().out
    written = json.loads((tmp_path / "c.json").read_text())["missing"]
    assert {"side": "a", "file": str(png[1])} in written


def test_without_image_frames_nobody_says_that_no_image_was_redrawn(tmp_path: Path) -> None:
    found = compare(survey(results(tmp_path / "a")), survey(with_images(tmp_path / "b")))
    assert (found.moved["n_without_file"] == found.moved["n_paired"]).all()
    assert found.missing == {"a": [], "b": []}


def test_it_prints_markdown_and_writes_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = results(tmp_path / "a"), results(tmp_path / "b", base_all_right)
    assert main(["compare", str(a), str(b), "--out", str(tmp_path / "out" / "c")]) == 0
    printed = capsys.readouterr().out
    assert "2 of 18 differences are beyond noise" in printed
    assert (tmp_path / "out" / "c.md").read_text() == printed
    assert len(pd.read_csv(tmp_path / "out" / "c.csv")) == 18
    written = json.loads((tmp_path / "out" / "c.json").read_text())
    metrics = {row["metric"] for row in written["moved"]}
    assert metrics == {"geneval_correct", "judge_reward", "train_reward"}


def test_bad_input_is_a_line_that_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = results(tmp_path / "a")
    b = results(tmp_path / "b", lambda rows: rows.assign(benchmark="other"))
    assert main(["compare", str(a), str(b)]) == 2
    assert main(["compare", str(a), str(tmp_path / "no")]) == 2
    damage(b / "scores" / "s.parquet")
    assert main(["compare", str(a), str(b)]) == 2
    nothing, missing, cut = capsys.readouterr().err.splitlines()
    assert "nothing to compare" in nothing
    assert f"results folder {tmp_path / 'no'} is missing" in missing
    assert f"{b / 'scores' / 's.parquet'} is truncated" in cut


def test_an_unpaired_difference_is_welchs_where_no_prompt_is_shared() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(1, 1, 40), rng.normal(0, 1, 60)
    zeros = [np.zeros(40), np.zeros(60)]
    found = unpaired_difference(
        (one, zeros[0], np.arange(40)), (other, zeros[1], np.arange(40, 100))
    )
    assert found.mean == pytest.approx(one.mean() - other.mean())
    parts = one.var(ddof=1) / 40, other.var(ddof=1) / 60
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 39 + parts[1] ** 2 / 59)
    half = stdtrit(freedom, 0.975) * sum(parts) ** 0.5
    assert found.high - found.mean == pytest.approx(half)
    assert found.n == found.clusters == 100


def test_an_unpaired_difference_covers_zero_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    prompts = np.repeat(np.arange(20), 4)
    tasks = prompts % 2
    inside = 0
    for _ in range(400):
        level = np.repeat(rng.normal(0, 1, 20), 4)
        sides = [(level + rng.normal(0, 1, 80), tasks, prompts) for _ in range(2)]
        found = unpaired_difference(*sides)
        inside += found.low <= 0 <= found.high
    # 95 % of 400 is 380; three standard errors are 13.
    assert 367 <= inside <= 393


@pytest.mark.parametrize("others", [[2, 2], [2, 3]])
def test_one_prompt_on_a_side_says_nothing_about_other_prompts(others: list[int]) -> None:
    # Two images of one prompt against others: its own deviations cancel, and looked like none.
    sides = ([1.0, 0.8], [0, 0], [1, 1]), ([0.1, 0.3], [0, 0], others)
    for found in (unpaired_difference(*sides), unpaired_difference(*reversed(sides))):
        assert abs(found.mean) == pytest.approx(0.7)
        assert np.isnan([found.low, found.high, found.p_value]).all()


def test_a_paired_difference_tests_what_its_interval_shows() -> None:
    values, zeros, prompts = [0.9, 1.1, 1.0, 1.2], [0.0] * 4, [0, 1, 2, 3]
    found = paired_difference(values, zeros, zeros, prompts)
    level = 1 - found.p_value
    touching = paired_difference(values, zeros, zeros, prompts, level)
    assert touching.low == pytest.approx(0, abs=1e-9)


def test_a_task_on_one_side_only_is_refused() -> None:
    with pytest.raises(ValueError, match="task 1 is on one side only"):
        unpaired_difference(([1.0, 0.0], [0, 1], [0, 1]), ([1.0], [0], [2]))


#: Columns that frames did not have.
LATER = ["nfe", "training_seed", "prompt_meaning"]


def of_old(folder: Path) -> Path:
    """A results folder as commit 9239d5b left it: no layout, other names, other columns."""
    old = {"hypernoise": "hypernoise_rank_8", "reno": "reno_lr_0_02"}
    rows = measured.scores()
    images = with_images(folder) / "images" / "images.parquet"
    parts = {
        images: measured.images(),
        folder / "scores" / "s.parquet": rows,
        folder / "timings" / "t.parquet": pd.DataFrame(
            {"model": ["tiny_a"], "method": ["hypernoise_rank_8"], "reward": ["matcher"]}
            | {"steps": [1], "batch_size": [1], "repeat": [0], "latency_ms": [5.0]}
        ),
    }
    for path, frame in parts.items():
        record = {"kind": path.parent.name, "commit": "9239d5b" + 33 * "0", "spec": {"x": 1}}
        table = pa.Table.from_pandas(
            frame.replace({"method": old}).drop(columns=LATER, errors="ignore"),
            preserve_index=False,
        )
        pq.write_table(table.replace_schema_metadata({b"hypernoise": json.dumps(record)}), path)
    return folder


def test_a_run_of_the_earlier_layout_is_compared_image_by_image_and_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    today = {"hypernoise": "hypernoise:alpha=16,rank=8", "reno": "reno:learning_rate=0.02"}
    a = of_old(tmp_path / "a")
    b = results(tmp_path / "b", lambda rows: rows.replace({"method": today}))
    found = compare(survey(a), survey(b))
    assert set(found.moved["method"]) == {"base", *today.values()}
    assert (found.moved["n_paired"] == 24).all()
    assert not found.moved["moved"].any()
    assert not found.causes["what"].str.startswith("spec").any()
    assert main(["compare", str(a), str(b)]) == 0
    said = capsys.readouterr().out
    assert "a: 3 of its files are of another layout of the harness (commit 9239d5b00000;" in said
    assert main(["verify", str(a), "--components", str(REPOSITORY / "workflows")]) == 1
    verdict, _, summary = capsys.readouterr().out.splitlines()
    assert verdict.startswith(f"{a}: 3 of its files are of another layout of the harness")
    assert summary.endswith(": 1 findings")


@pytest.mark.parametrize(
    ("name", "today"),
    [
        ("base", "base"),
        ("lora_finetune_rank_64", "lora_finetune_final:alpha=128,rank=64"),
        ("lora_finetune_step_40", "lora_finetune_final:checkpoint=40"),
        ("hypernoise_alpha_sum_0_001", "hypernoise:l2_reduction=sum,temperature=0.001"),
        ("hypernoise_alpha_mean_1000", "hypernoise:l2_reduction=mean,temperature=1000"),
        ("white_reno_lr_5_0", "white_reno:learning_rate=5"),
        ("zero_order_0_95", "zero_order:similarity=0.95"),
    ],
)
def test_methods_of_old_have_the_text_of_a_variant(name: str, today: str) -> None:
    assert method_today(name) == today == str(Variant.parse(today))
