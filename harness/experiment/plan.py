"""What a config asks for: which images, made by which methods, with which options.

Snakemake builds one :class:`Experiment` on every call, so nothing heavy is imported here. It knows
no paths: :mod:`harness.experiment.workflow` says where results go, and makes jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from harness.base.errors import SpecError, unknown
from harness.base.signatures import signature_of
from harness.experiment import tuning
from harness.experiment.components import (
    MethodSpec,
    PromptsSpec,
    Registry,
    RewardSpec,
    TableSpec,
)
from harness.experiment.config import MAIN, SEED, Called, Config, ImageSet, Timing
from harness.experiment.identity import speed_arguments
from harness.experiment.layers import Given, layered
from harness.experiment.methods import (
    Parts,
    declared_method,
    parts,
    search_of,
    with_checkpoint,
)
from harness.experiment.variants import Variant
from hypernoise.training.kinds import KINDS

#: Stands for the reward in the paths of methods that use none.
NO_REWARD = "none"
#: The base with other noise than any method starts from: what images are compared with.
REFERENCE = "base:draw=1"
#: Metric of the reward that methods are trained on or search.
TRAIN_METRIC = "train_reward"
#: The metric of a benchmark whose verdict a frame around an image shows.
FRAMED = "geneval_correct"
#: Instead of a layer, where explanations say what gives a value.
OWN = "the method's own arguments"


class Run(NamedTuple):
    """What identifies the images that one job generates; the method is a variant's text."""

    benchmark: str
    model: str
    method: str
    reward: str
    steps: int


