"""A results folder with a table 1, its figures, and a first page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from paths import REPOSITORY

from harness.experiment.component_files import declared
from harness.experiment.jobs import TableJob
from harness.report import figure_style, formats, front_page

MODELS, METHODS = ("tiny_a", "tiny_b"), ("base", "hypernoise", "lora_finetune_final", "reno")


def table1() -> pd.DataFrame:
    """What table 1 stores of two models and four methods, in its order of columns."""
    rows = [{"model": model, "method": method} for model in MODELS for method in METHODS]
    table = pd.DataFrame(rows).assign(reward="matcher", steps=1, world="toys", nfe=2.0)
    for name, value in (("generation_ms", 10.0), ("end_to_end_ms", 11.0)):
        table = table.assign(**_beside(name, value))
    table = table.assign(n_images=8, n_prompts=4, n_training_seeds=3)
    table = table.assign(**_beside("geneval_mean", 0.75), geneval_seed_sd=0.01)
    table = table.assign(**_beside("geneval_counting", 0.5))
    gain = {"gain_over_base": 0.1, "gain_ci_low": 0.05, "gain_ci_high": 0.15, "p_holm": 0.01}
    return table.assign(**gain, **_beside("train_reward_mean", 1.5))


def _beside(name: str, value: float) -> dict[str, float]:
    return {name: value, f"{name}_ci_low": value - 0.1, f"{name}_ci_high": value + 0.1}


def made_in(root: Path, label: str = "GenEval, cost and rewards") -> Path:
    """Write the folder; gives its first page."""
    tables = declared(REPOSITORY / "workflows").tables
    spec = replace(tables["table1"], label=label)
    formats.write(table1(), root / "tables" / "table1", _job(spec, root / "tables" / "table1"))
    for name, stem in (("pareto", "pareto"), ("grid", "grid_tiny_a"), ("grid", "grid_tiny_b")):
        figure = Figure(figsize=(9, 3))
        figure.subplots().plot([0, 1])
        out = root / "figures" / stem
        figure_style.write(figure, out, _job(tables[name], out))
    front_page.run(root)
    return root / front_page.PAGE


def _job(spec: object, out: Path) -> TableJob:
    return TableJob(table=spec, inputs={}, out=str(out))  # type: ignore[arg-type]
