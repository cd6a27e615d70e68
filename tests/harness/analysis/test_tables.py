"""Tables: every number worked out by hand, no dependence on row order, and named faults."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import measured
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.special import stdtrit  # type: ignore[import-untyped]

from harness.analysis.costs import BUSY
from harness.analysis.interval_columns import with_interval
from harness.analysis.pairing import FrameError
from harness.analysis.tables import sweep, table1
from harness.analysis.training_curve import curve
from harness.benchmarks.geneval import TASKS

Frames = dict[str, pd.DataFrame]

# Per task two prompts of two images with means 1 and 1/2: the task's mean has variance 1/16, one of
# its images 3/16. The intraclass correlation is (6 (4/16 - 3/16) + .02) / (6 * 3/16 + .1) with what
# is usual, so that four images count as 3.025, a quarter of the variance is owed to the design
# effect, and t has 100.9 degrees of freedom.
DESIGN = 1 + (6 / 16 + 0.02) / (18 / 16 + 0.1)
IMAGES, T = 4 / DESIGN, float(stdtrit(6 / (1 - 1 / DESIGN) ** 2, 0.975))
#: Half the width of a gain's interval, where one image of four gains; .4 of one is unseen.
HALF = T * ((3 / 16 / IMAGES + 0.4 / IMAGES**2) / 6) ** 0.5
# Wilson's bounds, since all six tasks are alike.
_Z2 = T**2 / (6 * IMAGES)
CENTRE = (0.75 + _Z2 / 2) / (1 + _Z2)
REACH = (_Z2 * 3 / 16 + _Z2**2 / 4) ** 0.5 / (1 + _Z2)


def world() -> Frames:
    return {
        "scores": measured.scores(),
        "images": measured.images(),
        "timings": measured.timings(),
    }


def row(table: pd.DataFrame, model: str, method: str) -> pd.Series[Any]:
    found = table[(table["model"] == model) & (table["method"] == method)]
    assert len(found) == 1
    return found.iloc[0]


def one_image(frame: pd.DataFrame, method: str, prompt: str, image: int) -> pd.Series[bool]:
    return (
        (frame["model"] == "tiny_a")
        & (frame["method"] == method)
        & (frame["prompt_id"] == prompt)
        & (frame["image_index"] == image)
    )


def test_table1_has_exactly_the_promised_columns_and_a_row_per_model_and_method() -> None:
    table = table1(**world())
    assert " ".join(table.columns) == (
        "model method reward steps world nfe backbone_params_m params_m "
        "generation_ms generation_ms_ci_low generation_ms_ci_high "
        "end_to_end_ms end_to_end_ms_ci_low end_to_end_ms_ci_high n_timings n_disturbed "
        "n_images n_prompts "
        "geneval_mean geneval_mean_ci_low geneval_mean_ci_high "
        "geneval_single_object geneval_single_object_ci_low geneval_single_object_ci_high "
        "geneval_two_object geneval_two_object_ci_low geneval_two_object_ci_high "
        "geneval_counting geneval_counting_ci_low geneval_counting_ci_high "
        "geneval_colors geneval_colors_ci_low geneval_colors_ci_high "
        "geneval_position geneval_position_ci_low geneval_position_ci_high "
        "geneval_color_attr geneval_color_attr_ci_low geneval_color_attr_ci_high "
        "gain_over_base gain_ci_low gain_ci_high p_holm "
        "train_reward_mean train_reward_mean_ci_low train_reward_mean_ci_high "
        "judge_reward_mean judge_reward_mean_ci_low judge_reward_mean_ci_high "
        "gain_train_reward gain_train_reward_ci_low gain_train_reward_ci_high "
        "gain_judge_reward gain_judge_reward_ci_low gain_judge_reward_ci_high"
    )
    assert list(zip(table["model"], table["method"], strict=True)) == [
        (model, method) for model in measured.MODELS for method in measured.METHODS
    ]


def test_gains_of_rewards_are_paired_and_leave_holms_family_as_it_is() -> None:
    table = table1(**world())
    for reward in ("train_reward", "judge_reward"):
        means = table.set_index(["model", "method"])[f"{reward}_mean"]
        base = means.xs("base", level="method")
        for one in table.to_dict("records"):
            gain = means[one["model"], one["method"]] - base[one["model"]]
            assert one[f"gain_{reward}"] == pytest.approx(gain, abs=1e-12)
            assert one[f"gain_{reward}_ci_low"] <= gain + 1e-12
    assert [name for name in table.columns if name.startswith("p_")] == ["p_holm"]


def test_table1_of_the_small_world_is_the_one_worked_out_by_hand() -> None:
    found = row(table1(**world()), "tiny_b", "hypernoise")
    expected = {
        "nfe": 2.0,
        "params_m": 2.5,
        "backbone_params_m": 1.5,
        "generation_ms": 4.5,
        "end_to_end_ms": 5.0,
        "n_images": 24,
        "geneval_mean": 0.75,
        "geneval_mean_ci_low": CENTRE - REACH,
        "geneval_mean_ci_high": CENTRE + REACH,
        **{f"geneval_{task}": 0.75 for task in TASKS},
        # Over base: prompt 0 gains one image of two, prompt 1 none.
        "gain_over_base": 0.25,
        "gain_ci_low": 0.25 - HALF,
        "gain_ci_high": 0.25 + HALF,
        "train_reward_mean": 1.0,
        "judge_reward_mean": 5.0,
    }
    assert dict(found[list(expected)]) == pytest.approx(expected, abs=1e-6)
    assert list(found[["model", "method", "reward", "steps"]]) == [
        "tiny_b",
        "hypernoise",
        "matcher",
        1,
    ]


def test_every_judge_has_columns_of_its_own_under_its_own_name() -> None:
    given = world()
    judged = given["scores"]["metric"] == "judge_reward"
    second = given["scores"][judged].assign(metric="second_judge")
    second["value"] += 1
    given["scores"] = pd.concat([given["scores"], second], ignore_index=True)
    both = row(table1(**given), "tiny_b", "hypernoise")
    assert both["judge_reward_mean"] == 5.0
    assert both["second_judge_mean"] == 6.0
    only = table1(**given, judges=["second_judge"])
    assert "second_judge_mean_ci_low" in only
    assert "judge_reward_mean" not in only
    with pytest.raises(FrameError, match="unknown metric 'second_juge'; did you mean 'second_jud"):
        table1(**given, judges=["second_juge"])


def test_a_benchmark_with_other_tasks_and_scores_that_are_no_verdicts_has_a_table() -> None:
    given = world()
    scores = given["scores"]
    scores["metric"] = scores["metric"].replace("geneval_correct", "hpsv2_1")
    scores.loc[scores["metric"] == "hpsv2_1", "value"] *= 30
    for kind in ("scores", "images"):
        given[kind]["task"] = given[kind]["task"].replace("counting", "anime")
    found = row(table1(**given, metric="hpsv2_1"), "tiny_b", "hypernoise")
    assert found["hpsv2_1_mean"] == pytest.approx(0.75 * 30)
    assert found["hpsv2_1_anime"] == pytest.approx(0.75 * 30)
    assert found["gain_over_base"] == pytest.approx(0.25 * 30)


def test_the_base_gains_nothing_over_itself_and_searching_can_lose() -> None:
    table = table1(**world())
    gain = ["gain_over_base", "gain_ci_low", "gain_ci_high"]
    assert list(row(table, "tiny_a", "base")[gain]) == [0.0, 0.0, 0.0]
    # Each prompt loses one image of two: no correlation, and the normal quantile.
    half = 1.959964 * ((1 / 4 / 4 + 0.4 / 4**2) / 6) ** 0.5
    lost = list(row(table, "tiny_a", "reno")[gain])
    assert lost == pytest.approx([-0.5, -0.5 - half, -0.5 + half], abs=1e-6)


def test_geneval_mean_weighs_tasks_alike_however_many_prompts_they_have() -> None:
    # Without prompt 1, single_object is at 1; the others stay at 3/4. The other model keeps it.
    given = world()
    for kind in ("scores", "images"):
        hard = given[kind]["prompt_id"] == "single_object-1"
        given[kind] = given[kind][~hard | (given[kind]["model"] != "tiny_a")]
    found = row(table1(**given), "tiny_a", "hypernoise")
    assert found["geneval_single_object"] == 1.0
    assert found["geneval_mean"] == pytest.approx((1.0 + 5 * 0.75) / 6)
    assert found["n_images"] == 22


def test_gain_is_paired_by_prompt_so_the_same_base_mean_elsewhere_widens_it() -> None:
    def base_fails_where_hypernoise_succeeds(method: str, prompt: int, image: int) -> bool:
        return prompt == 1 if method == "base" else measured.is_correct(method, prompt, image)

    given = world() | {"scores": measured.scores(base_fails_where_hypernoise_succeeds)}
    found = row(table1(**given), "tiny_a", "hypernoise")
    # Gains of the prompts: 1 and -1/2, so far apart that two images count as one: 24 degrees of
    # freedom, and a variance of 11/16 of one image.
    half = 2.0638986 * ((11 / 16 / 2 + 0.4 / 2**2) / 6) ** 0.5
    assert found["gain_over_base"] == pytest.approx(0.25)
    assert found["gain_ci_high"] == pytest.approx(0.25 + half)
    assert half > 2 * HALF


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_rows_give_the_same_table_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given = world()
    given["scores"]["value"] += np.where(
        given["scores"]["metric"] == "geneval_correct", 0.0, rng.normal(size=len(given["scores"]))
    )
    mixed = {kind: measured.shuffled(frame, seed) for kind, frame in given.items()}
    assert_frame_equal(table1(**mixed), table1(**given), check_exact=True)


def test_models_and_methods_come_in_the_order_asked_for_and_others_not_at_all() -> None:
    table = table1(**world(), models=["tiny_b", "tiny_a"], methods=["reno", "hypernoise"])
    assert list(table["model"]) == ["tiny_b", "tiny_b", "tiny_a", "tiny_a"]
    assert list(table["method"]) == ["reno", "hypernoise"] * 2
    # The base is not shown, but gains are still over it.
    assert row(table, "tiny_a", "hypernoise")["gain_over_base"] == pytest.approx(0.25)


def test_several_step_counts_are_compared_with_the_base_of_their_own() -> None:
    given = world()
    four = {kind: frame.assign(steps=4) for kind, frame in given.items()}
    at_base = (four["scores"]["method"] == "base") & (four["scores"]["metric"] == "geneval_correct")
    four["scores"].loc[at_base, "value"] = 1.0
    table = table1(**{kind: pd.concat([given[kind], four[kind]]) for kind in given})
    gains = table[table["method"] == "hypernoise"].set_index(["model", "steps"])["gain_over_base"]
    assert gains["tiny_a"].to_dict() == pytest.approx({1: 0.25, 4: -0.25})


def test_times_are_of_the_largest_batch_unless_another_is_asked_for() -> None:
    assert row(table1(**world()), "tiny_a", "reno")["generation_ms"] == 100.0
    alone = table1(**world(), batch_size=1)
    assert row(alone, "tiny_a", "reno")["generation_ms"] == 1000.0


def test_a_median_time_has_an_interval_from_six_timings_on_and_says_of_how_many_it_is() -> None:
    given = world()
    often = given["timings"].query("method == 'base'")
    added = [often.assign(repeat=often["repeat"] + 3 * i, ms=6.0 + i) for i in (1, 2)]
    given["timings"] = pd.concat([given["timings"], *added])
    table = table1(**given)
    measures = [*with_interval("generation_ms"), "n_timings"]
    # 1, 2, 3, 7, 7, 7, 8, 8, 8: of nine, the second and the eighth hold the median at 96 %.
    assert list(row(table, "tiny_a", "base")[measures]) == [7.0, 2.0, 8.0, 9]
    np.testing.assert_array_equal(
        row(table, "tiny_a", "reno")[measures].astype(float), [100.0, np.nan, np.nan, 3.0]
    )
    assert any("n_timings" in note for note in table.attrs["notes"])


def test_times_that_other_work_disturbed_are_counted_in_the_row_and_named_below_the_table() -> None:
    given = world()
    assert not [note for note in table1(**given).attrs["notes"] if BUSY in note]
    timings = given["timings"]
    is_busy = (timings["method"] == "reno") & (timings["repeat"] > 0)
    given["timings"] = timings.assign(slowdown=np.where(is_busy, 0.2, 0.05))
    table = table1(**given)
    assert row(table, "tiny_a", "reno")["n_disturbed"] == 2
    assert row(table, "tiny_a", "base")["n_disturbed"] == 0
    (said,) = [note for note in table.attrs["notes"] if BUSY in note]
    assert "tiny_a reno (2 of 3)" in said
    assert "base" not in said
    # Frames of before the machine's speed was measured do not know it.
    given["timings"] = timings.assign(slowdown=np.nan)
    assert table1(**given)["n_disturbed"].isna().all()


def without(kind: str, which: Callable[[pd.DataFrame], Any]) -> Callable[[Frames], None]:
    def change(given: Frames) -> None:
        frame = given[kind]
        given[kind] = frame[~which(frame)]

    return change


def put(kind: str, column: str, value: Any, which: Callable[[pd.DataFrame], Any]) -> Any:
    def change(given: Frames) -> None:
        given[kind].loc[which(given[kind]), column] = value

    return change


def twice(kind: str) -> Callable[[Frames], None]:
    def change(given: Frames) -> None:
        rows = one_image(given[kind], "reno", "colors-1", 1)
        given[kind] = pd.concat([given[kind], given[kind][rows].head(1)])

    return change


def rows_of(model: str, method: str) -> Callable[[pd.DataFrame], Any]:
    return lambda frame: (frame["model"] == model) & (frame["method"] == method)


def picture(method: str, metric: str | None = None) -> Callable[[pd.DataFrame], Any]:
    def which(frame: pd.DataFrame) -> Any:
        found = one_image(frame, method, "counting-0", 1)
        return found if metric is None else found & (frame["metric"] == metric)

    return which


def everywhere(frame: pd.DataFrame) -> Any:
    return pd.Series(True, index=frame.index)


def both(which: Callable[[pd.DataFrame], Any]) -> Callable[[Frames], None]:
    def change(given: Frames) -> None:
        without("scores", which)(given)
        without("images", which)(given)

    return change


FAULTS: dict[str, tuple[Callable[[Frames], None], tuple[str, ...]]] = {
    "method without any rows": (
        without("scores", lambda frame: frame["method"] == "reno"),
        ("unknown method 'reno' (valid: base, hypernoise)",),
    ),
    "method missing for one model": (
        both(rows_of("tiny_b", "reno")),
        ("no rows of method 'reno' for model 'tiny_b'",),
    ),
    "model without any rows": (
        both(lambda frame: frame["model"] == "tiny_b"),
        ("unknown model 'tiny_b'; did you mean 'tiny_a'? (valid: tiny_a)",),
    ),
    "baseline missing for one model": (
        both(rows_of("tiny_a", "base")),
        ("no rows of the baseline 'base' for model 'tiny_a' at steps 1",),
    ),
    "baseline under two rewards": (
        put("scores", "reward", "matcher", picture("base")),
        ("more than one baseline: tiny_a base, steps 1; tiny_a base on matcher, steps 1",),
    ),
    "image that base lacks": (
        both(picture("base")),
        (
            "tiny_a base, steps 1: lacks 1 of the images that tiny_a reno on matcher, steps 1 has: "
            "prompt 'counting-0' image 1 seed 7",
        ),
    ),
    "image that only base has": (
        both(picture("reno")),
        ("tiny_a reno on matcher, steps 1: lacks 1 of the images that tiny_a base, steps 1 has",),
    ),
    "image from another seed": (
        put("scores", "seed", 8, lambda frame: frame["method"] == "reno"),
        ("lacks 24 of the images", "seed 8", "and 21 more"),
    ),
    "score twice": (
        twice("scores"),
        (
            "tiny_a reno on matcher, steps 1: geneval_correct: scored more than once: "
            "prompt 'colors-1' image 1 seed 7",
        ),
    ),
    "image row twice": (
        twice("images"),
        ("tiny_a reno on matcher, steps 1: images: more than one image row: prompt 'colors-1'",),
    ),
    "NaN score": (
        put("scores", "value", np.nan, picture("hypernoise", "judge_reward")),
        (
            "tiny_a hypernoise on matcher, steps 1: judge_reward: score is not a finite number: "
            "prompt 'counting-0' image 1 seed 7",
        ),
    ),
    "infinite score": (
        put("scores", "value", np.inf, picture("hypernoise", "train_reward")),
        ("train_reward: score is not a finite number: prompt 'counting-0' image 1",),
    ),
    "verdict that is neither 0 nor 1": (
        put("scores", "value", 0.5, picture("hypernoise", "geneval_correct")),
        ("tiny_a hypernoise on matcher, steps 1: geneval_correct is 0.5, must be 0 or 1",),
    ),
    "image without one of its scores": (
        without("scores", picture("reno", "train_reward")),
        ("reno on matcher, steps 1: train_reward: image without a score: prompt 'counting-0'",),
    ),
    "score without an image": (
        without("images", picture("reno")),
        ("reno on matcher, steps 1: judge_reward: no image row: prompt 'counting-0' image 1",),
    ),
    "metric that nothing has": (
        put("scores", "metric", "train_rewards", lambda frame: frame["metric"] == "train_reward"),
        ("scores: unknown metric 'train_reward'; did you mean 'train_rewards'?",),
    ),
    "method without timing": (
        without("timings", rows_of("tiny_b", "hypernoise")),
        ("tiny_b hypernoise on matcher, steps 1: no timing at batch size 64 (timed: 1, 64)",),
    ),
    "no timings at all": (
        without("timings", everywhere),
        ("tiny_a base, steps 1: no timing", "tiny_b reno on matcher, steps 1: no timing"),
    ),
    "NaN timing": (
        put("timings", "ms", np.nan, rows_of("tiny_a", "reno")),
        ("generation_ms is not a finite number: tiny_a reno matcher 1 0; ",),
    ),
    "timing twice": (
        put("timings", "repeat", 0, rows_of("tiny_a", "reno")),
        ("more than one row: tiny_a reno matcher 1 0",),
    ),
    "timings on different numbers of threads": (
        put("timings", "threads", 1, rows_of("tiny_a", "reno")),
        ("timings on 1, 2 threads cannot be compared",),
    ),
    "parameters that change between timings": (
        put("timings", "params_m", 9.0, lambda frame: frame["repeat"] == 0),
        ("tiny_a base, steps 1: params_m differs",),
    ),
    "two benchmarks": (
        put("scores", "benchmark", "other", lambda frame: frame["task"] == "colors"),
        ("one benchmark per table, these are other, shapes",),
    ),
    "task that GenEval has not": (
        put("scores", "task", "colours", lambda frame: frame["task"] == "colors"),
        ("tasks colours are none of GenEval's: single_object",),
    ),
    "task without images": (
        both(lambda frame: frame["task"] == "position"),
        ("tiny_a base, steps 1: no image of task position",),
    ),
    "prompt in two tasks": (
        put("scores", "prompt_id", "colors-0", lambda frame: frame["prompt_id"] == "counting-0"),
        ("prompts in more than one task: 'colors-0'",),
    ),
}


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_fault_is_named(change: Callable[[Frames], None], words: tuple[str, ...]) -> None:
    given = world()
    change(given)
    with pytest.raises(FrameError) as caught:
        table1(**given, models=measured.MODELS, methods=measured.METHODS)
    for word in words:
        assert word in str(caught.value)


def test_one_message_names_faults_of_every_kind() -> None:
    given = world()
    without("timings", rows_of("tiny_b", "reno"))(given)
    put("scores", "value", np.nan, picture("hypernoise", "judge_reward"))(given)
    both(rows_of("tiny_b", "base"))(given)
    both(lambda frame: rows_of("tiny_a", "reno")(frame) & (frame["task"] == "colors"))(given)
    with pytest.raises(FrameError) as caught:
        table1(**given)
    assert str(caught.value).startswith("table1 cannot be made:")
    for word in (
        "tiny_b reno on matcher, steps 1: no timing",
        "judge_reward: score is not a finite number",
        "no rows of the baseline 'base' for model 'tiny_b'",
        "tiny_a reno on matcher, steps 1: lacks 4 of the images",
        "; and 1 more",
    ):
        assert word in str(caught.value)


def test_lacking_columns_are_named() -> None:
    given = world()
    with pytest.raises(FrameError, match="images lack the columns nfe"):
        table1(**(given | {"images": given["images"].drop(columns="nfe")}))
    with pytest.raises(FrameError, match="scores lack the columns seed, value"):
        table1(**(given | {"scores": given["scores"].drop(columns=["seed", "value"])}))
    with pytest.raises(FrameError, match="scores: no rows"):
        table1(**(given | {"scores": given["scores"].head(0)}))


def test_a_million_scores_tabulate_in_ten_seconds() -> None:
    n_prompts, n_images = 4632, 4
    ids = np.arange(n_prompts)
    prompts = pd.DataFrame(
        {
            "prompt_id": pd.Series([f"prompt {number}" for number in ids], dtype="str"),
            "task": pd.Series(np.asarray(TASKS)[ids % 6], dtype="str"),
            "prompt_meaning": pd.Series([f"meaning {number}" for number in ids], dtype="str"),
            "benchmark": "shapes",
            "training_seed": None,
            "seed": 0,
            "steps": 1,
        }
    )
    pictures = prompts.merge(pd.DataFrame({"image_index": range(n_images)}), how="cross")
    cells = pd.DataFrame(
        [(m, n, "r") for m in ("a", "b", "c") for n in ("base", "x", "y", "z", "u", "v")],
        columns=["model", "method", "reward"],
    )
    images = cells.merge(pictures, how="cross").assign(nfe=1.0)
    metrics = pd.DataFrame({"metric": ["geneval_correct", "train_reward", "judge_reward"]})
    scores = images.merge(metrics, how="cross")
    rng = np.random.default_rng(0)
    scores["value"] = rng.integers(0, 2, len(scores)).astype(float)
    costs = {"steps": 1, "batch_size": 8, "repeat": 0, "ms": 1.0, "params_m": 1.0, "threads": 1}
    costs["backbone_params_m"] = 1.0
    costs |= {"nfe": 1.0, "peak_memory_mib": 1.0}
    timings = measured.in_stages(cells.assign(**costs).to_dict("records"))
    assert len(scores) >= 10**6
    # The processor's time, since other work on the machine is not this function's fault.
    start = time.process_time()
    table = table1(scores, images, timings)
    assert time.process_time() - start < 10.0
    by_hand = scores[(scores["model"] == "b") & (scores["method"] == "y")]
    by_hand = by_hand[by_hand["metric"] == "geneval_correct"].groupby("task")["value"].mean()
    assert row(table, "b", "y")["geneval_mean"] == pytest.approx(by_hand.mean())


def test_sweep_orders_settings_by_value_after_the_method_without_one() -> None:
    values = {"reno": 0.02, "hypernoise": 0.5, "base": None}
    table = sweep(measured.shuffled(measured.scores()), values=values, models=["tiny_b", "tiny_a"])
    assert list(table.columns) == [
        *("model", "method", "reward", "steps", "learning_rate", "n_images", "n_prompts"),
        *with_interval("geneval_mean"),
        *with_interval("train_reward_mean"),
        *with_interval("judge_reward_mean"),
        *(
            column
            for stem in ("geneval", "train_reward", "judge_reward")
            for column in (*with_interval(f"over_best_{stem}"), f"p_holm_over_best_{stem}")
        ),
    ]
    assert list(table["model"]) == ["tiny_b"] * 3 + ["tiny_a"] * 3
    assert list(table["method"]) == ["base", "reno", "hypernoise"] * 2
    assert list(table["learning_rate"][1:3]) == [0.02, 0.5]
    assert np.isnan(table["learning_rate"][0])
    found = row(table, "tiny_a", "hypernoise")
    assert found["geneval_mean"] == pytest.approx(0.75)
    assert found["geneval_mean_ci_low"] == pytest.approx(CENTRE - REACH, abs=1e-6)
    assert found["train_reward_mean"] == pytest.approx(1.0)


def test_settings_of_a_sweep_are_compared_with_the_best_on_the_same_noise() -> None:
    table = sweep(measured.scores(), values={"reno": 0.02, "hypernoise": 0.5, "base": None})
    base, reno, best = (row(table, "tiny_a", name) for name in ("base", "reno", "hypernoise"))
    # The best by GenEval is nobody's rival but its own, and no test.
    assert best["over_best_geneval"] == 0 and np.isnan(best["p_holm_over_best_geneval"])
    # As the gain of hypernoise over base, the other way round.
    gain = row(table1(**world()), "tiny_a", "hypernoise")
    assert base["over_best_geneval"] == pytest.approx(-gain["gain_over_base"])
    assert base["over_best_geneval_ci_low"] == pytest.approx(-gain["gain_ci_high"])
    assert base["p_holm_over_best_geneval"] > gain["p_holm"] > 0.05
    # reno has less GenEval than the best, and more of the reward that was searched.
    assert reno["over_best_geneval_ci_high"] < 0 < reno["over_best_train_reward_ci_low"]


def test_rows_tie_by_their_paired_difference_from_the_best_not_by_their_own_interval() -> None:
    def nearly_alike(method: str, prompt: int, image: int) -> bool:
        return image == 0 if method == "base" else measured.is_correct(method, prompt, image)

    tied = table1(**world() | {"scores": measured.scores(nearly_alike)}).attrs["tied"]
    key = ("tiny_a", "{}", "matcher", "1")
    best = tuple(part.format("hypernoise") for part in key)
    assert best in tied["geneval_mean"] and ("tiny_a", "base", "", "1") in tied["geneval_mean"]
    # All images lost is not as good, though with twelve prompts its own interval is wide.
    assert tuple(part.format("reno") for part in key) not in tied["geneval_mean"]
    # The highest reward, and no other differs from it by nothing.
    of_model = [row for row in tied["train_reward_mean"] if row[0] == "tiny_a"]
    assert of_model == [("tiny_a", "reno", "matcher", "1")]


def test_a_sweep_of_no_parameter_has_no_column_for_one() -> None:
    values = dict.fromkeys(measured.METHODS)
    table = sweep(measured.scores(), values=values, parameter="", models=["tiny_a"])
    assert list(table.columns[:5]) == ["model", "method", "reward", "steps", "n_images"]
    assert list(table["method"]) == sorted(measured.METHODS)


def test_sweep_refuses_settings_without_rows_and_unequal_images() -> None:
    scores = measured.scores()
    with pytest.raises(FrameError, match="unknown method 'reno_2'; did you mean 'reno'"):
        sweep(scores, values={"reno": 0.1, "reno_2": 0.2})
    with pytest.raises(FrameError, match="tiny_a reno on matcher, steps 1: lacks 1 of the images"):
        sweep(scores[~picture("reno")(scores)], values={"base": None, "reno": 0.1})
    with pytest.raises(FrameError, match="values are empty"):
        sweep(scores, values={})


def test_curve_holds_validations_only_by_step() -> None:
    table = curve(measured.shuffled(measured.training()), models=["tiny_b"], reward="redness")
    assert list(table.columns) == [
        *("model", "method", "reward", "training_seed", "step"),
        *("validation_judge_reward", "validation_reward"),
    ]
    tuned = table[table["method"] == "lora_finetune"]
    assert list(tuned["step"]) == [0, 10, 20, 30]
    assert list(tuned["validation_reward"]) == [0.0, 10.0, 20.0, 30.0]
    assert list(tuned["validation_judge_reward"]) == [4.0, 3.0, 2.0, 1.0]


def test_curve_names_what_is_missing_double_or_broken() -> None:
    training = measured.training()
    with pytest.raises(FrameError, match=r"no training on reward 'blueness' \(there: redness\)"):
        curve(training, reward="blueness")
    with pytest.raises(FrameError, match="unknown method 'base'"):
        curve(training, methods=["base"])
    with pytest.raises(FrameError, match="more than one row: tiny_a hypernoise redness 0 0 reward"):
        curve(pd.concat([training, training.head(1)]))
    broken = training.assign(value=training["value"].where(training["step"] != 30))
    with pytest.raises(FrameError, match="value is not a finite number: tiny_a hypernoise redness"):
        curve(broken)
    with pytest.raises(FrameError, match="no validation rows"):
        curve(training[training["kind"] == "train"])
