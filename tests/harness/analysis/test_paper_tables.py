"""The paper's tables 2, 5, 6, 8, 9 and 10, and published numbers beside ours."""

from __future__ import annotations

import re
from typing import Any

import measured
import numpy as np
import pandas as pd
import pytest
from paper_frames import MODEL, frames_of

from harness.analysis import published
from harness.analysis.pairing import FrameError
from harness.analysis.paper_tables import compbench, dpg, geneval
from harness.analysis.statistics import bootstrap_interval, holm, paired_difference
from harness.analysis.tables import table1
from harness.report.formats import best, for_people, latex, markdown, page

STEPS = {"base": (1, 2, 4), "hypernoise": (1, 2, 4), "lora_finetune_final": (1, 2)}


def row(table: pd.DataFrame, method: str, steps: int) -> pd.Series[Any]:
    found = table[(table["method"] == method) & (table["steps"] == steps)]
    assert len(found) == 1
    return found.iloc[0]


def make(runs: Any = STEPS, printed_as: str = "table8", **changes: Any) -> pd.DataFrame:
    scores, images = frames_of({name: list(counts) for name, counts in runs.items()})
    ranks = {MODEL: {"hypernoise": 128, "lora_finetune_final": 128}}
    given = {"printed_as": printed_as, "runs": runs, "models": [MODEL], "ranks": ranks, **changes}
    return geneval(scores, images, **given)


def test_steps_have_a_row_each_and_gains_over_the_base_at_the_same_steps() -> None:
    table = make()
    pairs = list(zip(table["method"], table["steps"], strict=True))
    assert pairs == [(method, steps) for method, counts in STEPS.items() for steps in counts]
    scores, _ = frames_of({name: list(counts) for name, counts in STEPS.items()})
    means = scores.groupby(["method", "steps", "task"])["value"].mean()
    means = means.groupby(["method", "steps"]).mean()
    for method, steps in pairs:
        found = row(table, method, steps)
        assert found["geneval_mean"] == pytest.approx(means[method, steps])
        gain = means[method, steps] - means["base", steps]
        assert found["gain_over_base"] == pytest.approx(gain, abs=1e-12)
        assert (found["n_images"], found["n_prompts"]) == (120, 30)
    assert row(table, "hypernoise", 4)["nfe"] == 5


def test_p_values_are_corrected_for_all_gains_of_the_table_and_no_others() -> None:
    table = make()
    assert table.loc[table["method"] == "base", "p_holm"].isna().all()
    scores, _ = frames_of({name: list(counts) for name, counts in STEPS.items()})
    sides = {key: part for key, part in scores.groupby(["method", "steps"])}
    tests = [key for key in sides if key[0] != "base"]
    raw = []
    for method, steps in tests:
        own, base = sides[method, steps], sides["base", steps]
        keys = (own["task"].to_list(), own["prompt_id"].to_list())
        raw.append(paired_difference(own["value"], base["value"], *keys).p_value)
    found = [row(table, *key)["p_holm"] for key in tests]
    assert found == pytest.approx(holm(raw))


def test_published_numbers_are_joined_by_table_model_method_steps_and_rank() -> None:
    table = make()
    base, ours = row(table, "base", 4), row(table, "hypernoise", 4)
    assert (base["geneval_mean_published"], ours["geneval_mean_published"]) == (0.73, 0.77)
    # The paper fine-tunes to the end; table 10 prints two steps, and so does table 8.
    assert row(table, "lora_finetune_final", 2)["geneval_mean_published"] == 0.66
    assert ours["geneval_mean_difference"] == pytest.approx(ours["geneval_mean"] - 0.77)
    inside = ours["geneval_mean_ci_low"] <= 0.77 <= ours["geneval_mean_ci_high"]
    assert ours["geneval_mean_published_within"] == inside
    assert set(table["world"]) == {"paper"}
    assert for_people(table)["geneval_mean_published"][0].startswith("0.70 (")
    text = for_people(table)["geneval_mean_published"]
    words = "inside" if inside else "outside"
    assert text[table.index[(table["method"] == "hypernoise") & (table["steps"] == 4)][0]] == (
        f"0.77 ({ours['geneval_mean'] - 0.77:+.3f}, {words})"
    )


def test_variants_of_a_rank_find_the_printed_number_of_their_rank() -> None:
    runs = {"base": [1], "hypernoise:rank=8": [1], "hypernoise:rank=16": [1]}
    ranks = {MODEL: {"hypernoise:rank=8": 8, "hypernoise:rank=16": 16}}
    table = make(runs, "table9", ranks=ranks)
    assert table["geneval_mean_published"].to_list() == [0.70, 0.70, 0.71]
    assert table["lora_rank"].fillna(0).to_list() == [0, 8, 16]
    other = make(runs, "table9", ranks={MODEL: {"hypernoise:rank=8": 9, "hypernoise:rank=16": 16}})
    assert other["geneval_mean_published"].isna().to_list() == [False, True, False]


