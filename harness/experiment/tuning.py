"""Validation trials: as many for a kind of network or a search as for another, from declared grids.

A trial is a variant of a method (``hypernoise:learning_rate=0.001,seed=100``, ``reno:learning_rate=
0.1``), so it is trained, drawn and scored as every other method is. Trials of networks are the
image set ``tuning``, those of searches ``tuning_searches``, so that neither waits for the other.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.base.errors import SpecError, unknown
from harness.experiment.components import Registry
from harness.experiment.config import MAIN, SEED, Config, ImageSet, Tuning
from harness.experiment.methods import method_variant, n_scored
from harness.experiment.variants import Variant
from hypernoise.training.kinds import KINDS

#: The image sets of the trials.
TUNING, SEARCHES = "tuning", "tuning_searches"


class Trial(NamedTuple):
    """A training or search whose outcome on the validation prompts says what a setting is worth.

    Attributes:
        kind: of network, or the name of the search.
        method: the variant that uses the end of the training, or searches.
        options: the setting: names of the grid -> values.
        seed: of the training; None for a search, which trains nothing.
    """

    kind: str
    method: str
    options: Mapping[str, Any]
    seed: int | None = None


def trials(config: Config, registry: Registry, file: str) -> list[Trial]:
    """Every trial of a config, by kind, setting and seed, then by search; none without its section.

    Raises:
        SpecError: a kind, search or option is unknown, a value is out of its range, nothing
            declared uses the end of a kind's training, a search trains or asks no reward, its
            settings score unequal numbers of images, or a grid has fewer settings than there are
            trials.
    """
    if config.tuning is None:
        return []
    asked = config.tuning, registry, file
    return [*_trained(*asked), *_searched(*asked)]


def _searched(given: Tuning, registry: Registry, file: str) -> Iterator[Trial]:
    for name, grid in given.searches.items():
        where = f"{file}: config section 'tuning': searches: {name}:"
        spec = registry.find(registry.methods, "search in config section 'tuning'", name, file)
        if spec.trains or not spec.needs_reward:
            raise SpecError(f"{where} it trains a network or asks no reward: no search by itself")
        costs = {}
        for options in settings(grid, given.trials, given.seed, where):
            method = str(Variant(name, options))
            costs[n_scored(method_variant(registry, method, file))] = method
            yield Trial(name, method, options)
        if len(costs) > 1:
            told = ", ".join(f"{method} {n}" for n, method in costs.items())
            raise SpecError(f"{where} trials need equal budgets, and score images: {told}")


def _trained(given: Tuning, registry: Registry, file: str) -> list[Trial]:
    found = []
    for kind, grid in given.grids.items():
        where = f"{file}: config section 'tuning': grid of {kind}:"
        if kind not in KINDS:
            raise unknown("kind of network in config section 'tuning'", kind, KINDS, file)
        declared = registry.methods.items()
        ends = [n for n, m in declared if m.trains == kind and m.state == "final" and not m.search]
        if not ends:
            raise SpecError(f"{where} no declared method uses the end of such a training")
        for options in settings(grid, given.trials, given.seed, where):
            for name in options:
                if name not in KINDS[kind].options.model_fields or name == SEED:
                    valid = KINDS[kind].options.model_fields.keys() - {SEED}
                    raise unknown("training option", name, valid, where.removesuffix(":"))
            try:
                KINDS[kind].checked({"steps": 1, **options})
            except ValueError as error:
                raise SpecError(f"{where} {error}") from error
            for seed in given.seeds:
                method = str(Variant(ends[0], {**options, SEED: seed}))
                found.append(Trial(kind, method, options, seed))
    return found


def settings(
    grid: Mapping[str, Sequence[Any]], n: int, seed: int, where: str = "grid:"
) -> list[dict[str, Any]]:
    """So many different settings of a grid, in its order: all of them, or a seeded draw.

    A draw has the values of an option about equally often, so that no value is judged by the one
    trial that it happened to get.

    Args:
        grid: options, names divided by spaces for those that vary together -> their values.
        n: how many.
        seed: of the draw.
        where: for messages.

    Raises:
        SpecError: the grid has fewer, or a value of options that vary together is no list of as
            many values.
    """
    axes: list[list[dict[str, Any]]] = []
    for names, values in grid.items():
        split = names.split()
        rows = [value if len(split) > 1 else [value] for value in values]
        for value in rows:
            if not isinstance(value, Sequence) or len(value) != len(split):
                raise SpecError(f"{where} {names!r} needs {len(split)} values, got {value!r}")
        axes.append([dict(zip(split, row, strict=True)) for row in rows])
    total = math.prod(map(len, axes))
    if total < n:
        raise SpecError(f"{where} has {total} settings, and each kind or search gets {n} trials")
    places = list(itertools.product(*(range(len(axis)) for axis in axes)))
    chosen = places if total == n else _spread(places, n, random.Random(seed))
    parts = ((axis[value] for axis, value in zip(axes, place, strict=True)) for place in chosen)
    return [dict(item for own in part for item in own.items()) for part in parts]


def _spread(places: list[tuple[int, ...]], n: int, draw: random.Random) -> list[tuple[int, ...]]:
    """So many places of a grid, in its order: the next has the values, and pairs, drawn least."""

    def parts(place: tuple[int, ...]) -> list[tuple[Any, ...]]:
        values = [*enumerate(place)]
        return [*values, *itertools.combinations(values, 2)]

    left = draw.sample(places, len(places))
    drawn: Counter[tuple[Any, ...]] = Counter()
    for _ in range(n):
        place = min(left, key=lambda place: sum(4 ** drawn[part] for part in parts(place)))
        left.remove(place)
        drawn.update(parts(place))
    return sorted(set(places) - set(left))


def image_sets(config: Config, registry: Registry, file: str) -> dict[str, ImageSet]:
    """The image sets of the trials under their names, the base in the first; empty without trials.

    Raises:
        SpecError: as :func:`trials`, an image set of the config has such a name, or trials would be
            chosen by the images that results are reported on.
    """
    found = trials(config, registry, file)
    if config.tuning is None:
        return {}
    if taken := {TUNING, SEARCHES} & set(config.image_sets):
        raise SpecError(f"{file}: image set {min(taken)!r} is that of config section 'tuning'")
    if config.tuning.benchmark == config.benchmark:
        raise SpecError(
            f"{file}: config section 'tuning' would choose by {config.benchmark!r}, the images of "
            f"set {MAIN!r}; name a benchmark of validation prompts"
        )
    untrained = [name for name, m in registry.methods.items() if not (m.trains or m.needs_reward)]
    trained = (trial.method for trial in found if trial.kind in KINDS)
    methods = {TUNING: (*untrained[:1], *trained)}
    if searches := tuple(trial.method for trial in found if trial.kind not in KINDS):
        methods[SEARCHES] = searches
    own: dict[str, Any] = {"models": config.tuning.models} if config.tuning.models else {}
    own["benchmark"] = config.tuning.benchmark
    return {name: ImageSet(methods=chosen, **own) for name, chosen in methods.items()}
