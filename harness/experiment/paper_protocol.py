"""Whether a benchmark and models are those that the paper's printed numbers are of.

A name is not enough: a config or a declaration may give the name to fewer prompts, other images,
another detector or other weights, and then nothing printed can stand beside what they measure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.experiment.components import BenchmarkSpec, Registry
from hypernoise.weights.pins import HASH_MARK

FILE = Path(__file__).with_suffix(".toml")


@cache
def protocol() -> dict[str, dict[str, dict[str, Any]]]:
    """``benchmarks`` and ``models``: name -> what the paper's was."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def departures(
    registry: Registry,
    shown: Iterable[tuple[str, Sequence[str]]],
    similarities: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> list[str]:
    """Sentences that say where a benchmark of the paper's, or a model of one of its names, is not
    the paper's; none for other benchmarks, which no printed number is of.

    Args:
        shown: name of a benchmark, and the names of the models that make its images.
        similarities: metric -> arguments of what compares images, where that is shown.
    """
    found: dict[str, None] = {}
    for name, models in shown:
        if name in protocol()["benchmarks"]:
            found |= dict.fromkeys(of_benchmark(registry.benchmarks[name]))
            for model in (registry.models[model] for model in models):
                for field, value in protocol()["models"].get(model.name, {}).items():
                    if (ours := getattr(model, field)) != value:
                        found[f"{model.name} has {field} {ours}, not {value}"] = None
            for metric, given in similarities.items():
                for argument in given:
                    found[f"{metric} is measured with another {argument} than its own"] = None
    return list(found)


def of_benchmark(benchmark: BenchmarkSpec) -> Iterator[str]:
    """Where a benchmark of one of the paper's names is not the paper's."""
    name, published = benchmark.name, protocol()["benchmarks"][benchmark.name]
    if "unlike" in published:
        yield f"{name}: {published['unlike']}"
    if benchmark.target != published["target"]:
        yield f"{name} is {benchmark.target}, not {published['target']}"
    if (n := benchmark.n_images) != published["n_images"]:
        yield f"{name} has {n} images per prompt, not {published['n_images']}"
    ours, theirs = _plain(benchmark.arguments), published.get("arguments", {})
    for argument in sorted((ours.keys() | theirs.keys()) - set(published.get("free", ()))):
        if ours.get(argument) != theirs.get(argument):
            yield f"{name} has another {argument} than the published one"


def _plain(value: Any) -> Any:
    """Arguments without the hashes that pin what they name."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.partition(HASH_MARK)[0] if isinstance(value, str) else value