@dataclass(frozen=True)
class Experiment:
    """A config and the components that it draws on.

    Attributes:
        registry: every declared component.
        file: the config file(s), for messages.
    """

    config: Config
    registry: Registry
    file: str

    def declared(self, method: str) -> MethodSpec:
        """The declaration of a variant's method."""
        return declared_method(self.registry, method, self.file)

    def parts(self, method: str) -> Parts:
        """A variant's arguments, told apart (:func:`harness.experiment.methods.parts`)."""
        return parts(self.registry, method, self.file)

    def search_of(self, method: str) -> str:
        """The search that goes on from a method's noise, as a variant; empty if none does."""
        return search_of(self.registry, method, self.file)

    def method(self, method: str, model: str = "", reward: str = "") -> MethodSpec:
        """A method with its arguments for a model and a reward; its text is its name."""
        spec = self.declared(method)
        arguments = {name: given.value for name, given in self.arguments(method, model, reward)}
        search = self.search_of(method)
        searcher = self.method(search, model, reward) if search else None
        changed = with_checkpoint(self.parts(method).checkpoint)
        changed["training_seed"] = self.training_seed(model, reward, method)
        name = self.shown_as(method)
        return replace(spec, name=name, arguments=arguments, searcher=searcher, **changed)

    def training_seed(self, model: str, reward: str, method: str) -> int | None:
        """The seed that a method's network is trained with; None if it trains nothing."""
        kind = self.declared(method).trains
        if kind is None:
            return None
        default = KINDS[kind].options.model_fields[SEED].default
        return int(self.options(model, reward, method).get(SEED, default))

    def with_seed(self, model: str, reward: str, method: str, seed: int) -> str:
        """A trained method with another seed; its own text where it has that seed anyway."""
        variant = Variant.parse(method)
        if self.training_seed(model, reward, method) == seed:
            return str(variant)
        return str(Variant(variant.name, {**variant.arguments, SEED: seed}))

    def networks(self, model: str, reward: str, method: str) -> list[str]:
        """What stands for a method: itself, or of a trained one a variant for each of the config's
        training seeds, unless it names its own."""
        seeds = self.config.training_seeds
        if not seeds or not self.declared(method).trains or SEED in self.parts(method).options:
            return [str(Variant.parse(method))]
        return [self.with_seed(model, reward, method, seed) for seed in seeds]

    def shown_as(self, method: str) -> str:
        """What frames and tables call a method: the networks of the config's training seeds have
        one name."""
        variant, own = Variant.parse(method), self.parts(method).options
        if own.get(SEED) not in self.config.training_seeds:
            return str(variant)
        kept = {name: value for name, value in variant.arguments.items() if name != SEED}
        return str(Variant(variant.name, kept))

    def arguments(self, method: str, model: str, reward: str) -> Iterator[tuple[str, Given]]:
        """A method's arguments, and what gives each."""
        spec, variant = self.declared(method), Variant.parse(method)
        found = {name: Given(value, spec.file) for name, value in spec.arguments.items()}
        found |= layered(self.config.arguments, {variant.name, model, reward}, variant)
        own = self.parts(method).arguments
        yield from (found | {name: Given(value, OWN) for name, value in own.items()}).items()

    def given_options(self, model: str, reward: str, method: str) -> dict[str, Given]:
        """The training options that a method is given, and what gives each."""
        kind, variant = self.declared(method).trains, Variant.parse(method)
        if kind is None:
            return {}
        names = {model, reward, variant.name, kind}
        own = {name: Given(value, OWN) for name, value in self.parts(method).options.items()}
        return KINDS[kind].known(layered(self._training, names, variant)) | own

    @cached_property
    def _training(self) -> dict[str, dict[str, Any]]:
        layers = self.config.training.items()
        return {key: layer.model_dump(exclude_unset=True) for key, layer in layers}

    def options(self, model: str, reward: str, method: str) -> dict[str, Any]:
        """The training options that a method is given; others have defaults."""
        given = self.given_options(model, reward, method)
        return {name: value for name, (value, _) in given.items()}

    def setting(self, model: str, reward: str, method: str) -> dict[str, Any]:
        """What a method's training has of all options, or a search of all arguments."""
        spec = self.method(method, model, reward)
        if spec.trains:
            return KINDS[spec.trains].checked(self.options(model, reward, method)).model_dump()
        signature = signature_of(spec.target, spec.file)
        known = signature.parameters.items() if signature else ()
        return {name: one.constant for name, one in known} | dict(spec.arguments)

    def prompts(self, model: str, reward: str, method: str) -> dict[str, PromptsSpec]:
        """The prompts ``train`` and ``validation`` of a method's training."""
        variant, kind = Variant.parse(method), self.declared(method).trains or ""
        layers = {
            key: {name: called for name, called in layer if called is not None}
            for key, layer in self.config.prompts.items()
        }
        found = layered(layers, {model, reward, variant.name, kind}, variant)
        return {name: prompts_of(given.value) for name, given in found.items()}

    def training(self, model: str, reward: str, method: str) -> str:
        """The method under whose name a method's network is trained: the first that trains alike.

        Methods that share kind and options differ in what they do with the network only, so it is
        trained once.
        """
        kind, options = self.declared(method).trains, self.options(model, reward, method)
        own = self.parts(method).options
        alike = [name for name, spec in self.registry.methods.items() if spec.trains == kind]
        # A seed alone is the shorter name.
        seeded = {name: value for name, value in own.items() if name == SEED}
        named = [str(Variant(name, given)) for given in ({}, seeded, own) for name in alike]
        return next(name for name in named if self.options(model, reward, name) == options)

    def noise_training(self, model: str, reward: str, seed: int) -> str:
        """The training that "matched" methods of a training seed are matched to."""
        trained = (name for name, m in self.registry.methods.items() if m.trains == "hypernoise")
        return self.training(model, reward, self.with_seed(model, reward, next(trained), seed))

    def trainings(self, name: str = MAIN) -> list[tuple[str, str, str]]:
        """(model, reward, training) of everything that the methods of a set need."""
        chosen = self.image_set(name)
        wanted = [
            (model, chosen.reward, self.training(model, chosen.reward, network))
            for model in chosen.models
            for method in chosen.methods
            if self.declared(method).trains
            for network in self.networks(model, chosen.reward, method)
        ]
        return list(dict.fromkeys(wanted))

    def check_checkpoint(self, run: Run) -> None:
        """Check that a run's training makes the checkpoint that its method uses, if it names one.

        For the images that are asked for alone: a shorter training is no fault of the others.

        Raises:
            SpecError: it does not.
        """
        step = self.parts(run.method).checkpoint
        if step is None:
            return
        options = self.options(run.model, run.reward, run.method)
        every, end = options["checkpoint_every"], options["steps"]
        if step > end or (step % every and step != end):
            raise SpecError(
                f"{self.file}: {run.method} uses step {step} of a training that on {run.model} "
                f"has a checkpoint every {every} steps, up to step {end}"
            )

    def steps(self, model: str) -> int:
        """A model's sampling steps."""
        return self.config.steps.get(model, self.registry.models[model].steps)

    def uses_reward(self, method: str) -> bool:
        """Whether a method asks a reward while it generates, or was trained on one."""
        spec = self.declared(method)
        return spec.needs_reward or spec.trains is not None

    @cached_property
    def image_sets(self) -> dict[str, ImageSet]:
        """Name -> set of images with everything that it does not give itself; the first is
        :data:`harness.experiment.config.MAIN`."""
        config = self.config
        own = {name: getattr(config, name) for name in ("benchmark", "models", "methods", "reward")}
        filled = {}
        trials = tuning.image_sets(config, self.registry, self.file)
        for name, given in {MAIN: ImageSet(), **config.image_sets, **trials}.items():
            lacking = {key: value for key, value in own.items() if not getattr(given, key)}
            filled[name] = given.model_copy(update=lacking)
        return filled

    def image_set(self, name: str, wanted_by: str = "") -> ImageSet:
        """A set of images.

        Raises:
            SpecError: the config has none of that name; says what wants it.
        """
        if name not in self.image_sets:
            what = f"image set that {wanted_by} needs:" if wanted_by else "image set"
            raise unknown(what, name, self.image_sets, self.file)
        return self.image_sets[name]

    def runs(self, name: str, model: str) -> list[Run]:
        """The images of a set that one model makes."""
        chosen = self.image_set(name)
        asked = [(method, chosen.reward) for method in chosen.methods]
        if chosen.swapped:
            asked += [(method, chosen.swapped.reward) for method in chosen.swapped.methods]
        return [
            Run(chosen.benchmark, model, m, reward if self.uses_reward(m) else NO_REWARD, steps)
            for method, reward in asked
            for m in self.networks(model, reward, method)
            for steps in chosen.steps or (self.steps(model),)
        ]

    def reference_runs(self, name: str, model: str) -> list[Run]:
        """The images of a set that others are compared with: the base's own, of other noise."""
        chosen = self.image_set(name)
        of = (chosen.benchmark, model, REFERENCE, NO_REWARD)
        return [Run(*of, steps) for steps in chosen.steps or (self.steps(model),)]

    def timing(self, name: str) -> Timing:
        """How the methods of a set are timed."""
        own = self.image_set(name).timing
        changes = {k: v for k, v in own or () if v is not None}
        return self.config.timing.model_copy(update=changes)

    def metrics(self, name: str = MAIN) -> dict[str, str]:
        """Metric -> reward: the config's judges, and the reward of a set as ``train_reward``; of a
        set with a swapped reward that one too, under its own name."""
        chosen = self.image_set(name)
        swapped = {chosen.swapped.reward: chosen.swapped.reward} if chosen.swapped else {}
        return {**self.config.judges, TRAIN_METRIC: chosen.reward, **swapped}

    def judges(self, reward: str) -> dict[str, RewardSpec]:
        """What training on a reward is watched by as well as by that reward."""
        named = sorted(self.metrics().items())
        return {metric: self.registry.reward(name) for metric, name in named if name != reward}

    @cached_property
    def tables(self) -> dict[str, TableSpec]:
        """The declared tables; what shows trials of networks shows those of searches, too."""
        found = dict(self.registry.tables)
        if tuning.SEARCHES in self.image_sets:
            of_trials = (table for table in found.values() if tuning.TUNING in table.sets)
            more = {t.name: replace(t, sets=(*t.sets, tuning.SEARCHES)) for t in of_trials}
            found |= more
        return found

    def asked(self) -> list[TableSpec]:
        """The tables that the config names, alone or by their group, in its order."""
        tables = self.tables.values()
        named = ((t for t in tables if name in (t.name, t.group)) for name in self.config.tables)
        return list({table.name: table for those in named for table in those}.values())

    def each_of(self, table: TableSpec) -> Sequence[str]:
        """The models that there is one each of a table for; one empty name if it is of all."""
        return self.config.models if table.per_model else ("",)

    def needed(self, names: Iterable[str]) -> set[str]:
        """Names of the components that some sets need, parts of rewards among them."""
        found = {self.config.timing.benchmark}
        for name in names:
            chosen = self.image_set(name)
            runs = (run.method for model in chosen.models for run in self.runs(name, model))
            methods = [self.declared(method) for method in dict.fromkeys(runs)]
            found |= {m.name for m in methods} | {m.search for m in methods if m.search}
            found |= {chosen.benchmark, *chosen.models}
            rewards = [self.registry.reward(reward) for reward in self.metrics(name).values()]
            found |= {single.name for reward in rewards for single in (reward, *reward.singles())}
        return found

    def uses_end(self, method: str) -> bool:
        """Whether a trained method uses what its training ends with."""
        return self.declared(method).state == "final" and self.parts(method).checkpoint is None

    def moving_noise(self, methods: Iterable[str]) -> list[str]:
        """Of some methods those that train a network which moves noise."""
        kinds = {text: self.declared(text).trains for text in methods}
        return [text for text, kind in kinds.items() if kind and KINDS[kind].moves_noise]

    def in_words(self, method: str, model: str, reward: str) -> str:
        """What an author would say of a method's settings; how it is computed is left out."""
        spec = self.method(method, model, reward)
        if spec.searcher is not None:
            return f"then {spec.searcher.name}"
        fast = speed_arguments(spec.target)
        given = {k: v for k, v in spec.arguments.items() if k not in fast}
        return ", ".join(f"{name} {value}" for name, value in given.items())

    def shown(self, names: Sequence[str], model: str) -> dict[str, list[int]]:
        """Method -> its sampling steps, in all images of a model in some sets."""
        found: dict[str, set[int]] = {}
        for run in (run for name in names for run in self.runs(name, model)):
            found.setdefault(self.shown_as(run.method), set()).add(run.steps)
        return {method: sorted(steps) for method, steps in found.items()}


def prompts_of(called: Called | Mapping[str, Any]) -> PromptsSpec:
    """Prompts as jobs carry them."""
    given = called.model_dump() if isinstance(called, Called) else called
    return PromptsSpec(**given)
