"""How fast the pieces are: ``make bench``. Not part of the tests, which only see that it runs.

Times are of one core; ``extra_info`` says how many images or rows a round has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from measured import in_stages
from PIL import Image
from toys import encode, noise_for

from harness.analysis.tables import table1
from harness.benchmarks.geneval import TASKS, decide
from harness.experiment.components import TableSpec
from harness.experiment.jobs import TableJob
from harness.report import frame_inputs
from harness.results import frames
from harness.results.image_files import ImageReader
from hypernoise.images import to_uint8
from hypernoise.models.protocol import Generator
from hypernoise.networks.merged import inference_network
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.shapeworld.matcher_network import MatcherNetwork

MODELS = ("a", "b", "c")
METHODS = ("base", "x", "y", "z", "u", "v")
STEPS = (1, 2, 4, 8, 16, 32)
RANKS = (8, 16, 32, 64, 128)
#: What only frames of images have.
OF_IMAGES: dict[str, Any] = {
    **{"prompt": "a", "metadata": "{}", "path": "a.png", "nfe": 1.0},
    **{"reward_calls": 0.0, "backward_passes": 0.0, "batch_size": np.nan},
}
METRICS = ("geneval_correct", "train_reward", "judge_reward")
CATEGORIES = ("color", "shape", "texture", "2d", "3d", "numeracy", "non_spatial", "complex")


@torch.no_grad()
def test_generator_pass(benchmark: Any, generator: Generator) -> None:
    """What a noise network's pass is compared with."""
    noise, conditioning = noise_for(generator, 1), encode(generator, 1)
    benchmark(generator.predict, noise, conditioning)


FORMS = {"beside": False, "merged": True, "per_layer": "per_layer", "in_place": "in_place"}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@torch.no_grad()
def test_noise_network(benchmark: Any, generator: Generator, form: bool | str) -> None:
    """One displacement: LoRA beside, by peft or without, merged once, or layer by layer."""
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


def test_images_of_files(benchmark: Any, tmp_path: Path) -> None:
    """PNGs to the floats that rewards get, 8 of 1024 pixels, by one process."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).resize((1024, 1024))
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path in paths:
        smooth.save(path)
    with ImageReader(paths, 0) as reader:
        benchmark(reader.batch, 0, len(paths))


def test_table1(benchmark: Any) -> None:
    """Table 1 of more than a million score rows."""
    images = _images("geneval", TASKS, 772 if benchmark.enabled else 2, 4, METHODS)
    scores = _scores(images, METRICS)
    benchmark.extra_info["rows"] = len(scores)
    benchmark.pedantic(table1, (scores, images, _timings(images)), rounds=3)


def test_all_tables_of_the_paper(benchmark: Any, tmp_path: Path) -> None:
    """Tables 1, 2 and 5 to 10 from files, of benchmarks of the paper's sizes: a million rows."""
    jobs, n_rows = _tables(tmp_path, 1.0 if benchmark.enabled else 0.04)
    benchmark.extra_info["rows"] = n_rows
    benchmark.pedantic(lambda: [frame_inputs.call(job) for job in jobs], rounds=2)


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


def _tables(folder: Path, scale: float) -> tuple[list[TableJob], int]:
    """Jobs of the paper's tables, and how many rows of scores and pairs they are made of.

    Args:
        folder: gets the frames.
        scale: share of the benchmarks' prompts.
    """
    runs: dict[str, Any] = {
        "few": dict.fromkeys(METHODS[:2], STEPS[:3]),
        "more": dict.fromkeys(METHODS[:3], STEPS),
        **{kind: {"base": (1,), **{f"{kind}{rank}": (1,) for rank in RANKS}} for kind in "xy"},
    }
    files, n_rows = _files(folder, lambda prompts: max(2, round(scale * prompts)), runs)

    def job(name: str, made_of: str, function: str, **arguments: Any) -> TableJob:
        spec = TableSpec(name, f"harness.analysis.{function}", version=1, arguments=arguments)
        return TableJob(spec, files[made_of], "")

    def geneval(name: str, made_of: str, which: str) -> TableJob:
        given = {"printed_as": name, "runs": runs[which], "models": MODELS}
        return job(name, made_of, "paper_tables:geneval", **given)

    answered = {"runs": runs["few"], "models": MODELS[:2]}
    jobs = [
        job("table1", "main", "tables:table1"),
        geneval("table2", "steps", "few"),
        job("table5", "compbench", "paper_tables:compbench", metric="t2i_compbench", **answered),
        job("table6", "dpg", "paper_tables:dpg", metric="dpg_bench", **answered),
        job("table7", "diversity", "diversity:table"),
        geneval("table8", "steps", "more"),
        geneval("table9", "ranks", "x"),
        geneval("table10", "ranks", "y"),
    ]
    return jobs, n_rows


