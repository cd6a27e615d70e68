"""Which files the weights of components are in, from their declarations alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from harness.base.signatures import signature_of
from harness.experiment.components import (
    BenchmarkSpec,
    MethodSpec,
    ModelSpec,
    RewardSpec,
    SimilaritySpec,
)
from harness.experiment.pins import named_places
from harness.results.weight_hashes import WeightFile
from hypernoise.identity import IMAGES
from hypernoise.weights.pins import located

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


class TakenImages(NamedTuple):
    """Images of another tool that a method gives (:mod:`harness.benchmarks.given_images`).

    Attributes:
        place: the folder or table that names them.
        size_px: their width and height; 0 for that of the model.
    """

    place: str
    size_px: int


def given_images(spec: MethodSpec) -> TakenImages | None:
    """What a method takes that makes no images; None for others.

    Raises:
        SpecError: its target does not exist.
    """
    signature = signature_of(spec.target, spec.file)
    for name in signature.marked({IMAGES.name}) if signature else ():
        if place := spec.arguments.get(name):
            return TakenImages(str(place), int(spec.arguments.get("size_px", 0)))
    return None


def method_files(spec: MethodSpec) -> list[str]:
    """Folders and files of this machine that a method reads: adapters that one has, images."""
    named = named_places(spec.target, spec.arguments)
    found = [place for keys, place, _, _ in named if keys == ("weights",)]
    if taken := given_images(spec):
        found.append(taken.place)
    return [str(path) for path in map(located, found) if path.exists()]


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
