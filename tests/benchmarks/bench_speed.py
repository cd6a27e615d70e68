"""How fast the pieces are: ``make bench``. Not part of the tests, which only see that it runs.

Times are of one core; ``extra_info`` says how many images or rows a round has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from toys import encode, noise_for

from harness.benchmarks.geneval import TASKS, decide
from harness.generate import to_uint8
from harness.tables import table1
from hypernoise.lora_networks import NoiseNetwork
from hypernoise.merged_networks import inference_network
from hypernoise.models.protocol import Generator
from hypernoise.rewards.matcher import MatcherNetwork

MODELS = ("a", "b", "c")
METHODS = ("base", "x", "y", "z", "u", "v")


@torch.no_grad()
def test_generator_pass(benchmark: Any, generator: Generator) -> None:
    """What a noise network's pass is compared with."""
    noise, conditioning = noise_for(generator, 1), encode(generator, 1)
    benchmark(generator.predict, noise, conditioning)


@pytest.mark.parametrize("form", [False, True, "per_layer"], ids=["beside", "merged", "per_layer"])
@torch.no_grad()
def test_noise_network(benchmark: Any, generator: Generator, form: bool | str) -> None:
    """One displacement, with the LoRA beside, merged once, or merged layer by layer."""
    network = NoiseNetwork(generator, rank=8, alpha=8.0)
    noise, conditioning = noise_for(generator, 1), encode(generator, 1)
    benchmark(inference_network(network, form).delta, noise, conditioning)
    if form is False:
        network.adapter.remove()


@torch.no_grad()
def test_reward_forward(benchmark: Any) -> None:
    """The embedded world's reward on 64 images."""
    network = MatcherNetwork().eval()
    benchmark.extra_info["images"] = 64
    benchmark(network, torch.rand(64, 3, 32, 32), torch.ones(64, 12, dtype=torch.long))


def test_geneval_decision(benchmark: Any) -> None:
    """GenEval's logic on the detections of 500 images of all six tasks."""
    cases = [_case(number) for number in range(500)]
    benchmark.extra_info["images"] = len(cases)
    benchmark(lambda: [decide(*case) for case in cases])


def test_bytes_of_images(benchmark: Any) -> None:
    """Images to the bytes of PNGs, 8 of 512 pixels."""
    benchmark(to_uint8, torch.rand(8, 3, 512, 512))


def test_table1(benchmark: Any) -> None:
    """Table 1 of more than a million score rows."""
    n_prompts = 4632 if benchmark.enabled else 12
    frames = _frames(n_prompts)
    benchmark.extra_info["rows"] = len(frames[0])
    benchmark.pedantic(table1, frames, rounds=3)


def _case(number: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[str]]]:
    """Metadata, twenty detections of four classes, and their colours."""
    rng = np.random.default_rng(number)
    names = ("ring", "moon", "heart", "star")
    boxes = {name: np.sort(rng.uniform(0, 300, (5, 4)), axis=1) for name in names}
    scores = {name: rng.uniform(0.2, 1.0, (5, 1)) for name in names}
    detections = {name: np.hstack([boxes[name], scores[name]]) for name in names}
    clauses = [{"class": "ring", "count": 1, "color": "red"}]
    clauses.append({"class": "moon", "count": 1, "position": ["left of", 0]})
    task = TASKS[number % len(TASKS)]
    metadata = {"tag": task, "include": clauses[: 1 + number % 2], "exclude": [], "prompt": ""}
    return metadata, detections, {name: ["red", "blue", "red", "red", "blue"] for name in names}


def _frames(n_prompts: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    ids = np.arange(n_prompts)
    prompts = pd.DataFrame(
        {
            "prompt_id": pd.Series([f"prompt {number}" for number in ids], dtype="str"),
            "task": pd.Series(np.asarray(TASKS)[ids % len(TASKS)], dtype="str"),
            **{"benchmark": "shapes", "seed": 0, "steps": 1},
        }
    )
    cells = pd.DataFrame(
        [(model, method, "r") for model in MODELS for method in METHODS],
        columns=["model", "method", "reward"],
    )
    pictures = prompts.merge(pd.DataFrame({"image_index": range(4)}), how="cross")
    images = cells.merge(pictures, how="cross").assign(nfe=1.0)
    metrics = pd.DataFrame({"metric": ["geneval_correct", "train_reward", "judge_reward"]})
    scores = images.merge(metrics, how="cross")
    scores["value"] = np.random.default_rng(0).integers(0, 2, len(scores)).astype(float)
    costs = {"batch_size": 8, "repeat": 0, "latency_ms": 1.0, "params_m": 1.0, "threads": 1}
    return scores, images, cells.assign(steps=1, **costs)
