"""Validation trials: as many for one kind of network as for another, from a declared grid.

A trial is a variant of a method (``hypernoise:learning_rate=0.001,seed=100``), so it is trained,
drawn and scored as every other method is. All trials are the image set ``tuning``.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.base.errors import SpecError, unknown
from harness.experiment.components import Registry
from harness.experiment.config import MAIN, SEED, Config, ImageSet
from harness.experiment.variants import Variant
from hypernoise.training.kinds import KINDS

#: The image set of all trials.
TUNING = "tuning"


class Trial(NamedTuple):
    """A training whose outcome on the validation prompts says what a setting is worth.

    Attributes:
        kind: of network.
        method: the variant that uses the end of the training.
        options: the setting: names of the grid -> values.
        seed: of the training.
    """

    kind: str
    method: str
    options: Mapping[str, Any]
    seed: int


def trials(config: Config, registry: Registry, file: str) -> list[Trial]:
    """Every trial of a config, by kind, setting and seed; none without its section.

    Raises:
        SpecError: a kind or option is unknown, a value is out of its range, nothing declared uses
            the end of a kind's training, or a grid has fewer settings than there are trials.
    """
    given = config.tuning
    if given is None:
        return []
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
        raise SpecError(f"{where} has {total} settings, and every kind of network gets {n} trials")
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


def image_set(config: Config, registry: Registry, file: str) -> dict[str, ImageSet]:
    """The image set of all trials under its name, the base beside them; empty without trials.

    Raises:
        SpecError: as :func:`trials`, an image set of the config has the name, or trials would be
            chosen by the images that results are reported on.
    """
    found = trials(config, registry, file)
    if config.tuning is None:
        return {}
    if TUNING in config.image_sets:
        raise SpecError(f"{file}: image set {TUNING!r} is that of config section 'tuning'")
    if config.tuning.benchmark == config.benchmark:
        raise SpecError(
            f"{file}: config section 'tuning' would choose by {config.benchmark!r}, the images of "
            f"set {MAIN!r}; name a benchmark of validation prompts"
        )
    untrained = [name for name, m in registry.methods.items() if not (m.trains or m.needs_reward)]
    methods = (*untrained[:1], *(trial.method for trial in found))
    own: dict[str, Any] = {"models": config.tuning.models} if config.tuning.models else {}
    return {TUNING: ImageSet(benchmark=config.tuning.benchmark, methods=methods, **own)}
