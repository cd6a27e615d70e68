"""What tables and figures are given: frames, and what the plan knows, by parameter name.

The function of a table says by the names of its parameters what it needs; they are read from its
source. A new provider is a function here with the parameter's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from harness.base.errors import SpecError
from harness.base.signatures import Parameter, signature_of
from harness.experiment import places, tuning
from harness.experiment.components import TableSpec
from harness.experiment.config import SEED, ImageSet
from harness.experiment.jobs import TableJob
from harness.experiment.paper_protocol import departures as departures_of
from harness.experiment.places import frame_of, place
from harness.experiment.plan import FRAMED, TRAIN_METRIC, Experiment, Run
from harness.experiment.variants import Variant
from harness.experiment.weight_files import given_images
from harness.results.training_folder import STEPS_FILE
from hypernoise.training.kinds import KINDS


@dataclass(frozen=True)
class Table:
    """A declared table or figure of an experiment, of one model where there is one per model.

    Attributes:
        only: that model.
    """

    experiment: Experiment
    spec: TableSpec
    only: str = ""

    @cached_property
    def sets(self) -> list[ImageSet]:
        """The sets of images that it is made of.

        Raises:
            SpecError: the config lacks one.
        """
        return [self.experiment.image_set(name, self.spec.name) for name in self.spec.sets]

    @cached_property
    def first(self) -> ImageSet:
        return self.sets[0]

    @cached_property
    def models(self) -> list[str]:
        """The models that it shows, of its first set."""
        return self.models_of(self.first)

    def models_of(self, chosen: ImageSet) -> list[str]:
        """The models of one of its sets that it shows.

        Raises:
            SpecError: it shows the n-th one, and there are fewer.
        """
        found, place = [self.only] if self.only else list(chosen.models), self.spec.place
        if place is None:
            return found
        if place > len(found):
            fault = f"{self.spec.name} shows model {place}, there are {len(found)}"
            raise SpecError(f"{self.experiment.file}: {fault}")
        return [found[place - 1]]

    @cached_property
    def named(self) -> list[tuple[str, str]]:
        """(image set, model) of all that it is made of."""
        pairs = zip(self.spec.sets, self.sets, strict=True)
        return [(name, model) for name, chosen in pairs for model in self.models_of(chosen)]

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """What its function asks for, by name."""
        signature = signature_of(self.spec.target, self.spec.file)
        return signature.parameters if signature else {}

    def inputs(self) -> dict[str, list[str]]:
        """Files by kind of frame; a training's folder in place of its frame."""
        names = {*self.parameters, *self.spec.frames}
        found = {k: list(dict.fromkeys(FRAMES[k](self))) for k in FRAMES if k in names}
        return {
            kind: files
            for kind, files in found.items()
            if files or kind not in self.parameters or self.parameters[kind].is_required
        }

    def job(self) -> TableJob:
        """The job that makes it."""
        inputs = {
            kind: tuple(f"{file}/{STEPS_FILE}" if kind == "training" else file for file in files)
            for kind, files in self.inputs().items()
        }
        wanted = [name for name in PROVIDERS if name in self.parameters]
        found = {n: PROVIDERS[n](self) for n in wanted if n not in self.spec.arguments}
        given = {name: value for name, value in found.items() if value is not None}
        spec = replace(self.spec, arguments={**given, **self.spec.arguments})
        return TableJob(spec, inputs, self.stem, rehearsal=self.experiment.config.rehearsal)

    @property
    def stem(self) -> str:
        """Where it goes, without suffix."""
        return self.spec.stem.format(model=self.only)

    def runs(self) -> list[Run]:
        """The images that it is made of."""
        found = (run for named in self.named for run in self.experiment.runs(*named))
        return list(dict.fromkeys(found))

    def methods(self) -> list[str]:
        """The methods that it shows: of audits and searches those that can have any."""
        experiment, methods = self.experiment, list(self.spec.methods or self.first.methods)
        inputs = self.inputs()
        if "audits" in inputs:
            return experiment.moving_noise(methods)
        if "training" in inputs and "scores" not in inputs:
            trained = (name for *_, name in experiment.trainings(self.spec.sets[0]))
            return list(dict.fromkeys(map(experiment.shown_as, trained)))
        if "trajectories" in inputs and "scores" not in inputs:
            return [method for method in methods if experiment.declared(method).needs_reward]
        if "timings" in inputs and "scores" not in inputs:
            # Nobody knows how long another tool took.
            return [name for name in methods if not given_images(experiment.declared(name))]
        return methods

    def shown(self) -> dict[str, list[int]]:
        """Method -> its sampling steps; only of methods that train ``trains``, and of the base."""
        experiment = self.experiment
        found = experiment.shown(self.spec.sets, self.models[0])
        if not self.spec.trains:
            return found
        kinds = {method: experiment.declared(method).trains for method in found}
        base = [method for method, kind in kinds.items() if kind is None]
        ends = [m for m, k in kinds.items() if k == self.spec.trains and experiment.uses_end(m)]
        return {method: found[method] for method in [*base, *ends]}

    def options(self, model: str, method: str) -> Mapping[str, Any]:
        return self.experiment.options(model, self.first.reward, method)

    def trained(self) -> list[str]:
        return [method for method in self.first.methods if self.experiment.declared(method).trains]


