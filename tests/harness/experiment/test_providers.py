"""What tables are given: frames and values by the names of their functions' parameters."""

from __future__ import annotations

from typing import Any

import pytest
from experiments import STEPS, SWAPPED, WARM, experiment, make_registry

from harness.base.errors import SpecError
from harness.experiment.checks import check_columns, check_given
from harness.experiment.components import Registry, TableSpec
from harness.experiment.plan import Experiment
from harness.experiment.providers import PROVIDERS, Table

GENEVAL = "harness.analysis.paper_tables:geneval"
GRID = "harness.report.grids:side_by_side"
KL = "harness.analysis.kl_table:kl_table"


@pytest.fixture
def registry() -> Registry:
    return make_registry()


def table(made: Experiment, target: str, **changes: Any) -> Table:
    return Table(made, TableSpec("mine", target, 1, **changes))


def test_a_table_is_given_the_frames_that_its_function_names(registry: Registry) -> None:
    made = experiment(registry, models=["tiny_sd"], methods=["base", "reno"])
    job = table(made, "harness.analysis.tables:table1").job()
    images = [
        f"results/images/shapeworld/tiny_sd/{m}/steps1" for m in ("base/none", "reno/matcher")
    ]
    assert job.inputs == {
        "scores": ("results/scores/main/tiny_sd.parquet",),
        "images": tuple(f"{folder}/images.parquet" for folder in images),
        "timings": ("results/timings/main/tiny_sd.parquet",),
    }
    assert job.table.arguments["judges"] == ["judge_reward"]
    assert job.table.arguments["methods"] == ["base", "reno"]
    assert job.table.arguments["batch_size"] == 8
    searched = table(made, "harness.analysis.search_tables:search_budgets").job()
    assert searched.inputs == {"trajectories": (f"{images[1]}/trajectories.parquet",)}
    assert searched.table.arguments["methods"] == ["reno"]


def test_what_a_declaration_says_goes_before_what_the_plan_knows(registry: Registry) -> None:
    made = experiment(registry)
    target = "harness.analysis.tables:table1"
    assert table(made, target, arguments={"batch_size": 1}).job().table.arguments["batch_size"] == 1


def test_frames_that_a_function_can_do_without_are_left_out(registry: Registry) -> None:
    sets = {"regularisation": {"methods": ["base", "lora_finetune_final"]}}
    target = "harness.analysis.regularisation:regularisation"
    made = experiment(registry, image_sets=sets, similarities={})
    inputs = table(made, target, sets=("regularisation",)).inputs()
    assert list(inputs) == ["scores", "training"]
    assert inputs["training"][0] == "results/training/tiny_sd/matcher/lora_finetune"


def test_variants_of_a_rank_have_it_and_are_shown_with_their_kind(registry: Registry) -> None:
    variants = ["hypernoise:alpha=16,rank=8", "lora_finetune_final:rank=2"]
    sets = {
        "few": {"methods": ["base", "hypernoise", "lora_finetune"], "steps": [1, 2]},
        "ranks": {"methods": variants, "steps": [1]},
    }
    made = experiment(registry, image_sets=sets, training={"default": {**STEPS, "rank": 4}})
    shown = table(made, GENEVAL, sets=("few", "ranks"), trains="hypernoise").job().table.arguments
    assert shown["runs"] == {"base": [1, 2], "hypernoise": [1, 2], variants[0]: [1]}
    assert shown["ranks"]["tiny_sd"] == {"hypernoise": 4, variants[0]: 8}
    tuned = table(made, GENEVAL, sets=("few", "ranks"), trains="lora_finetune").shown()
    # What is matched is no end of a training.
    assert list(tuned) == ["base", variants[1]]


def test_a_grid_has_a_column_per_model_noise_method_and_steps(registry: Registry) -> None:
    made = experiment(registry)
    shown = table(made, GRID, methods=("base", "hypernoise"), place=2, n_images=2)
    assert PROVIDERS["columns"](shown) == [
        {"model": "tiny_sana", "method": method, "steps": 1, "image_index": index}
        for index in range(2)
        for method in ("base", "hypernoise")
    ]
    with pytest.raises(SpecError, match="mine shows model 3, there are 2"):
        table(made, GRID, place=3).job()


