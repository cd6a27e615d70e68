"""How far bfloat16 scores are from float32 ones, and how many images a scorer takes per second:

    PYTHONPATH=.:tests/support python -m parity.precision [--small] [--device cuda] [NAME ...]

Weights are random, of the published size unless ``--small``. Prints rows of ``docs/scorers.md``:
over all pairs of ``pairs.py`` as tensors the largest and mean absolute difference and the standard
deviation of the float32 scores; then images per second, float32 and bfloat16, at batch size 1 and
at ``--batch``, images of 512 px. On the CPU set OMP_NUM_THREADS=1: seconds are those of one core.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from parity import small
from parity.pairs import pairs
from parity.seeded import weight
from recorded_scorers import SCORERS, TARGETS, build
from torch import Tensor

from harness.base.import_strings import resolve
from hypernoise.weights import pinned_files

PROMPT = "a photo of a red bench and a blue cow"
SIZE_PX = 512
#: Where scorers get their weights from.
_LOADERS = ("openclip", "pickscore", "imagereward", "aesthetic")


def published_size(name: str, folder: Path, **changes: Any) -> Any:
    """A scorer of its published size, its weights following from their names."""
    arguments = {"weights": str(folder / "weights.pt")}
    (folder / "weights.pt").write_text("none: they are made in place")
    if name == "imagereward":
        vocabulary = folder / "vocab.txt"
        vocabulary.write_text("\n".join(small.bert_vocabulary()), encoding="utf-8")
        arguments["vocabulary"] = str(vocabulary)
    elif name == "aesthetic":
        arguments["head"] = arguments["weights"]
    modules = [importlib.import_module(f"hypernoise.rewards.{module}") for module in _LOADERS]
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(patch.multiple(module, read=lambda _: {}, fill=_fill))
        return resolve(TARGETS[name])(**arguments | changes)


def _fill(network: Any, _tensors: Any, source: str) -> None:
    made = {key: weight(key, tuple(value.shape)) for key, value in network.state_dict().items()}
    pinned_files.fill(network, made, source)


def scores(scorer: Any, device: str) -> list[float]:
    """The score of each pair, as a tensor of its own size."""
    found = []
    for _, image, prompt in pairs():
        pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255)
        images = pixels.permute(2, 0, 1)[None].to(device)
        found.append(float(scorer.score(images, scorer.encode([prompt]))[0]))
    return found


def images_per_second(scorer: Any, batch: int, device: str, seconds: float) -> float:
    """Images scored per second, prompts encoded before; the first batch does not count.

    On the CPU they are seconds of the processor: what else it does should not count.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    images: Tensor = torch.rand(batch, 3, SIZE_PX, SIZE_PX, device=device)
    features = scorer.encode([PROMPT] * batch)
    scorer.score(images, features).sum().item()
    started, n = clock(), 0
    while n == 0 or clock() - started < seconds:
        scorer.score(images, features).sum().item()
        n += batch
    return n / (clock() - started)


def row(name: str, options: argparse.Namespace) -> str:
    make = build if options.small else published_size
    found, speeds = [], []
    for dtype in (torch.float32, torch.bfloat16):
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            scorer = make(name, Path(folder), dtype=dtype, device=options.device)
            found.append(scores(scorer, options.device))
            speeds.append(
                [
                    images_per_second(scorer, size, options.device, options.seconds)
                    for size in (1, options.batch)
                ]
            )
        del scorer
        gc.collect()
    exact, fast = found
    differences = [abs(a - b) for a, b in zip(exact, fast, strict=True)]
    facts = (max(differences), statistics.mean(differences), statistics.stdev(exact))
    cells = [f"{fact:.2g}" for fact in facts] + [f"{each:.2g}" for pair in speeds for each in pair]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SCORERS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measured speed")
    options = parser.parse_args()
    print(
        "| scorer | max. | mean | scores' standard deviation | float32, 1 | "
        f"float32, {options.batch} | bfloat16, 1 | bfloat16, {options.batch} |"
    )
    for name in options.names:
        print(row(name, options), flush=True)


if __name__ == "__main__":
    main()