def _of_models(table: Table, pattern: str) -> list[str]:
    return [place(pattern, image_set=name, model=model) for name, model in table.named]


def images(table: Table) -> list[str]:
    """Frames of images."""
    return [frame_of(run) for run in table.runs()]


def trajectories(table: Table) -> list[str]:
    """Frames of what searches saw."""
    found = (run for run in table.runs() if table.experiment.declared(run.method).needs_reward)
    return [frame_of(run, "trajectories") for run in found]


def training(table: Table) -> list[str]:
    """Folders of trainings."""
    each = (names for name in table.spec.sets for names in table.experiment.trainings(name))
    return [place(places.TRAINING, model=m, reward=r, training=name) for m, r, name in each]


def audits(table: Table) -> list[str]:
    """Frames of KL audits; a SpecError where no network moves noise."""
    experiment, reward = table.experiment, table.first.reward
    methods = experiment.moving_noise(table.first.methods)
    if not methods:
        fault = f"no method of image set {table.spec.sets[0]!r} trains a network that moves noise"
        raise SpecError(f"{experiment.file}: {fault}")
    return [
        place(places.AUDITS, model=model, reward=reward, method=network)
        for model in table.models
        for method in methods
        for network in experiment.networks(model, reward, method)
    ]


#: Kind of frame -> the files of a table.
FRAMES: Mapping[str, Callable[[Table], list[str]]] = {
    "scores": lambda table: _of_models(table, places.SCORES),
    "images": images,
    "timings": lambda table: _of_models(table, places.TIMINGS),
    "trajectories": trajectories,
    "pairs": lambda t: _of_models(t, places.PAIRS) if t.experiment.config.similarities else [],
    "distances": lambda t: _of_models(t, places.DISTANCES) if t.experiment.config.features else [],
    "training": training,
    "audits": audits,
}


def ranks(table: Table) -> dict[str, dict[str, int]]:
    """Model -> method -> LoRA rank of what is trained for it."""
    methods = [m for m in table.shown() if table.experiment.declared(m).trains]
    return {
        model: {
            method: int(options["rank"])
            for method in methods
            if "rank" in (options := table.options(model, method))
        }
        for model in table.models
    }


def columns(table: Table) -> list[dict[str, Any]]:
    """Columns of a grid: sets, within them models, noises, methods and steps."""
    return [
        {"model": model, "method": method, "steps": steps, "image_index": index}
        for chosen in table.sets
        for model in table.models_of(chosen)
        for index in range(table.spec.n_images)
        for method in table.spec.methods or chosen.methods
        for steps in chosen.steps or (table.experiment.steps(model),)
    ]


def recipes(table: Table) -> list[dict[str, Any]]:
    """How each network of the first set is trained: model, method and all training options but the
    seed, the number of its prompts where the config names it, image size and GPUs."""
    experiment, found = table.experiment, []
    for model, reward, training in experiment.trainings(table.spec.sets[0]):
        variant, kind = Variant.parse(training), experiment.declared(training).trains or ""
        given = {name: value for name, value in variant.arguments.items() if name != SEED}
        options = KINDS[kind].checked(experiment.options(model, reward, training)).model_dump()
        prompts = experiment.prompts(model, reward, training)["train"].arguments
        recipe = {
            **{name: value for name, value in options.items() if name != SEED},
            "model": model,
            "method": str(Variant(variant.name, given)),
            "n_prompts": prompts.get("n"),
            "image_size_px": experiment.registry.models[model].size_px,
            "gpus": experiment.config.processes,
        }
        found += [recipe] if recipe not in found else []
    return found


def settings(table: Table) -> dict[str, dict[str, dict[str, Any]]]:
    """Model -> trained method -> what tells it from the others: the training that it draws on and
    the checkpoint of it, None for the kept one; for noise networks reduction and temperature of the
    L2 term too."""
    return {m: {t: _setting(table, m, t) for t in table.trained()} for m in table.models}


def legend(table: Table) -> dict[str, str]:
    """Method -> its arguments in words, by model where models differ."""
    found = {}
    for name in table.first.methods:
        words = [table.experiment.in_words(name, m, table.first.reward) for m in table.models]
        own = [f"{model} {text}".strip() for model, text in zip(table.models, words, strict=True)]
        found[name] = words[0] if len(set(words)) == 1 else "; ".join(own)
    return found


def starts(table: Table) -> dict[str, str]:
    """Of a set's methods, those that start a search of the set warm -> that search."""
    methods = table.first.methods
    pairs = {method: table.experiment.search_of(method) for method in methods}
    return {warm: cold for warm, cold in pairs.items() if cold in methods}


def temperatures(table: Table) -> dict[str, dict[str, tuple[float, str]]]:
    """Model -> audited method -> (temperature, L2 reduction) of its training, if given."""
    return {
        model: {
            method: (options["temperature"], options.get("l2_reduction", "sum"))
            for method in table.methods()
            if "temperature" in (options := table.options(model, method))
        }
        for model in table.models
    }


