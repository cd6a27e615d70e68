"""What keeps scores from being those of one benchmark."""

from __future__ import annotations

import numpy as np

from harness.analysis.pairing import Paired, examples, name_network
from harness.benchmarks.geneval import CORRECT, TASKS


def strange(paired: Paired, metric: str) -> list[str]:
    """What keeps scores from being those of one benchmark, with GenEval's tasks where the metric
    is GenEval's; a line each."""
    pictures = paired.pictures
    benchmarks = sorted(pictures["benchmark"].unique())
    faults = []
    if len(benchmarks) > 1:
        faults.append(f"one benchmark per table, these are {', '.join(benchmarks)}")
    for column, what in (("prompt_id", "prompts"), ("prompt_meaning", "meanings of prompts")):
        homes = pictures[[column, "task"]].drop_duplicates()
        double = sorted(homes[column][homes[column].duplicated()].unique())
        if double:
            named = examples([repr(name) for name in double])
            faults.append(f"{what} in more than one task: {named}")
    if metric != CORRECT.name:
        return faults
    unknown_tasks = sorted(set(pictures["task"]) - set(TASKS))
    if unknown_tasks:
        named = ", ".join(unknown_tasks)
        faults.append(f"tasks {named} are none of GenEval's: {', '.join(TASKS)}")
    for index, values in enumerate(paired.scores.get(CORRECT.name, [])):
        name = name_network(paired.networks, index)
        given = values[np.isfinite(values)]
        odd = given[(given != 0) & (given != 1)]
        faults += [f"{name}: {CORRECT.name} is {odd[0]:g}, must be 0 or 1"] if len(odd) else []
        there = set(pictures["task"][~np.isnan(values)].unique())
        absent = [task for task in TASKS if task not in there]
        faults += [f"{name}: no image of task {', '.join(absent)}"] if absent else []
    return faults
