"""HPSv2's benchmark: 800 prompts in each of four styles, judged by HPSv2.1.

Source: Wu et al. 2023, arXiv 2306.09341; prompts of the data set zhwang/HPDv2. The original prints
100 times the mean cosine of each style; scores stay cosines here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.analysis.interval_columns import columns_of, in_order
from harness.analysis.pairing import CELL, choose, missing, rank, require, stop_on
from harness.analysis.statistics import mean_interval, task_mean_interval
from harness.build.data_files import DataFile, locate

STYLES = ("anime", "concept-art", "paintings", "photo")
#: Prompts of each style.
N_PROMPTS = 800
METRIC = "hpsv2_1"
_SHA256 = {
    "anime": "6b38a479cc6f899866e9b7a8bf91f096b4afc6883b95275a61891327182b14ae",
    "concept-art": "530d057deafcb82c581e9d1be2ffcb98828fe99f0b54257414d2ab8a5cf2b83e",
    "paintings": "6570d39467e08b24b64e5b8a4177b0f61c525631121dc5a91fe2ab956eab4d5f",
    "photo": "92a3c9a0f743f66eb87bd112cdda830d6bdb4c073c86021d53b74001fcb18052",
}


@dataclass(frozen=True)
class StylePrompt:
    """One of the prompts; ``task`` is its style."""

    prompt_id: str
    text: str
    task: str


def prompts() -> tuple[StylePrompt, ...]:
    """All prompts, style by style.

    Raises:
        ValueError: a file is another one, or no list of 800 texts.
        FileNotFoundError: a file cannot be had; see :mod:`harness.build.data_files`.
    """
    return tuple(
        StylePrompt(f"{style}_{number:04}", text, style)
        for style in STYLES
        for number, text in enumerate(_texts(locate(_file(style))))
    )


def table(
    scores: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    metric: str = METRIC,
) -> pd.DataFrame:
    """The mean score of each style, for every model and method.

    Args:
        scores: score rows of this benchmark.
        models, methods: what to show, in this order; all by name if None.
        metric: name of the reward that scored.

    Returns:
        One row per model, method, reward and steps: n_images, ``<metric>_mean``, the plain mean of
        the four styles, and the mean of each style, all with 95 % intervals clustered by prompt.

    Raises:
        FrameError: a method or a style is missing, or methods have other images.
    """
    require(scores, [*CELL, "metric", "task", "prompt_id", "image_index", "value"], "scores")
    faults = missing(scores[list(CELL)].drop_duplicates(), models, methods)
    chosen = choose(scores[scores["metric"] == metric], models, methods)
    stop_on(faults + _faults(chosen, metric), "a table of styles")
    rows = []
    for cell, own in chosen.groupby(list(CELL)):
        rows.append({**dict(zip(CELL, cell, strict=True)), **_measures(own, metric)})
    shown = pd.DataFrame(rows)
    order = [rank(shown["model"], models), shown["steps"], rank(shown["method"], methods)]
    return in_order(shown, [*order, shown["reward"]])


def _file(style: str) -> DataFile:
    return DataFile(
        name=f"hpsv2/{style}.json",
        repository="zhwang/HPDv2",
        commit="b9517430f34b1080d4f741118d2a440155a165cd",
        path=f"benchmark/{style}.json",
        sha256=_SHA256[style],
        host="hub_dataset",
    )


def _texts(path: Path) -> list[str]:
    texts = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{path} is no list of texts")
    if len(texts) != N_PROMPTS:
        raise ValueError(f"{path} has {len(texts)} prompts, not {N_PROMPTS}")
    return texts


def _faults(scores: pd.DataFrame, metric: str) -> list[str]:
    if scores.empty:
        return [f"no scores of {metric}: name it among the config's judges"]
    strange = sorted(set(scores["task"]) - set(STYLES))
    if strange:
        return [f"tasks {', '.join(strange)} are no styles: {', '.join(STYLES)}"]
    lacking = [style for style in STYLES if style not in set(scores["task"])]
    if lacking:
        return [f"no image of {', '.join(lacking)}"]
    # A picture that one method has and another lacks would shift a mean.
    pictures = scores.groupby(["prompt_id", "image_index"]).size()
    n_cells = len(scores[list(CELL)].drop_duplicates())
    gaps = [f"{prompt} {index}" for prompt, index in pictures.index[pictures != n_cells]]
    return [f"not scored for every method: {', '.join(gaps)}"] if gaps else []


def _measures(scores: pd.DataFrame, metric: str) -> dict[str, float]:
    values, prompt_ids = scores["value"].to_numpy(), scores["prompt_id"].to_numpy()
    total = task_mean_interval(values, scores["task"].to_numpy(), prompt_ids)
    measured: dict[str, float] = {"n_images": total.n}
    measured |= columns_of(total, f"{metric}_mean")
    for style in STYLES:
        own = (scores["task"] == style).to_numpy()
        name = f"{metric}_{style.replace('-', '_')}_mean"
        measured |= columns_of(mean_interval(values[own], prompt_ids[own]), name)
    return measured