def test_rewards_stand_below_images_that_no_verdict_frames(registry: Registry) -> None:
    world = "harness.benchmarks.shapeworld:ShapeWorld"
    registry.add_benchmark("judged", target=world, metric="geneval_correct", version=1)
    sets = {"judged": {"benchmark": "judged"}, "redness": {"reward": "redness"}}
    made = experiment(registry, image_sets=sets)
    assert PROVIDERS["captions"](table(made, GRID, sets=("judged",))) is None
    registry.add_benchmark("own", target=world, metric="own_metric", version=1)
    own = table(experiment(registry, image_sets={"own": {"benchmark": "own"}}), GRID, sets=("own",))
    said = {"train_reward": "redness", "judge_reward": "judge"}
    shown = {"own_metric": "own metric", **said, "train_reward": "matcher"}
    assert PROVIDERS["captions"](own) == shown
    assert PROVIDERS["captions"](table(made, GRID, sets=("redness",))) == said


def test_the_argument_in_which_variants_differ_is_the_parameter_of_a_sweep(
    registry: Registry,
) -> None:
    sweep = ["base", "reno:learning_rate=0.5", "reno:learning_rate=2.0"]
    made = experiment(registry, image_sets={"sweep": {"methods": sweep}, "plain": {}})
    target = "harness.analysis.tables:sweep"
    given = table(made, target, sets=("sweep",)).job().table.arguments
    assert given["parameter"] == "learning_rate"
    assert given["values"] == {
        "base": None,
        "reno:learning_rate=0.5": 0.5,
        "reno:learning_rate=2": 2,
    }
    assert table(made, target, sets=("plain",)).job().table.arguments["parameter"] == ""


def test_searches_are_told_in_words_and_by_what_they_start_from(registry: Registry) -> None:
    registry.add_method("hypernoise_reno", search="reno", **WARM)
    arguments = {"tiny_sd reno": {"iterations": 3}, "hypernoise_reno": {"merged": True}}
    sets = {"compare": {"methods": ["base", "hypernoise_reno", "reno", "hypernoise:merged=true"]}}
    made = experiment(registry, arguments=arguments, image_sets=sets)
    pareto = table(made, "harness.report.pareto:pareto_methods", sets=("compare",))
    assert PROVIDERS["legend"](pareto) == {
        "base": "",
        "hypernoise_reno": "then reno",
        "reno": "tiny_sd iterations 3; tiny_sana",
        # How it is computed is left out.
        "hypernoise:merged=true": "",
    }
    assert PROVIDERS["starts"](pareto) == {"hypernoise_reno": "reno"}


def test_trainings_are_told_apart_by_checkpoint_and_l2_term(registry: Registry) -> None:
    weight = {"l2_reduction": "sum", "temperature": 10.0}
    variant = "hypernoise:l2_reduction=sum,temperature=10"
    tuned = "lora_finetune_final:checkpoint=2"
    sets = {"some": {"models": ["tiny_sana"], "methods": ["base", variant, tuned]}}
    made = experiment(registry, image_sets=sets)
    target = "harness.analysis.regularisation:regularisation"
    assert PROVIDERS["settings"](table(made, target, sets=("some",))) == {
        "tiny_sana": {
            variant: {"training": variant, "checkpoint": None, **weight},
            tuned: {"training": "lora_finetune", "checkpoint": 2},
        }
    }
    matched = experiment(registry, image_sets={"some": {"methods": ["lora_finetune"]}})
    with pytest.raises(SpecError, match="'lora_finetune' in image set 'some' is matched"):
        PROVIDERS["settings"](table(matched, target, sets=("some",)))


def test_an_audit_shows_networks_that_move_noise_with_their_temperature(
    registry: Registry,
) -> None:
    training = {"default": {**STEPS, "temperature": 0.5}, "tiny_sd": {"l2_reduction": "mean"}}
    made = experiment(registry, training=training)
    audit = table(made, KL)
    assert audit.inputs()["audits"] == [
        f"results/audits/{model}/matcher/hypernoise.parquet" for model in ("tiny_sd", "tiny_sana")
    ]
    assert PROVIDERS["temperatures"](audit) == {
        "tiny_sd": {"hypernoise": (0.5, "mean")},
        "tiny_sana": {"hypernoise": (0.5, "sum")},
    }
    still = experiment(registry, methods=["base", "lora_finetune"])
    with pytest.raises(SpecError, match="no method of image set 'main' trains a network"):
        table(still, KL).inputs()


