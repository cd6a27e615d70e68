"""DPG-Bench by what propositions are about: entities, attributes, relations, the whole, the rest.

As the published scorer's "L1 categories" (ELLA, arXiv 2403.05135; ``compute_dpg_bench.py`` of the
authors' repository at commit 3c228f1): the share of a category's propositions that are answered
with yes, whatever the propositions that they depend on are answered with. The published scorer
counts the last image of each prompt there; this table counts all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from harness.analysis.interval_columns import columns_of, in_order
from harness.analysis.pairing import CELL, NETWORK, choose, missing, require, stop_on
from harness.analysis.training_seeds import FIRST_NOTES, interval_of, said

#: The published ones, in their order; whatever else a table of questions has comes after.
CATEGORIES = ("entity", "attribute", "relation", "global", "other")
_IMAGE = ("prompt_id", "image_index")


def table(
    scores: pd.DataFrame,
    *,
    metric: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The share of yes by category, for every model and method.

    Args:
        scores: score rows of DPG-Bench, whose ``detail`` has each proposition and its answer.
        metric: the benchmark's metric whose propositions are counted.
        models, methods: what to show, in this order; all by name if None.

    Returns:
        One row per model, method, reward and steps: n_images, and for each category the mean over
        its propositions in percent, ``<category>_mean``, with the 95 % interval clustered by
        meaning.

    Raises:
        FrameError: a method is missing, or scores have no propositions.
    """
    require(scores, [*NETWORK, *_IMAGE, "metric", "prompt_meaning", "detail"], "scores")
    faults = missing(scores, models, methods)
    chosen = choose(scores[scores["metric"] == metric], models, methods).reset_index(drop=True)
    answers = [
        (row, what.split("(")[0].split("-")[0].strip(), 100.0 * (probability > 0.5))
        for row, text in enumerate(chosen["detail"])
        if str(text).startswith("{")
        for _, probability, _, what in json.loads(text).get("propositions", ())
    ]
    if not answers:
        faults.append(f"scores of {metric} have no propositions: it is none of DPG-Bench's")
    stop_on(faults, "a table of categories")
    asked = pd.DataFrame(answers, columns=["row", "category", "yes"]).set_index("row")
    asked = asked.join(chosen[[*NETWORK, *_IMAGE, "prompt_meaning"]])
    others = sorted(set(asked["category"]) - {*CATEGORIES})
    shown = [name for name in (*CATEGORIES, *others) if name in set(asked["category"])]
    rows = []
    for cell, own in asked.groupby(list(CELL)):
        n_images = len(own[[*NETWORK, *_IMAGE]].drop_duplicates())
        row = {**dict(zip(CELL, cell, strict=True)), "n_images": n_images}
        for name in shown:
            of = own[own["category"] == name]
            row |= columns_of(interval_of(of["yes"].to_numpy(), of), f"{name}_mean")
        rows.append(row)
    made = in_order(pd.DataFrame(rows), ("model", "steps", "method", "reward"), models, methods)
    made.attrs[FIRST_NOTES] = said(chosen)
    return made