def _files(folder: Path, n: Any, runs: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Files of each benchmark by kind of frame, with ``n(prompts)`` of its prompts in the paper."""
    worlds = {
        "main": (_images("geneval", TASKS, n(92), 4, METHODS), METRICS),
        "steps": (_images("geneval", TASKS, n(92), 4, runs["more"]), METRICS[:1]),
        "ranks": (_images("geneval", TASKS, n(92), 4, runs["x"] | runs["y"]), METRICS[:1]),
        "compbench": (
            _images("t2i_compbench", CATEGORIES, n(300), 10, runs["few"], MODELS[:2]),
            ("t2i_compbench",),
        ),
        "dpg": (
            _images("dpg_bench", ("dpg",), n(1065), 4, runs["few"], MODELS[:2]),
            ("dpg_bench",),
        ),
    }
    found: dict[str, Any] = {name: {} for name in worlds}
    n_rows = 0
    for name, (images, metrics) in worlds.items():
        scores = _scores(images, metrics)
        n_rows += len(scores)
        for kind, frame in {"images": images, "scores": scores}.items():
            found[name][kind] = _written(frame, folder / name, kind)
    timings = _timings(worlds["main"][0])
    found["main"]["timings"] = _written(timings, folder / "main", "timings")
    pairs = _pairs(n(50))
    found["diversity"] = {"pairs": _written(pairs, folder, "pairs")}
    return found, n_rows + len(pairs)


def _written(frame: pd.DataFrame, folder: Path, kind: str) -> tuple[str, ...]:
    path = folder / f"{kind}.parquet"
    frames.write(frame, path, kind, "{}")
    return (str(path),)


def _images(
    benchmark: str,
    tasks: Sequence[str],
    n_prompts: int,
    n_images: int,
    methods: Any,
    models: Sequence[str] = MODELS,
) -> pd.DataFrame:
    """Image rows: ``n_prompts`` of each task, of methods at one step or at those given."""
    runs = methods if isinstance(methods, dict) else dict.fromkeys(methods, (1,))
    cells = [(a, m, "" if m == "base" else "r", s) for a in models for m in runs for s in runs[m]]
    prompts = [(f"{task} {number}", task) for task in tasks for number in range(n_prompts)]
    pictures = pd.DataFrame(prompts, columns=["prompt_id", "task"])
    pictures = pictures.merge(pd.DataFrame({"image_index": range(n_images)}), how="cross")
    images = pd.DataFrame(cells, columns=["model", "method", "reward", "steps"])
    images = images.merge(pictures, how="cross")
    known = {"benchmark": benchmark, "seed": 0, "training_seed": None}
    return images.assign(**known, prompt_meaning=images["prompt_id"], **OF_IMAGES)


def _scores(images: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    named = pd.DataFrame({"metric": metrics})
    scores = images.drop(columns=list(OF_IMAGES)).merge(named, how="cross")
    values = np.random.default_rng(0).integers(0, 2, len(scores)).astype(float)
    return scores.assign(meaning="", value=values, detail="")


def _timings(images: pd.DataFrame) -> pd.DataFrame:
    cells = images[["model", "method", "reward", "steps"]].drop_duplicates(ignore_index=True)
    costs = {"batch_size": 8, "repeat": 0, "ms": 1.0, "params_m": 1.0, "threads": 1}
    costs["backbone_params_m"] = 1.0
    calls = cells.assign(**costs, nfe=1.0, peak_memory_mib=1.0)
    return in_stages(calls.to_dict("records"))


def _pairs(n_prompts: int) -> pd.DataFrame:
    """All pairs of 50 images of each prompt, of two methods by two metrics."""
    images = _images("geneval_diversity", ("all",), n_prompts, 50, METHODS[:2], MODELS[:1])
    metrics = pd.DataFrame({"metric": ["lpips_distance", "dinov2_similarity"]})
    others = pd.DataFrame({"other_index": range(50)})
    pairs = (
        images.drop(columns=list(OF_IMAGES)).merge(others, how="cross").merge(metrics, how="cross")
    )
    pairs = pairs[pairs["other_index"] > pairs["image_index"]]
    return pairs.assign(value=np.random.default_rng(0).random(len(pairs)))
