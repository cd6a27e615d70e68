"""Selections: which images a config asks for under one name, to be scored and shown together.

Every one is named in the config: as a benchmark, in its sections ``sweeps`` and ``selections``, or
by a section of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.base.import_strings import SpecError

#: Name of the selection behind the comparison of all methods (config section ``compare``).
COMPARE = "methods"
#: Name of the selection behind the controls (config section ``controls``).
CONTROLS = "controls"
#: Name of the selection of weights of the L2 term (in config section ``selections``).
REGULARISATION = "regularisation"
#: Name of the selection whose images are compared in pairs (config section ``diversity``).
DIVERSITY = "diversity"


class Selection(NamedTuple):
    """Images that are scored together: a benchmark, methods, and sampling steps, models and reward
    if they are not the model's and the config's own; and methods that are there once more, with
    another reward."""

    benchmark: str
    methods: tuple[str, ...]
    steps: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    reward: str = ""
    swapped_methods: tuple[str, ...] = ()
    swapped_reward: str = ""


def selection(config: Mapping[str, Any], name: str, file: str) -> Selection:
    """The images behind a table: a sweep's or a selection's of the config, those of
    :data:`COMPARE`, :data:`CONTROLS` or :data:`DIVERSITY`, or the config's own under its
    benchmark's name.

    Args:
        config: has passed :func:`harness.experiment.config.check_schema`.
        name: one of :func:`names`.
        file: the config file, for messages.

    Raises:
        SpecError: the config has no such section.
    """
    if name == CONTROLS:
        own = section(config, name, file)
        return Selection(
            config["benchmark"],
            tuple(own["methods"]),
            swapped_methods=tuple(own["swapped_methods"]),
            swapped_reward=own["swapped_reward"],
        )
    if name in (COMPARE, DIVERSITY):
        own = section(config, name, file)
        models = tuple(own.get("models", ()))
        return Selection(own["benchmark"], tuple(own["methods"]), models=models)
    named = {**config["sweeps"], **given(config)}
    if name not in named:
        return Selection(config["benchmark"], tuple(config["methods"]))
    own = named[name]
    steps, models = (tuple(own.get(key, ())) for key in ("steps", "models"))
    return Selection(own["benchmark"], tuple(own["methods"]), steps, models, own.get("reward", ""))


def section(config: Mapping[str, Any], name: str, file: str) -> Mapping[str, Any]:
    """The section behind a selection that has one of its own; raises as :func:`selection`."""
    key = "compare" if name == COMPARE else name
    if key not in config:
        raise SpecError(f"{file} has no section {key!r}, see workflows/config/tiny.yaml")
    found: Mapping[str, Any] = config[key]
    return found


def given(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section ``selections``, which a config may leave out."""
    found: Mapping[str, Any] = config.get("selections", {})
    return found


def names(config: Mapping[str, Any]) -> list[str]:
    """Names of all selections."""
    own = [config["benchmark"], COMPARE, CONTROLS, DIVERSITY]
    return [*own, *config["sweeps"], *given(config)]