def test_variants_of_a_rank_stand_in_the_order_of_their_ranks() -> None:
    runs = {"base": [1], "hypernoise": [1], "hypernoise:rank=32": [1], "hypernoise:rank=4": [1]}
    ranks = {MODEL: {"hypernoise": 16, "hypernoise:rank=32": 32, "hypernoise:rank=4": 4}}
    assert make(runs, "table9", ranks=ranks)["lora_rank"].fillna(0).to_list() == [0, 4, 16, 32]


def test_another_world_has_no_published_columns_and_says_so() -> None:
    runs = {"base": [1], "hypernoise": [1]}
    scores, images = (frame.assign(benchmark="shapeworld") for frame in frames_of(runs))
    table = geneval(scores, images, printed_as="table2", runs=runs, models=[MODEL])
    assert not [name for name in table if "published" in name]
    assert set(table["world"]) == {"shapeworld"}
    words = "shapeworld is another world than the paper's: nothing here can be compared"
    assert words in markdown(table, "made by a test")


def test_compbench_has_a_column_per_category_and_dpg_one_for_all() -> None:
    runs = {"base": [1, 2], "hypernoise": [1, 2]}
    given = {"metric": "score", "binary": False}
    scores, images = frames_of(runs, ("color", "shape", "texture"), "t2i_compbench", **given)
    table = compbench(scores, images, metric="score", runs=runs, models=[MODEL])
    found = row(table, "hypernoise", 2)
    of_task = scores[(scores["task"] == "shape") & (scores["steps"] == 2)]
    own, base = (of_task[of_task["method"] == name] for name in ("hypernoise", "base"))
    expected = bootstrap_interval(own["value"], own["prompt_id"].to_list())
    assert found["t2i_compbench_shape"] == pytest.approx(expected.mean)
    assert found["t2i_compbench_shape_ci_low"] == pytest.approx(expected.low)
    constant = np.zeros(len(own))
    gain = paired_difference(own["value"], base["value"], constant, own["prompt_id"].to_list())
    assert (found["gain_shape"], found["gain_shape_ci_high"]) == pytest.approx((gain[0], gain[2]))
    assert found["t2i_compbench_shape_published"] == 0.53
    scores, images = frames_of(runs, ("entity",), "dpg_bench", "dpg_bench", binary=False)
    table = dpg(scores, images, metric="dpg_bench", runs=runs, models=[MODEL])
    mean = scores[(scores["method"] == "base") & (scores["steps"] == 1)]["value"].mean()
    assert row(table, "base", 1)["dpg_bench"] == pytest.approx(mean)
    assert row(table, "base", 1)["dpg_bench_published"] == 77.59


