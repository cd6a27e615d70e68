"""Every table and figure, the examples' too, with adapters and images of other people.

They are not only where gains stand. How they are declared, ``examples`` shows.
"""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from experiments import MICRO_BENCHMARK, few, load
from foreign_loras import save_peft
from micro_runs import CONFIG, MODEL, REWARD, prepared
from toys import build_generator

from examples import with_examples
from harness.analysis.pairing import UNPAIRED
from harness.cli.geneval_folder import export
from harness.experiment.components import Registry
from harness.experiment.config import read
from harness.experiment.plan import Experiment
from harness.experiment.planned import Planned
from harness.experiment.providers import Table
from harness.report import make
from harness.stages import audit, compare_images, generate, score, train
from harness.timing import profile

THEIRS = ["their_images", "their_lora"]
METHODS = [
    "base",
    "hypernoise",
    "lora_finetune_final",
    "best_of_n",
    "hypernoise_best_of_n",
    *THEIRS,
]
#: What tables of settings show.
NETWORK = {"rank": 4, "alpha": 8, "l2_reduction": "sum", "temperature": 0.01}
#: Sets that have more than the methods.
SETS: dict[str, dict[str, Any]] = {
    "audit": {"methods": ["hypernoise"]},
    "controls": {
        "swapped": {"methods": ["hypernoise"], "reward": "redness", "prompts": "within_task"}
    },
    "few_steps": {"steps": [1, 2]},
    "more_steps": {"steps": [1, 2]},
    "latency": {"timing": {"operations": True}},
}
#: Made of other benchmarks' metrics, of settings of one network, or of trials.
OTHERS = (
    *("table5", "table6", "dpg_categories", "hpsv2_styles", "sweep", "tuning", "tuning_chosen"),
    # Of two sets, which would be the same one here, or of named models and networks.
    *("figure5", "rank_curve", "steps_curve", "table8", "table9", "table10"),
    *("audit_regularisation", "figure8"),
    # Of distances, which their own sets measure: tests of the stage fidelity make them.
    *("fidelity", "hacking_table", "hacking_panel"),
)
#: Tables that have a row for each method.
WITH_THEM = ("table1", "table7", "methods", "controls", "judges", "authors_choices")
REGISTRY = with_examples()


def experiment_of(registry: Registry) -> Experiment:
    """All tables' sets, of the micro benchmark with the same methods."""
    named = {name for table in registry.tables.values() for name in table.sets} - {"main", "tuning"}
    sets = {name: SETS.get(name, {}) for name in sorted(named)}
    shipped = load("tiny.yaml")
    shipped["audit"] |= {"prompts": few("validation", 1), "n_images": 1, "checkpoints": 1}
    asked = {
        "methods": METHODS,
        "image_sets": sets,
        "tuning": None,
        "training": {"default": {**CONFIG["training"]["default"], **NETWORK}},
        "arguments": {"best_of_n": {"n": 3}},
    }
    config = shipped | CONFIG | asked
    return Experiment(
        read({k: v for k, v in config.items() if v is not None}, "m.yaml"), registry, "m.yaml"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything that tables and figures are made of, but for these."""
    folder = tmp_path_factory.mktemp("run")
    prepared(folder)
    # Two prompts of each task, which intervals need.
    more = MICRO_BENCHMARK.replace("n=6", "n=12")
    (folder / "workflows" / "benchmarks" / "micro.smk").write_text(more)
    save_peft(build_generator(MODEL), folder / "theirs" / "lora")
    with chdir(folder):
        experiment = experiment_of(with_examples(Path("workflows")))
        planned = Planned(experiment)
        runs = {run for name in ("main", *SETS) for run in experiment.runs(name, MODEL)}
        named = {
            (r.model, r.reward, r.method) for r in runs if experiment.declared(r.method).trains
        }
        trainings = {(*names[:2], experiment.training(*names)) for names in named}
        for training in sorted(trainings):
            train.run(planned.train(*training))
        first = experiment.runs("main", MODEL)[0]
        generate.run(planned.generate(**first._asdict()))
        made = next(Path("results/images/micro", MODEL, "base").rglob("images.parquet"))
        export(made, Path("theirs/images"))
        for wanted in sorted(runs - {first}, key=str):
            generate.run(planned.generate(**wanted._asdict()))
        for name in ("main", "few_steps", "controls"):
            score.run(planned.score(name, MODEL))
        compare_images.run(planned.pairs("main", MODEL))
        audit.run(planned.audit_network(MODEL, REWARD, "hypernoise"))
        for name in ("main", "latency"):
            profile.run(planned.profile(name, MODEL))
    return folder


def made(folder: Path, name: str) -> Any:
    """What a table's job makes, of the frames that its sets share."""
    with chdir(folder):
        experiment = experiment_of(with_examples(Path("workflows")))
        table = Table(
            experiment,
            experiment.registry.tables[name],
            MODEL if experiment.registry.tables[name].per_model else "",
        )
        job = table.job()
        for kind in ("scores", "pairs", "timings"):
            for file in map(Path, job.inputs.get(kind, ())):
                if not file.is_file():
                    of = "few_steps" if file.parent.name == "more_steps" else "main"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file.parents[1] / of / file.name, file)
        make.run(job)
        return job


def is_of_this_run(name: str) -> bool:
    """Whether a table can be made of one model and one benchmark."""
    return name not in OTHERS and (REGISTRY.tables[name].place or 1) == 1


@pytest.mark.parametrize("name", [name for name in sorted(REGISTRY.tables) if is_of_this_run(name)])
def test_a_table_or_figure_is_made_with_foreign_rows_and_says_what_is_not_known(
    folder: Path, name: str
) -> None:
    job = made(folder, name)
    stem = folder / job.out
    assert list(stem.parent.glob(f"{stem.name}*"))
    if job.table.makes != "table":
        return
    table = pd.read_parquet(f"{stem}.parquet")
    if name in WITH_THEM:
        assert set(THEIRS) <= set(table["method"])
    if "method" not in table or "their_images" not in set(table["method"]):
        return
    theirs = table[table["method"] == "their_images"]
    unknown = [column for column in table if column.endswith("_ms") or column == "nfe"]
    assert theirs[unknown].isna().all(axis=None)
    if any(column.startswith("gain_") for column in table):
        page = Path(f"{stem}.md").read_text(encoding="utf-8")
        assert UNPAIRED.format("their_images") in " ".join(page.split())


def test_latency_leaves_out_what_nobody_timed(folder: Path) -> None:
    job = made(folder, "latency")
    assert set(pd.read_parquet(folder / f"{job.out}.parquet")["method"]) == set(METHODS) - {
        "their_images"
    }


def test_the_gallery_shows_other_tools_images_in_our_rows(folder: Path) -> None:
    job = made(folder, "gallery")
    page = (folder / f"{job.out}.html").read_text(encoding="utf-8")
    assert "their_images, own noise" in page
    # Each picture once, and no row of one method alone.
    placed = sorted(path.name for path in (folder / job.out).parent.glob("images/*/*_base/*"))
    theirs = sorted(
        path.name for path in (folder / job.out).parent.glob("images/*/*_their_images/*")
    )
    assert placed == theirs
