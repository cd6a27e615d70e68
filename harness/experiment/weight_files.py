"""Which files the weights of components are in, from their declarations alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.experiment.components import (
    BenchmarkSpec,
    MethodSpec,
    ModelSpec,
    RewardSpec,
    SimilaritySpec,
)
from harness.experiment.pins import named_places
from harness.results.weight_hashes import WeightFile

_Component = ModelSpec | RewardSpec | MethodSpec | BenchmarkSpec | None


def weights_of(
    *components: _Component, comparisons: Mapping[str, SimilaritySpec] | None = None
) -> tuple[WeightFile, ...]:
    """The weight files of some components, those of a sum's parts under the parts' names.

    Defaults of targets count; random weights are in no file.

    Args:
        comparisons: metric -> comparison of images, which has no name of its own.

    Raises:
        SpecError: a target does not exist.
    """
    found = [file for spec in components if spec is not None for file in _of(spec)]
    for metric, spec in (comparisons or {}).items():
        found += _named(f"similarity {metric}", spec.target, spec.arguments)
    return tuple(dict.fromkeys(found))


def given_images(spec: MethodSpec) -> str:
    """Where the images are of a method that makes none, but takes those of another tool
    (:mod:`harness.benchmarks.given_images`); empty for others."""
    return str(spec.arguments.get("images", ""))


def method_files(spec: MethodSpec) -> list[str]:
    """Folders and files of this machine that a method reads: adapters that one has, images."""
    named = named_places(spec.target, spec.arguments)
    found = [place for keys, place, _, _ in named if keys == ("weights",)]
    found += filter(None, [given_images(spec)])
    return [place for place in found if Path(place).exists()]


def _of(spec: ModelSpec | RewardSpec | MethodSpec | BenchmarkSpec) -> Iterator[WeightFile]:
    if isinstance(spec, ModelSpec):
        if spec.is_random:
            return
        own = {"weights": spec.weights, "revision": spec.revision, **spec.arguments}
        yield from _named(f"model {spec.name}", spec.target, own)
    elif isinstance(spec, RewardSpec):
        for single in spec.singles():
            yield from _named(f"reward {single.name}", single.target, single.arguments)
    elif isinstance(spec, MethodSpec):
        yield from _named(f"method {spec.name}", spec.target, spec.arguments)
        if spec.searcher is not None:
            yield from _of(spec.searcher)
    else:
        yield from _named(f"benchmark {spec.name}", spec.target, spec.arguments)


def _named(component: str, target: str, arguments: Mapping[str, object]) -> Iterator[WeightFile]:
    for keys, place, pin, _ in named_places(target, arguments):
        yield WeightFile(component, ".".join(keys), place, pin.sha256, pin.commit)
