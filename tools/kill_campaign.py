"""Kill runs of a small workflow of all stages, at seeded moments, and compare what they end with.

``make kill-campaign`` runs it. A round is one results folder, killed and rerun until it is
finished; all of it but times has to equal, byte for byte, what a run gives that nobody disturbs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
_BENCHMARK = """\
add_benchmark(
    "micro", target="harness.benchmarks.shapeworld:ShapeWorld", split="evaluation", n=6,
    metric="geneval_correct", n_images=2, version=1,
)
"""
#: What is killed: Snakemake's own process, all processes, or one of the others.
KINDS = ("run", "all", "one")
_IS_TIME = re.compile("_ms|seconds|latency")
#: Made of times, or left by kills.
_LEFT_OUT = ("timings", "figures", "logs", "work", "encodings")


def _few(split: str, n: int) -> dict[str, Any]:
    arguments = {"of": "hypernoise.shapeworld.captions:captions", "n": n, "split": split}
    return {"target": "harness.benchmarks.prompts:subset", "arguments": arguments}


def config(components: Path, steps: int) -> dict[str, Any]:
    """A run with hardly any work in each stage.

    Args:
        components: the folder of its benchmark.
        steps: of each training; half as many are a search's.
    """
    every = {"checkpoint_every": 2, "validate_every": 2}
    return {
        "extends": str(REPOSITORY / "workflows" / "config" / "tiny.yaml"),
        "components": [str(components)],
        "models": ["tiny_sana"],
        "benchmark": "micro",
        "batch_size": 3,
        "training": {"default": {"steps": steps, "batch_size": 2, "warmup_steps": 1, **every}},
        "validation_images": 1,
        "prompts": {"default": {"train": _few("train", 4), "validation": _few("validation", 4)}},
        "arguments": {"reno": {"iterations": max(1, steps // 2)}},
        "methods": ["base", "hypernoise", "lora_finetune", "reno"],
        "image_sets": {
            "diversity": {"methods": ["base", "hypernoise"]},
            "audit": {"methods": ["hypernoise"]},
        },
        "audit": {
            "prompts": _few("validation", 1),
            "n_images": 1,
            "checkpoints": 1,
            "precision": "float32",
        },
        "timing": {"benchmark": "micro", "batch_sizes": [1], "repeats": 3, "threads": 1},
        "tables": ["table1", "table7", "audit", "gallery"],
    }


class Campaign:
    """A folder for the runs of one seed.

    Args:
        folder: made anew.
        steps: as :func:`config` takes them.
    """

    def __init__(self, folder: Path, seed: int, steps: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._folder, self._random = folder, random.Random(seed)
        components = folder / "components"
        (components / "benchmarks").mkdir(parents=True)
        (components / "benchmarks" / "micro.smk").write_text(_BENCHMARK)
        self._config = folder / "config.yaml"
        # JSON is YAML.
        self._config.write_text(json.dumps(config(components, steps)))
        self.kills: list[str] = []

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """A run in a folder of its own, its output beside it."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory"]
        command += [str(self._folder / name), "--configfile", str(self._config), *options]
        (self._folder / name).mkdir(exist_ok=True)
        with open(self._folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                command,
                cwd=REPOSITORY,
                # Jobs work elsewhere, and shall find this checkout's code there.
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def undisturbed(self, name: str) -> float:
        """Run to the end; returns the seconds that it took."""
        begin = time.monotonic()
        if self.start(name).wait():
            raise RuntimeError(f"the run failed: {self._folder / name}.log")
        return time.monotonic() - begin

    def killed(self, name: str, n_kills: int, within_s: float) -> None:
        """Run until it is finished, and kill at most so many times on the way."""
        for _ in range(n_kills):
            run = self.start(name)
            try:
                run.wait(self._random.uniform(0.05, 0.8) * within_s)
                break
            except subprocess.TimeoutExpired:
                self.kills.append(self._kill(run))
        # After a kill of one job alone, a run ends with the account of it.
        self.undisturbed(name)

    def _kill(self, run: subprocess.Popen[bytes]) -> str:
        kind = self._random.choice(KINDS)
        below = list(descendants(run.pid))
        chosen = [self._random.choice(below)] if kind == "one" and below else [run.pid]
        said = f"{kind}: {command_of(chosen[0])}"
        for pid in [*chosen, *(below if kind == "all" else [])]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        # The next run begins at once, whatever jobs of this one do.
        run.wait()
        return said


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, theirs included."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return
    for child in found:
        yield child
        yield from descendants(child)


def command_of(pid: int) -> str:
    """The first words of a process's command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "gone"
    return " ".join(words[:4])[:60]


def differences(one: Path, other: Path) -> list[str]:
    """The files of two results folders that are not equal in what is no time, or in one alone."""
    kept = {folder: _contents(folder) for folder in (one, other)}
    names = kept[one].keys() | kept[other].keys()
    return sorted(name for name in names if kept[one].get(name) != kept[other].get(name))


def _contents(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or name.parts[0] in _LEFT_OUT:
            continue
        if path.suffix == ".png":
            found[str(name)] = path.read_bytes()
        elif path.suffix == ".safetensors":
            # Its header is JSON, whose order says nothing and changes from process to process.
            content = path.read_bytes()
            end = 8 + int.from_bytes(content[:8], "little")
            found[str(name)] = json.loads(content[8:end]), content[end:]
        elif path.suffix in (".parquet", ".csv"):
            table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
            kept = [c for c in table.columns if c != "ms" and not _IS_TIME.search(c)]
            if "name" in kept:
                table = table[~table["name"].astype(str).str.contains(_IS_TIME)]
            found[str(name)] = table[kept].to_csv(index=False)
        elif path.name.endswith((".partial", ".damaged")):
            found[str(name)] = "left behind"
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill so many times, in as many rounds as that takes; returns 1 where a round differs."""
    parser = argparse.ArgumentParser(prog="python -m tools.kill_campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--each", type=int, default=5, help="kills of a round at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8, help="of each training")
    parser.add_argument("--folder", type=Path, default=Path("build/kill-campaign"))
    given = parser.parse_args(arguments)
    campaign = Campaign(given.folder.absolute(), given.seed, given.steps)
    took_s = campaign.undisturbed("whole")
    whole = given.folder / "whole" / "results"
    print(f"an undisturbed run: {took_s:.0f} s, {len(_contents(whole))} files compared", flush=True)
    faults, n_round = 0, 0
    while len(campaign.kills) < given.kills:
        n_round, before = n_round + 1, len(campaign.kills)
        name = f"round{n_round}"
        campaign.killed(name, min(given.each, given.kills - before), took_s)
        different = differences(whole, given.folder / name / "results")
        faults += bool(different)
        said = f"{len(different)} files differ: {different[:5]}" if different else "equal"
        print(f"{name}: {'; '.join(campaign.kills[before:]) or 'no kill'}: {said}", flush=True)
    print(f"{len(campaign.kills)} kills in {n_round} rounds; {faults} rounds differ")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
