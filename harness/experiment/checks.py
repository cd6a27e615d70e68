"""Every name and argument in a config, checked against the declared components.

What a key may be at all, :mod:`harness.experiment.config` has checked before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.base.errors import SpecError, unknown
from harness.base.signatures import check_call
from harness.experiment.config import DEFAULT, MAIN
from harness.experiment.methods import check_sampling
from harness.experiment.plan import TRAIN_METRIC, Experiment
from harness.experiment.providers import PROVIDERS, Table, columns
from harness.experiment.variants import Variant


def check(experiment: Experiment) -> None:
    """Check every name in the config but those of tables, and every target and argument.

    Raises:
        SpecError: names the file, the word and the nearest valid one.
    """
    registry, config, file = experiment.registry, experiment.config, experiment.file
    registry.check_rewards()
    _known(experiment, registry.rewards, "reward", config.judges.values())
    if TRAIN_METRIC in config.judges:
        raise SpecError(
            f"{file}: config key 'judges' names {TRAIN_METRIC!r}, the metric of the reward "
            "that methods see; give the judge another name"
        )
    _known(experiment, registry.models, "model in steps", config.steps)
    _known(experiment, registry.benchmarks, "benchmark in timing", [config.timing.benchmark])
    _known(experiment, registry.models, "model in pretrain", config.pretrain.generators)
    rewards = (*config.pretrain.matchers, *config.pretrain.judges)
    _known(experiment, registry.rewards, "reward in pretrain", rewards)
    _check_sets(experiment)
    methods = registry.methods
    for method in (method for method in methods.values() if method.search):
        _known(experiment, methods, f"search of method {method.name}:", [method.search])
        search = methods[method.search]
        if search.trains or search.search or search.needs_reward != method.needs_reward:
            raise SpecError(
                f"{method.file}: {method.name!r} goes on with {search.name!r}, which must be a "
                "plain search: it trains nothing, has no search of its own, and needs_reward "
                f"is the same, here {method.needs_reward}"
            )
    _check_layers(experiment)
    for model, reward, training in experiment.trainings():
        options = experiment.options(model, reward, training)
        validated, kept = options["validate_every"], options["checkpoint_every"]
        if experiment.declared(training).state == "matched" and kept % validated:
            raise SpecError(
                f"{file}: {training} on {model} has a checkpoint every {kept} steps, "
                f"but is validated every {validated}; only a validated checkpoint can be matched"
            )
    layers = [called for layer in config.prompts.values() for _, called in layer if called]
    networks = (*config.similarities.values(), *config.features.values())
    for called in (*layers, config.audit.prompts, *networks):
        what = f"argument of {called.target}:"
        check_call(called.target, called.arguments, file=file, what=what)


def check_tables(experiment: Experiment) -> None:
    """Check the names of tables, and the image sets that they need; raises as :func:`check`."""
    tables = experiment.registry.tables
    groups = {table.group for table in tables.values() if table.group}
    _known(experiment, {*tables, *groups}, "table", experiment.config.tables)
    for table in experiment.asked():
        for name in table.sets:
            experiment.image_set(name, table.name)


def check_columns(table: Table) -> None:
    """Check that the images of a figure's columns are among those of its image sets.

    Raises:
        SpecError: names the image, and how many its benchmark has of each prompt.
    """
    experiment, spec = table.experiment, table.spec
    if "columns" not in table.parameters:
        return
    for column in spec.arguments.get("columns") or columns(table):
        wanted = Variant.parse(column["method"])
        made = [
            experiment.registry.benchmarks[chosen.benchmark]
            for chosen in table.sets
            if column["model"] in chosen.models
            and wanted in map(Variant.parse, chosen.methods)
            and column["steps"] in (chosen.steps or (experiment.steps(column["model"]),))
        ]
        start = f"{experiment.file}: {spec.name} shows "
        shown, sets = "{method} on {model}, steps {steps}".format(**column), ", ".join(spec.sets)
        if not made:
            raise SpecError(f"{start}{shown}, which is no part of image set {sets}")
        most = max(made, key=lambda benchmark: benchmark.n_images)
        index = column.get("image_index", 0)
        if index >= most.n_images:
            raise SpecError(
                f"{start}image {index} of each prompt ({shown}), and benchmark {most.name} has "
                f"images 0 to {most.n_images - 1}: raise its n_images ({most.file})"
            )


def check_given(table: Table) -> None:
    """Check that the config has what a table's function cannot do without, a judge for instance.

    The function itself would find out when everything that the table is made of has been made.

    Raises:
        SpecError: names the table and what it lacks.
    """
    experiment, spec = table.experiment, table.spec
    asked = {name: one for name, one in table.parameters.items() if name not in spec.arguments}
    start = f"{experiment.file}: {spec.name} needs"
    needed = [name for name, one in asked.items() if one.is_required and name in PROVIDERS]
    for name in needed:
        if name != "metric" and not PROVIDERS[name](table):
            lacks = "config key 'judges' names none" if name == "judges" else "the config has none"
            raise SpecError(f"{start} {name}: {lacks}")
    benchmark = experiment.registry.benchmarks[table.first.benchmark]
    # One that can do without a benchmark's metric says so by its default: none, or a reward's.
    rewards = {"", TRAIN_METRIC, *experiment.config.judges}
    shown = asked.get("metric")
    if shown and not benchmark.metric and shown.constant not in rewards:
        named = f"reward {shown.constant}" if shown.constant else "a benchmark with a metric"
        raise SpecError(
            f"{start} {named}: benchmark {benchmark.name} has no metric, and config key 'judges' "
            f"names {', '.join(experiment.config.judges) or 'nothing'}"
        )


def _known(experiment: Experiment, valid: Collection[str], what: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in valid:
            raise unknown(what, name, valid, experiment.file)


def _check_sets(experiment: Experiment) -> None:
    registry = experiment.registry
    if MAIN in experiment.config.image_sets:
        raise SpecError(
            f"{experiment.file}: image set {MAIN!r} is what the config's benchmark, models and "
            "methods make; give this one another name"
        )
    for name, chosen in experiment.image_sets.items():
        of = "" if name == MAIN else f" of image set {name}:"
        swapped = chosen.swapped
        _known(experiment, registry.models, f"model{of}", chosen.models)
        _known(experiment, registry.benchmarks, f"benchmark{of}", [chosen.benchmark])
        rewards = [chosen.reward, *([swapped.reward] if swapped else [])]
        _known(experiment, registry.rewards, f"reward{of}", rewards)
        for method in (*chosen.methods, *(swapped.methods if swapped else ())):
            _known(experiment, registry.methods, f"method{of}", [Variant.parse(method).name])
            experiment.parts(method)
            declared = experiment.declared(method)
            for model in chosen.models:
                for spec in (declared, registry.methods.get(declared.search, declared)):
                    least = min(chosen.steps or (experiment.steps(model),))
                    where = f"{experiment.file}: on {model}, method{of}".rstrip(":")
                    check_sampling(spec, least, where)
            if (shown := experiment.shown_as(method)) != method:
                raise SpecError(
                    f"{experiment.file}: method{of} {method!r} is a network of {shown!r} already: "
                    f"config key 'training_seeds' is {list(experiment.config.training_seeds)}"
                )


def _check_layers(experiment: Experiment) -> None:
    registry, config, file = experiment.registry, experiment.config, experiment.file
    kinds = {method.trains for method in registry.methods.values() if method.trains}
    valid = {DEFAULT, *registry.models, *registry.rewards, *registry.methods, *kinds}
    sections = {name: getattr(config, name) for name in ("training", "arguments", "prompts")}
    for section, key in ((name, key) for name, layers in sections.items() for key in layers):
        for word in (Variant.parse(word, file) for word in key.split()):
            _known(experiment, valid, f"name in config section {section!r}:", [word.name])
            if word.arguments:
                experiment.parts(str(word))
    for key, given in config.arguments.items():
        words = (Variant.parse(word).name for word in key.split())
        named = [name for name in words if name in registry.methods]
        if len(named) != 1:
            raise SpecError(
                f"{file}: {key!r} in config section 'arguments' must name one method, "
                "and may name a model or a reward too, as in 'tiny_sd reno'"
            )
        where = f"method {named[0]!r} in config section 'arguments'"
        target, what = registry.methods[named[0]].target, f"argument of {where}:"
        check_call(target, given, file=file, what=what, where=where)
