"""Frames like those behind the paper's tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.benchmarks.geneval import TASKS

MODEL = "sana_sprint_0_6b"


def frames_of(
    runs: dict[str, Sequence[int]],
    tasks: Sequence[str] = TASKS,
    benchmark: str = "geneval",
    metric: str = "geneval_correct",
    binary: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random scores of five prompts per task with four images each, and their image rows."""
    rng = np.random.default_rng(0)
    rows = [
        {"model": MODEL, "method": method, "reward": "" if method == "base" else "matcher"}
        | {"benchmark": benchmark, "prompt_id": f"{task}-{prompt}", "task": task, "seed": 0}
        | {"training_seed": None, "prompt_meaning": f"{task}-{prompt}"}
        | {"image_index": image, "steps": steps, "nfe": steps + float(method == "hypernoise")}
        for method, counts in runs.items()
        for steps in counts
        for task in tasks
        for prompt in range(5)
        for image in range(4)
    ]
    images = pd.DataFrame(rows)
    values = rng.random(len(images))
    values = (values < 0.7).astype(float) if binary else values
    return images.assign(metric=metric, value=values, detail=""), images
