"""``python -m harness explain MODEL METHOD REWARD``: every option of a run, and what gives it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.experiment.config_files import base_of, load_yaml
from harness.experiment.layers import Given
from harness.experiment.plan import OWN, Experiment
from harness.experiment.workflow import open_experiment
from hypernoise.training.kinds import KINDS

#: Fields of declarations that are shown under other names, or say nothing about a run.
_UNTOLD = ("name", "target", "file", "arguments", "searcher", "parts", "encodings")


class Option(NamedTuple):
    """One resolved option: its name, its value, and the declaration or config layer of it."""

    name: str
    value: Any
    origin: str


def run(model: str, method: str, reward: str, configfile: Path, components: Sequence[Path]) -> None:
    """Print the options of a run, part by part, a line each.

    Args:
        model, reward: names of declared components.
        method: a declared method, with arguments of its own if it has some.
        configfile: the config that gives the rest.
        components: folders of declarations, the workflow's first.

    Raises:
        FileNotFoundError: there is no such config, or no folder of component files here.
        SpecError: a name is unknown, or the config or a declaration is wrong.
    """
    if not configfile.is_file():
        raise FileNotFoundError(f"config {configfile} is missing")
    workflows, *more = components
    config, files = load_yaml(configfile), [str(configfile)]
    experiment = open_experiment(config, files, workflows=workflows, components=more)
    for title, options in explained(experiment, model, method, reward, configfile).items():
        print(title)
        widths = [max((len(str(o[i])) for o in options), default=0) for i in (0, 1)]
        for name, value, origin in options:
            print(f"  {name:<{widths[0]}}  {value!s:<{min(widths[1], 40)}}  {origin}")


def explained(
    experiment: Experiment, model: str, method: str, reward: str, configfile: Path
) -> dict[str, list[Option]]:
    """The options of a run by the part of it that they belong to; raises as :func:`run`."""
    registry, file = experiment.registry, experiment.file
    of_model = registry.find(registry.models, "model", model, file)
    of_method = experiment.declared(method)
    of_reward = registry.find(registry.rewards, "reward", reward, file)
    steps = Option("steps", experiment.steps(model), of_model.file)
    if model in experiment.config.steps:
        steps = steps._replace(origin=f"{file_of(configfile, 'steps')}: steps")
    told = [option for option in _declared(of_model) if option.name != "steps"]
    found = {
        f"model {model} ({of_model.target})": [*told, steps],
        f"method {method} ({of_method.target})": [
            *_declared(of_method, arguments=False),
            *_given(configfile, "arguments", dict(experiment.arguments(method, model, reward))),
        ],
    }
    if search := experiment.search_of(method):
        after = dict(experiment.arguments(search, model, reward))
        found[f"then {search}"] = list(_given(configfile, "arguments", after))
    found[f"reward {reward} ({of_reward.target})"] = list(_declared(of_reward))
    if of_method.trains:
        training = experiment.training(model, reward, method)
        found[f"training of {of_method.trains}, as {training}"] = list(
            _training(experiment, model, method, reward, configfile)
        )
    run = ["seed", "batch_size", "benchmark", "processes", "gpus"]
    run += ["training_seeds"] if experiment.config.training_seeds else []
    found["run"] = [
        Option(key, getattr(experiment.config, key), f"{file_of(configfile, key)}: {key}")
        for key in run
    ]
    return found


def file_of(configfile: Path, key: str) -> Path:
    """Of a config and those that it extends, the first that has a key."""
    config = load_yaml(configfile)
    if key in config or "extends" not in config:
        return configfile
    return file_of(base_of(config, configfile.parent), key)


def _declared(spec: Any, arguments: bool = True) -> Iterator[Option]:
    """What a declaration says, without what is empty."""
    fields = {name: value for name, value in vars(spec).items() if not name.startswith("_")}
    if arguments:
        fields |= spec.arguments
    for name, value in fields.items():
        if name not in _UNTOLD and value not in ("", None, {}, ()):
            yield Option(name, value, spec.file)


def _given(configfile: Path, section: str, given: Mapping[str, Given]) -> Iterator[Option]:
    for name, (value, layer) in given.items():
        is_layer = layer != OWN and not layer.endswith(".smk")
        origin = f"{file_of(configfile, section)}: {section}: {layer}" if is_layer else layer
        yield Option(name, value, origin)


def _training(
    experiment: Experiment, model: str, method: str, reward: str, configfile: Path
) -> Iterator[Option]:
    kind = KINDS[str(experiment.declared(method).trains)]
    given = experiment.given_options(model, reward, method)
    yield from _given(configfile, "training", given)
    whole = kind.checked({name: value for name, (value, _) in given.items()})
    for name in type(whole).model_fields:
        if name not in given:
            origin = f"default of {kind.options.__module__}:{kind.options.__name__}"
            yield Option(name, getattr(whole, name), origin)
    for use, prompts in experiment.prompts(model, reward, method).items():
        arguments = ", ".join(f"{key}={value}" for key, value in prompts.arguments.items())
        origin = f"{file_of(configfile, 'prompts')}: prompts"
        yield Option(f"{use} prompts", f"{prompts.target}({arguments})", origin)
