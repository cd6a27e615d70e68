"""How networks are trained, ours beside the paper's: its tables 3 and 4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.analysis import published

#: Hyper-parameters in the paper's order.
_ROWS = (
    *("learning_rate", "grad_clip", "rank", "alpha", "optimizer", "batch_size", "accumulation"),
    *("epochs", "n_prompts", "images", "image_size_px", "gpus"),
)
_PRINTED = {"rank": "lora_rank", "alpha": "lora_alpha"}
#: Printed numbers of prompts and epochs are rounded.
_ROUNDED = 1e-3
_SAID = {
    "hyperparameter": "batches are those of all processes together; images: made in the whole "
    "training; gpus: processes of ours that share a batch, which change results by rounding only",
    "ours": "the config's, or the option's default; of n_prompts, where the config names it",
    "published": f"printed in {published.SOURCE}",
    "agrees": "whether both are the same, epochs within a thousandth",
}


def hyperparameters(*, recipes: Sequence[Mapping[str, Any]], printed_as: str) -> pd.DataFrame:
    """The hyper-parameters of trainings, in rows.

    Args:
        recipes: of each training model, method and every option by its name, and with it n_prompts
            (None where it is not known), image_size_px and gpus.
        printed_as: the paper's table: ``"table3"``, redness, or ``"table4"``, preferences.

    Returns:
        A row per training and hyper-parameter: model, method, hyperparameter and ours; and where a
        training is the paper's, published and agrees. Values are texts; those that are unknown or
        not printed are missing.

    Raises:
        ValueError: the paper has no such table.
    """
    printed = published.hyperparameters(printed_as)
    rows = []
    for recipe in recipes:
        images = recipe["steps"] * recipe["batch_size"] * recipe["accumulation"]
        n_prompts = recipe["n_prompts"]
        ours = {**recipe, "images": images, "epochs": n_prompts and images / n_prompts}
        theirs = printed.get((recipe["model"], recipe["method"]), {})
        for name in _ROWS:
            pair = ours.get(name), theirs.get(_PRINTED.get(name, name))
            who = {"model": recipe["model"], "method": recipe["method"], "hyperparameter": name}
            values = {"ours": _text(pair[0]), "published": _text(pair[1])}
            agrees = pd.NA if None in pair or name == "gpus" else _same(*pair)
            rows.append({**who, **values, "agrees": agrees})
    table = pd.DataFrame(rows).astype({"agrees": "boolean"})
    notes = ["None of these trainings is the paper's: nothing printed stands beside them."]
    if table["published"].notna().any():
        notes = [
            f"Published: {published.SOURCE}. It prints FLUX's alpha as 5, the factor of its rank; "
            "its code makes that 640."
        ]
    else:
        table = table.drop(columns=["published", "agrees"])
    table.attrs["columns"] = {name: {"meaning": said} for name, said in _SAID.items()}
    table.attrs["notes"] = notes
    return table


def _text(value: Any) -> str | None:
    return f"{value:.4g}" if isinstance(value, float) else None if value is None else str(value)


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, str):
        return bool(ours == theirs)
    return math.isclose(ours, theirs, rel_tol=_ROUNDED)