def _setting(table: Table, model: str, method: str) -> dict[str, Any]:
    experiment, reward, sets = table.experiment, table.first.reward, table.spec.sets[0]
    if experiment.method(method).state == "matched":
        raise SpecError(
            f"{experiment.file}: {method!r} in image set {sets!r} is matched by its reward, so its "
            "steps are known only after training; name a checkpoint, as in "
            "'lora_finetune:checkpoint=40'"
        )
    training = experiment.training(model, reward, method)
    found = {"training": training, "checkpoint": experiment.parts(method).checkpoint}
    if experiment.declared(method).trains != "hypernoise":
        return found
    options = table.options(model, method)
    for name in ("l2_reduction", "temperature"):
        if name not in options:
            raise SpecError(
                f"{experiment.file}: config section 'training' gives {method!r} on {model} no "
                f"{name}, which tells it from the others of image set {sets!r}"
            )
    return {**found, **{name: options[name] for name in ("l2_reduction", "temperature")}}


def trials(table: Table) -> dict[str, dict[str, dict[str, Any]]]:
    """Model -> method of a trial -> its kind of network or search, setting and seed, and of a
    network the training that it draws on."""
    experiment = table.experiment
    found: dict[str, dict[str, dict[str, Any]]] = {}
    tried = tuning.trials(experiment.config, experiment.registry, experiment.file)
    for model in table.models:
        drawn = partial(experiment.training, model, table.first.reward)
        of = {t.method: {"training": drawn(t.method)} for t in tried if t.kind in KINDS}
        found[model] = {t.method: {**t._asdict(), **of.get(t.method, {})} for t in tried}
    return found


def configured(table: Table) -> dict[str, dict[str, dict[str, Any]]]:
    """Model -> kind of network or search -> what the config's own has of the options tried."""
    experiment = table.experiment
    found: dict[str, dict[str, dict[str, Any]]] = {}
    tried = tuning.trials(experiment.config, experiment.registry, experiment.file)
    for model in table.models:
        for trial in tried:
            method = Variant.parse(trial.method).name
            whole = experiment.setting(model, table.first.reward, method)
            found.setdefault(model, {})[trial.kind] = {name: whole[name] for name in trial.options}
    return found


def parameter(table: Table) -> str:
    """The argument in which the variants of a set differ, if it is one."""
    names = {name for text in table.first.methods for name in Variant.parse(text).arguments}
    return names.pop() if len(names) == 1 else ""


def values(table: Table) -> dict[str, Any]:
    """Method -> its value of the parameter."""
    name = parameter(table)
    return {text: Variant.parse(text).arguments.get(name) for text in table.first.methods}


def captions(table: Table) -> dict[str, str] | None:
    """Metric -> what it is called below images that no verdict of GenEval's frames."""
    own, judges = metric(table), table.experiment.config.judges
    said = {name: "judge" if len(judges) == 1 else name.replace("_", " ") for name in judges}
    own_too = {own: own.replace("_", " ")} if own else {}
    return None if own == FRAMED else {**own_too, TRAIN_METRIC: table.first.reward, **said}


def metric(table: Table) -> str | None:
    """The metric of the benchmark that tables show, if it has one."""
    return table.experiment.registry.benchmarks[table.first.benchmark].metric or None


def departures(table: Table) -> list[str] | None:
    """Where benchmarks and models of the sets are not those of the paper's numbers, in words."""
    config, registry = table.experiment.config, table.experiment.registry
    similar = config.similarities if "pairs" in table.parameters else {}
    shown = [(chosen.benchmark, table.models_of(chosen)) for chosen in table.sets]
    return departures_of(registry, shown, {m: c.arguments for m, c in similar.items()}) or None


def swapped_reward(table: Table) -> str:
    """The other reward of a set's controls; a SpecError where the set has none."""
    swapped = table.first.swapped
    if swapped is None:
        raise SpecError(
            f"{table.experiment.file}: image set {table.spec.sets[0]!r} has no 'swapped', which "
            f"{table.spec.name} needs"
        )
    return swapped.reward


#: Parameter of a table's function -> what it is given; None leaves it its default.
PROVIDERS: Mapping[str, Callable[[Table], Any]] = {
    "models": lambda table: table.models,
    "model": lambda table: table.models[0],
    "methods": Table.methods,
    "runs": Table.shown,
    "ranks": ranks,
    "columns": columns,
    "recipes": recipes,
    "settings": settings,
    "legend": legend,
    "starts": starts,
    "temperatures": temperatures,
    "parameter": parameter,
    "values": values,
    "captions": captions,
    "swapped_reward": swapped_reward,
    "departures": departures,
    "trials": trials,
    "configured": configured,
    "criterion": lambda table: getattr(table.experiment.config.tuning, "criterion", None),
    "reward": lambda table: table.first.reward,
    "judges": lambda table: list(table.experiment.config.judges),
    "metric": metric,
    "batch_size": lambda table: max(table.experiment.timing(table.spec.sets[0]).batch_sizes),
    "config": lambda table: table.experiment.config.model_dump(mode="json", exclude_unset=True),
}