def both_dpg_scores(runs: dict[str, list[int]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both scores of five prompts, the first of which the published scorer leaves out."""
    scores, images = frames_of(runs, ("entity",), "dpg_bench", "dpg_bench", binary=False)
    lost = scores["prompt_id"] == "entity-0"
    corrected = scores.assign(metric="dpg_bench_corrected", value=scores["value"] + 1)
    names = scores["metric"].where(~lost, "dpg_bench_left_out")
    published = scores.assign(metric=names, value=scores["value"].where(~lost, 1.0))
    return pd.concat([published, corrected], ignore_index=True), images


def test_images_that_the_published_scorer_leaves_out_are_in_the_corrected_mean_only() -> None:
    runs = {"base": [1], "hypernoise": [1]}
    scores, images = both_dpg_scores(runs)
    tables = {
        metric: row(dpg(scores, images, metric=metric, runs=runs, models=[MODEL]), "hypernoise", 1)
        for metric in ("dpg_bench", "dpg_bench_corrected")
    }
    for metric, n_prompts in (("dpg_bench", 4), ("dpg_bench_corrected", 5)):
        own = scores[(scores["metric"] == metric) & (scores["method"] == "hypernoise")]["value"]
        assert tables[metric][metric] == pytest.approx(own.mean())
        assert (tables[metric]["n_prompts"], tables[metric]["n_images"]) == (
            n_prompts,
            4 * n_prompts,
        )
    assert tables["dpg_bench"]["dpg_bench_published"] == 79.20
    # Another way of counting has nothing in print to stand beside.
    assert not [name for name in tables["dpg_bench_corrected"].index if "published" in name]


def test_an_image_may_only_lack_a_score_where_every_method_says_that_it_is_left_out() -> None:
    runs = {"base": [1], "hypernoise": [1]}
    scores, images = both_dpg_scores(runs)
    given = {"metric": "dpg_bench", "runs": runs, "models": [MODEL]}
    first = (scores["method"] == "base") & (scores["image_index"] == 0)
    unsaid = first & (scores["metric"] == "dpg_bench_left_out")
    with pytest.raises(FrameError, match="image without a score: prompt 'entity-0' image 0"):
        dpg(scores[~unsaid], images, **given)
    scored_too = scores[unsaid].assign(metric="dpg_bench")
    with pytest.raises(FrameError, match=r"hypernoise .*lacks 1 of the images .*'entity-0'"):
        dpg(pd.concat([scores[~unsaid], scored_too]), images, **given)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("method == 'hypernoise' and steps == 2", "no rows of method 'hypernoise' for model .* 2"),
        ("method == 'base' and steps == 2", "no rows of method 'base' for model .* at steps 2"),
        ("method == 'hypernoise'", "unknown method 'hypernoise'"),
        (
            "method == 'hypernoise' and prompt_id == 'colors-1' and image_index == 2 and steps > 2",
            "hypernoise on matcher, steps 4: .*'colors-1' image 2",
        ),
    ],
)
def test_what_is_missing_is_named_and_never_left_out(lost: str, words: str) -> None:
    scores, images = frames_of({name: list(counts) for name, counts in STEPS.items()})
    kept = scores.drop(scores.query(lost).index)
    with pytest.raises(FrameError, match=words):
        geneval(kept, images, printed_as="table8", runs=STEPS, models=[MODEL])


def test_diversity_is_compared_with_table_7_under_our_names() -> None:
    table = pd.DataFrame(
        {
            **{"model": MODEL, "method": ["base", "hypernoise"], "steps": 1},
            "lpips_distance_mean": [0.6, 0.7],
            "lpips_distance_mean_ci_low": [0.59, 0.6],
            "lpips_distance_mean_ci_high": [0.61, 0.8],
            "dinov2_similarity_mean": [0.78, 0.9],
        }
    )
    found = published.beside(table.copy(), "table7", "geneval_diversity")
    assert found["lpips_distance_mean_published"].to_list() == [0.608, 0.592]
    assert found["lpips_distance_mean_published_within"].to_list() == [True, False]
    assert found["dinov2_similarity_mean_difference"].to_list() == pytest.approx([0.0, 0.075])
    assert list(published.beside(table.copy(), "table7", "shapeworld_diversity")) == list(table)


def first_table(benchmark: str = "geneval", second: str = "flux_schnell") -> pd.DataFrame:
    """Table 1 of two of the paper's models."""
    names = {"tiny_a": MODEL, "tiny_b": second}
    given = [
        frame.assign(model=frame["model"].map(names), benchmark=benchmark)
        for frame in (measured.scores(), measured.images(), measured.timings())
    ]
    given[-1] = pd.concat([given[-1].assign(repeat=n, ms=300.0 + n) for n in range(6)])
    given[-1] = given[-1].drop_duplicates(["model", "method", "batch_size", "stage", "repeat"])
    return table1(*given)


def test_table1_lists_the_six_models_that_are_only_published_with_the_printed_numbers() -> None:
    table = first_table()
    others = table[table["source"] == "published"].set_index("model")
    models = ["sd_v2.1", "sdxl", "dpo_sdxl", "hyper_sdxl", "flux_dev", "sd3_medium"]
    assert list(others.index) == models
    assert set(table[table["source"] == "measured"]["model"]) == {MODEL, "flux_schnell"}
    printed = published.results()
    facts = printed[(printed["table"] == "table1") & printed["model"].isin(models)]
    assert len(facts) == 6 * 9
    for fact in facts.itertuples():
        column, factor = {
            "time_s": ("generation_ms", 1e3),
            "params_b": ("backbone_params_m", 1e3),
        }.get(fact.metric, (fact.metric, 1.0))
        assert others.loc[fact.model, column] == pytest.approx(fact.value * factor), fact
    numbers = others.select_dtypes("number").drop(columns=["generation_ms", "backbone_params_m"])
    assert (
        numbers.drop(columns=[c for c in numbers if c in set(facts["metric"])])
        .isna()
        .all(axis=None)
    )
    assert set(others["method"]) == {"base"}


def test_a_comparison_that_was_measured_stands_beside_its_printed_numbers_and_not_below() -> None:
    table = first_table(second="hyper_sdxl")
    others = table[table["source"] == "published"]["model"]
    assert "hyper_sdxl" not in set(others) and len(others) == 5
    row = table.set_index(["model", "method"]).loc[("hyper_sdxl", "base")]
    assert row["source"] == "measured"
    assert row["geneval_mean_published"] == pytest.approx(0.56)


def test_rows_that_are_only_published_are_grey_with_the_printed_digits_and_never_bold() -> None:
    table = first_table()
    grey = for_people(table)[(table["source"] == "published").to_numpy()]
    assert "source" not in grey
    shown = grey.set_index("model").loc["sd_v2.1"]
    assert (shown["geneval_mean"], shown["geneval_counting"]) == ("0.50", "0.44")
    assert (shown["generation_ms"], shown["backbone_params_m"]) == ("1900", "800")
    assert (shown["n_images"], shown["gain_over_base"]) == ("\N{EN DASH}",) * 2
    assert not best(table)[(table["source"] == "published").to_numpy()].any(axis=None)
    text = markdown(table, "origin")
    assert "| *sd3_medium* | *base* |" in text
    assert f"| {MODEL} | base |" in text
    assert "models that the paper lists for comparison" in text
    tex = latex(table, "origin")
    assert r"\textcolor{gray}{hyper\_sdxl}" in tex
    assert "xcolor" in tex
    rows = re.findall(
        r"<tr class=\"([a-z ]*published)\"><td>(\w[^<]*)<", page(table, "t", "origin")
    )
    assert len(rows) == 6
    assert rows[0] == ("group published", "sd_v2.1")
    assert len(for_people(table)) == len(table)


def test_another_world_has_no_rows_that_are_only_published() -> None:
    table = first_table("shapes")
    assert "source" not in table
    assert not {"sdxl", "flux_dev"} & set(table["model"])
    assert "grey" not in markdown(table, "origin")


def test_table1_shows_published_cost_and_tasks_in_our_units() -> None:
    table = first_table()
    found = table[(table["model"] == MODEL) & (table["method"] == "hypernoise")].iloc[0]
    assert found["generation_ms_published"] == 300
    # It is another machine's: whether it lies in our interval would say nothing.
    assert found["generation_ms_ci_low"] == 300
    assert pd.isna(found["generation_ms_published_within"])
    assert found["backbone_params_m_published"] == 900
    assert found["geneval_position_published"] == 0.51
    assert found["geneval_position_published_within"] == (
        found["geneval_position_ci_low"] <= 0.51 <= found["geneval_position_ci_high"]
    )
    # The paper's FLUX is at four steps, these are at one.
    assert table.loc[table["model"] == "flux_schnell", "geneval_mean_published"].isna().all()


def test_the_best_and_all_that_may_be_as_good_are_bold_within_their_model() -> None:
    table = pd.DataFrame(
        {
            "model": ["a", "a", "a", "b", "b"],
            "geneval_mean": [0.9, 0.8, 0.7, 0.5, 0.4],
            "geneval_mean_ci_low": [0.85, 0.7, 0.6, 0.5, np.nan],
            "geneval_mean_ci_high": [0.95, 0.91, 0.8, 0.5, np.nan],
            "loss": [3.0, 1.0, 2.0, 1.0, 1.0],
        }
    )
    table.attrs["columns"] = {"geneval_mean": {"best": "highest"}, "loss": {"best": "lowest"}}
    marks = best(table)
    assert marks["geneval_mean"].to_list() == [True, True, False, True, False]
    assert marks["loss"].to_list() == [False, True, False, True, True]
    assert not marks["model"].any()
    assert "| **0.800 [0.70, 0.91]** |" in markdown(table, "")


def test_published_numbers_are_the_ones_printed() -> None:
    printed = published.results()
    assert len(printed) == 242
    assert set(printed["table"]) == set(published.BENCHMARKS)
    twice = printed.duplicated(["table", "model", "method", "steps", "lora_rank", "metric"])
    assert not twice.any()
    assert set(published.METHODS.values()) == set(printed["method"])
    with pytest.raises(ValueError, match="the paper has no 'table3'"):
        published.joined(make(), "table3", "geneval")


def test_images_that_are_not_the_papers_have_nothing_published_beside_them_and_say_why() -> None:
    runs = {"base": [1], "hypernoise": [1]}
    table = make(runs, "table2", departures=["geneval has 2 images per prompt, not 4"])
    assert not [name for name in table if "published" in name]
    assert set(table["world"]) == {"geneval, not the paper's"}
    assert "Not compared with published numbers: geneval has 2 images per prompt, not 4." in (
        markdown(table, "made by a test")
    )
    assert "geneval_mean_published" in make(runs, "table2")