def test_controls_need_a_set_with_swapped_methods(registry: Registry) -> None:
    made = experiment(registry, image_sets={"controls": {"swapped": SWAPPED}})
    target = "harness.analysis.controls:controls"
    controls = table(made, target, sets=("controls",)).job()
    assert controls.table.arguments["swapped_reward"] == "redness"
    with pytest.raises(SpecError, match="image set 'main' has no 'swapped', which mine needs"):
        table(made, target).job()


def test_a_table_of_one_model_reads_that_models_frames(registry: Registry) -> None:
    made = experiment(registry)
    spec = TableSpec("grid", "harness.report.grids:grid", 1, makes="figure", per_model=True)
    job = Table(made, spec, "tiny_sana").job()
    assert job.out == "results/figures/grid_tiny_sana"
    assert job.inputs["scores"] == ("results/scores/main/tiny_sana.parquet",)
    assert job.table.arguments["model"] == "tiny_sana"


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ({"image_index": 7}, r"image 7 of each prompt .*benchmark shapeworld has images 0 to \d"),
        ({"steps": 9}, "base on tiny_sd, steps 9, which is no part of image set main"),
        ({"method": "reno"}, "reno on tiny_sd, steps 1, which is no part"),
        ({"model": "tiny_sana"}, "base on tiny_sana"),
    ],
)
def test_an_image_that_a_figure_needs_and_no_benchmark_makes_is_named_before_the_run(
    registry: Registry, column: dict[str, Any], fault: str
) -> None:
    made = experiment(registry, models=["tiny_sd"], methods=["base"])
    fitting = {"model": "tiny_sd", "method": "base", "steps": 1, "image_index": 0}
    check_columns(table(made, GRID, arguments={"columns": [fitting]}))
    with pytest.raises(SpecError, match=rf"some\.yaml: mine shows {fault}"):
        check_columns(table(made, GRID, arguments={"columns": [fitting, fitting | column]}))


def test_a_grid_of_more_noises_than_its_benchmark_has_images_is_refused(registry: Registry) -> None:
    made = experiment(registry, models=["tiny_sd"], methods=["base"])
    n_images = made.registry.benchmarks["shapeworld"].n_images
    check_columns(table(made, GRID, n_images=n_images))
    with pytest.raises(SpecError, match=f"shows image {n_images} of each prompt"):
        check_columns(table(made, GRID, n_images=n_images + 1))


@pytest.mark.parametrize(
    ("target", "lacks"),
    [
        ("report.training_figures:figure4", "needs judges: config key 'judges' names none"),
        ("analysis.shared_knowledge:judges", "needs judges: config key 'judges' names none"),
        ("analysis.hpsv2_styles:table", "needs reward hpsv2_1: benchmark shapeworld has no metric"),
        ("analysis.tables:table1", "needs a benchmark with a metric: benchmark shapeworld has no"),
        ("report.pareto:pareto", "needs a benchmark with a metric: benchmark shapeworld has no"),
        ("analysis.search_tables:warm_start", "needs starts: the config has none"),
    ],
)
def test_what_a_table_cannot_do_without_is_named_before_the_run(
    registry: Registry, target: str, lacks: str
) -> None:
    made = experiment(registry, judges={})
    with pytest.raises(SpecError, match=rf"some\.yaml: mine {lacks}"):
        check_given(table(made, f"harness.{target}"))


def test_what_a_table_can_do_without_is_asked_of_no_config(registry: Registry) -> None:
    made = experiment(registry, judges={"hpsv2_1": "redness"})
    for target in (
        *("analysis.hpsv2_styles:table", "report.gallery:gallery", "report.grids:grid"),
        *("report.training_figures:figure4", "report.training_figures:training_curves"),
    ):
        check_given(table(made, f"harness.{target}"))
