"""From declared components to the same ones with stand-ins, in component files of their own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from pprint import pformat
from typing import Any, NamedTuple

from harness.base.errors import SpecError
from harness.base.import_strings import resolve
from harness.base.signatures import signature_of
from harness.benchmarks import stand_in_data
from harness.benchmarks.dpg import QUESTIONS
from harness.experiment import pins
from harness.experiment.component_files import KINDS
from harness.experiment.components import Component, ModelSpec, Registry, RewardSpec
from harness.experiment.plan import Experiment
from harness.rehearsal.small_config import small_benchmark, small_method
from hypernoise.weights.pins import is_remote, sha256_of
from hypernoise.weights.stand_ins import HasStandIn, Shelf

#: What a component is given by others than its declaration.
_FILLED_IN = ("name", "file", "arguments", "parts", "searcher", "training_seed")
#: Data files that declarations name: a stand-in of each is in a rehearsal's data folder.
_DATA = (QUESTIONS,)


class Replacement(NamedTuple):
    """A component, the places that it reads, and which of its arguments are others."""

    component: str
    places: tuple[str, ...]
    changed: tuple[str, ...]


def replaced(
    registry: Registry, names: Collection[str], similarities: Mapping[str, Any], shelf: Shelf
) -> list[Replacement]:
    """Give components stand-ins, in place.

    Args:
        registry: what is declared, and from then on what the rehearsal declares.
        names: the components that it needs.
        similarities: of the config, changed in place.

    Raises:
        SpecError: some are downloaded and have no stand-in: all are named, and nothing is made.
    """
    import torch

    if lacking := sorted(set(_lacking(registry, names, similarities))):
        raise SpecError("\n".join(lacking))
    found = []

    def changes(component: str, target: str, given: Mapping[str, Any]) -> dict[str, Any]:
        places = tuple(place for _, _, place in _remote(target, given))
        if not places:
            return {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            changed = _changes(target, given, shelf)
        others = sorted(name for name in changed if changed[name] != given.get(name))
        found.append(Replacement(component, places, tuple(others)))
        return changed

    for kind, spec in _needed(registry, names):
        own = _given(spec)
        changed = changes(f"{kind.removesuffix('s')} {spec.name}", spec.target, own)
        fields = {name: changed.pop(name) for name in _FIELDS & changed.keys() & own.keys()}
        if not isinstance(spec, ModelSpec):
            fields, changed = {}, {**changed, **fields}
        made = dataclasses.replace(spec, **fields, arguments={**spec.arguments, **changed})
        getattr(registry, kind)[spec.name] = made
    for name, called in similarities.items():
        given = called.get("arguments", {})
        called["arguments"] = {**given, **changes(f"similarity {name}", called["target"], given)}
    return found


def shrink(experiment: Experiment) -> None:
    """Make the benchmarks and methods of an experiment small, in place: two images of each prompt,
    which have a spread, and as many as its figures show."""
    registry = experiment.registry
    shown = {name: 2 for name in registry.benchmarks}
    for table in experiment.asked():
        # A grid's columns follow from its declaration, or stand in it.
        columns = table.arguments.get("columns", ())
        n_images = max([table.n_images, *(1 + column.get("image_index", 0) for column in columns)])
        for chosen in map(experiment.image_set, table.sets):
            shown[chosen.benchmark] = max(shown[chosen.benchmark], n_images)
    for name, benchmark in registry.benchmarks.items():
        registry.benchmarks[name] = small_benchmark(benchmark, shown[name])
    for name, method in registry.methods.items():
        registry.methods[name] = small_method(method)


def write(registry: Registry, folder: Path) -> None:
    """Write component files that declare what a registry has, a file for each component."""
    for kind in KINDS:
        specs = getattr(registry, kind)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for old in (folder / kind).glob("*.smk"):
            old.unlink()
        for name, spec in specs.items():
            base = specs.get(name.removesuffix("_random"))
            if isinstance(spec, ModelSpec) and spec.is_random and base and base.architecture:
                # Whatever declares the architecture declares this twin.
                continue
            text = f"add_{kind.removesuffix('s')}({name!r}, **{pformat(declaration(spec))})\n"
            (folder / kind / f"{name}.smk").write_text(text, encoding="utf-8")


def declaration(spec: Component) -> dict[str, Any]:
    """The keywords that a component is declared with."""
    found = {}
    for entry in dataclasses.fields(spec):
        value = getattr(spec, entry.name)
        if entry.name not in _FILLED_IN and value != entry.default and value not in ({}, ()):
            found["parts" if entry.name == "weights_of" else entry.name] = value
    return {**found, **spec.arguments}


#: Fields of a model's declaration that its target is called with.
_FIELDS = {"weights", "revision", "architecture", "size_px"}


def _given(spec: Component) -> dict[str, Any]:
    if isinstance(spec, ModelSpec):
        return {**{name: getattr(spec, name) for name in _FIELDS}, **spec.arguments}
    return dict(spec.arguments)


def _needed(registry: Registry, names: Collection[str]) -> Iterator[tuple[str, Any]]:
    for kind in KINDS:
        if kind != "tables":
            for name, spec in list(getattr(registry, kind).items()):
                if name in names and not (isinstance(spec, RewardSpec) and spec.weights_of):
                    yield kind, spec


def _lacking(
    registry: Registry, names: Collection[str], similarities: Mapping[str, Any]
) -> Iterator[str]:
    named = [(kind.removesuffix("s"), s.name, s, s.file) for kind, s in _needed(registry, names)]
    asked = [
        (f"{kind} {name!r}", spec.target, _given(spec), file) for kind, name, spec, file in named
    ]
    asked += [
        (f"similarity {name!r}", called["target"], called.get("arguments", {}), "")
        for name, called in similarities.items()
    ]
    for component, target, given, file in asked:
        for owner, _, place in _remote(target, given):
            if place not in _DATA and not isinstance(resolve(owner), HasStandIn):
                where = f"{file}: " if file else ""
                yield (
                    f"{where}{component} reads {place}, and {owner} has no stand-in for it: give "
                    "it a classmethod `stand_in` (hypernoise.weights.stand_ins.HasStandIn)"
                )


def _remote(target: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(target, argument, place) of what is downloaded, or drawn at random at full size."""
    flat = {name: value for name, value in given.items() if not _is_call(value)}
    for keys, place, _, revision in pins.named_places(target, flat):
        if revision or is_remote(place):
            yield target, keys[-1], place
    if given.get("weights") == "random":
        yield target, "weights", f"random {given.get('architecture') or 'weights'}"
    for value in given.values():
        if _is_call(value):
            inner = {name: inside for name, inside in value.items() if name != "target"}
            yield from _remote(value["target"], inner)


def _changes(target: str, given: Mapping[str, Any], shelf: Shelf) -> dict[str, Any]:
    changed = {}
    for name, value in given.items():
        if _is_call(value) and list(_remote(value["target"], value)):
            inner = {key: inside for key, inside in value.items() if key != "target"}
            changed[name] = {**value, **_changes(value["target"], inner, shelf)}
    function = resolve(target)
    own = [place for owner, _, place in _remote(target, given) if owner == target]
    if own and isinstance(function, HasStandIn):
        signature = signature_of(target)
        texts = signature.texts if signature else {}
        changed |= function.stand_in(shelf, **{**texts, **given, **changed})
    return changed


def _is_call(value: Any) -> bool:
    return isinstance(value, Mapping) and "target" in value


def lay_data(folder: Path) -> Path:
    """Write the stand-ins of data files; returns the list of their hashes."""
    contents = stand_in_data.contents()
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    listing = folder / "stand_ins.json"
    hashes = {name: sha256_of(folder / name) for name in contents}
    listing.write_text(json.dumps(hashes, indent=1), encoding="utf-8")
    return listing
