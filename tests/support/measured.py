"""A small measured world whose table can be worked out on paper.

Two models; six tasks of two prompts (0 and 1) with two images each. On every task

- base gets image 0 of each prompt right: mean 1/2, prompts alike;
- hypernoise gets all but image 1 of prompt 1: mean 3/4, prompt means 1 and 1/2;
- reno gets nothing right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.benchmarks.geneval import TASKS

MODELS = ("tiny_a", "tiny_b")
METHODS = ("base", "hypernoise", "reno")
NFE = {"base": 1.0, "hypernoise": 2.0, "reno": 50.0}
GENERATION_MS = {
    "base": (3.0, 1.0, 2.0),
    "hypernoise": (5.0, 4.0, 4.5),
    "reno": (90.0, 200.0, 100.0),
}
REWARD_CALLS = {"base": 0.0, "hypernoise": 0.0, "reno": 50.0}
PEAK_MIB = {"base": 10.0, "hypernoise": 12.5, "reno": float("nan")}
TRAIN_REWARD = {"base": -1.0, "hypernoise": 0.5, "reno": 2.0}


def is_correct(method: str, prompt: int, image: int) -> bool:
    return {"base": image == 0, "hypernoise": prompt + image < 2, "reno": False}[method]


def identity(model: str, method: str, task: str, prompt: int, image: int) -> dict[str, Any]:
    return {
        "model": model,
        "method": method,
        "reward": "" if method == "base" else "matcher",
        "training_seed": 0 if method == "hypernoise" else None,
        "benchmark": "shapes",
        "prompt_id": f"{task}-{prompt}",
        "prompt_meaning": f"{task} of {prompt}",
        "task": task,
        "image_index": image,
        "seed": 7,
        "steps": 1,
    }


def everything() -> list[tuple[str, str, str, int, int]]:
    return [
        (model, method, task, prompt, image)
        for model in MODELS
        for method in METHODS
        for task in TASKS
        for prompt in (0, 1)
        for image in (0, 1)
    ]


def images() -> pd.DataFrame:
    rows = [
        identity(*who)
        | {"prompt": f"a photo of {who[2]} number {who[3]}", "metadata": "{}"}
        | {"path": f"png/{'_'.join(map(str, who))}.png", "nfe": NFE[who[1]]}
        | {"reward_calls": REWARD_CALLS[who[1]], "backward_passes": REWARD_CALLS[who[1]] / 2}
        | {"batch_size": 8.0 if REWARD_CALLS[who[1]] else float("nan")}
        for who in everything()
    ]
    return in_whole_seeds(rows)


def in_whole_seeds(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as frames give them: training seeds are whole numbers, or missing."""
    return pd.DataFrame(rows).astype({"training_seed": "Int64"})


def left_out_once(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores with an own metric in GenEval's place, also against swapped prompts, whose rules leave
    out one image of hypernoise's."""
    rows = rows.assign(metric=rows["metric"].replace("geneval_correct", "own"))
    swapped = rows[rows["metric"] == "own"].assign(metric="own_swapped")
    rows = pd.concat([rows, swapped], ignore_index=True)
    lost = (rows["model"] == "tiny_a") & (rows["method"] == "hypernoise")
    lost &= (rows["prompt_id"] == "single_object-0") & (rows["image_index"] == 0)
    named = {"own": "own_left_out", "own_swapped": "own_left_out_swapped"}
    rows.loc[lost, "metric"] = rows["metric"][lost].replace(named)
    is_said = rows["metric"].isin(named.values())
    return rows.assign(
        value=rows["value"].mask(is_said, 1.0), detail=np.where(is_said, "no cat is asked for", "")
    )


def scores(correct: Callable[[str, int, int], bool] = is_correct) -> pd.DataFrame:
    rows = []
    for who in everything():
        _, method, _, prompt, image = who
        values = {
            "geneval_correct": float(correct(method, prompt, image)),
            "train_reward": TRAIN_REWARD[method] + image,
            "judge_reward": 10.0 * image,
        }
        rows += [
            identity(*who)
            | {"metric": metric, "meaning": f"what {metric} says", "value": value, "detail": ""}
            for metric, value in values.items()
        ]
    return in_whole_seeds(rows)


def trajectories() -> pd.DataFrame:
    """Ten iterations: reno climbs from 0 by 1 each, its warm start from 4 by 1, up to 9 and 11.

    Image 1 of a prompt is 2 above that, image 0 is 2 below; every third attempt brings nothing.
    """
    rows = []
    for model, _, task, prompt, image in everything():
        for method, start in (("reno", 0.0), ("hypernoise_reno", 4.0)):
            who = identity(model, method, task, prompt, image)
            for iteration in range(1, 11):
                best = min(start + iteration - 1, 11.0) + (2.0 if image else -2.0)
                value = float("nan") if iteration % 3 == 0 else best
                nfe = float(iteration + (method == "hypernoise_reno"))
                row = {"iteration": iteration, "nfe": nfe, "value": value, "best_value": best}
                rows.append(who | row)
    return in_whole_seeds(rows).drop_duplicates(ignore_index=True)


def in_stages(calls: Sequence[dict[str, Any]], text_ms: float = 0.5) -> pd.DataFrame:
    """Rows of timings: for each call, with ``ms``, its generation, and the whole with its text."""
    constant = {
        "training_seed": None,
        "size_px": 32,
        "precision": "float32",
        "mode": "eager",
        "device": "cpu",
        "slowdown": 0.0,
    }
    rows = [
        constant
        | {
            "training_seed": None,
            "turn": turn,
            "gflops": float("nan"),
            **call,
            "stage": stage,
            "ms": ms,
        }
        for turn, call in enumerate(calls)
        for stage, ms in (("generation", call["ms"]), ("end_to_end", call["ms"] + text_ms))
    ]
    return pd.DataFrame(rows)


def timings(batch_sizes: Sequence[int] = (1, 64)) -> pd.DataFrame:
    rows = [
        {"model": model, "method": method, "reward": "" if method == "base" else "matcher"}
        | {"steps": 1, "batch_size": size, "repeat": repeat, "nfe": NFE[method]}
        | {
            "ms": ms * (10.0 if size == 1 else 1.0),
            "params_m": 2.5,
            "backbone_params_m": 1.5,
            "threads": 2,
        }
        | {"peak_memory_mib": PEAK_MIB[method]}
        for model in MODELS
        for method in METHODS
        for size in batch_sizes
        for repeat, ms in enumerate(GENERATION_MS[method])
    ]
    return in_stages(rows)


def training() -> pd.DataFrame:
    """Redness rises by 1 per step under fine-tuning and by 1/2 under hypernoise."""
    rows = []
    for model in MODELS:
        for method, gain in (("hypernoise", 0.5), ("lora_finetune", 1.0)):
            for step in (0, 10, 20, 30):
                who = {"model": model, "method": method, "reward": "redness", "step": step}
                who["training_seed"] = 0
                validated = {"reward": gain * step, "judge_reward": 4.0 - gain * gain * step / 10}
                rows += [
                    who | {"kind": "validation", "name": name, "value": value}
                    for name, value in validated.items()
                ]
                rows.append(who | {"kind": "train", "name": "reward", "value": -1e9})
    return pd.DataFrame(rows)


def shuffled(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    return frame.sample(frac=1.0, random_state=seed)


def untrained(rows: pd.DataFrame) -> pd.DataFrame:
    """Hand-made rows of methods that train nothing, each prompt with a meaning of its own."""
    return rows.assign(training_seed=None, prompt_meaning=rows["prompt_id"])
