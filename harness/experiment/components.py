"""What models, rewards, methods, benchmarks and tables are declared with.

Snakemake imports this on every call, so nothing heavy is imported here. Keywords that a declaration
does not know are arguments of its target, and are checked against the target's source at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic.dataclasses import dataclass

from harness.base.errors import SpecError, prefix, unknown
from harness.base.signatures import check_call
from harness.experiment.identity import Place
from harness.experiment.validation import STRICT, Count, checked
from hypernoise.identity import SCORES_ONLY
from hypernoise.training.kinds import KINDS
from hypernoise.weights.pins import AT_COMMIT, COMMIT, REPOSITORY

Arguments = Mapping[str, Any]
#: What a method can have trained before it runs: the registry's kinds, which mypy cannot read.
if TYPE_CHECKING:
    Trainable = str
else:
    Trainable = Literal[tuple(KINDS)]
#: Arguments of a reward that name files, in the forms of :mod:`hypernoise.weights.pinned_files`.
WEIGHT_ARGUMENTS = ("weights", "vocabulary", "head", "wording")
#: In place of weights: the declared architecture with random ones.
RANDOM_WEIGHTS = "random"
# No row of any frame can be taken for the real model's.
_RANDOM_ENDING = "_random"


@dataclass(frozen=True, config=STRICT)
class Component:
    """What every declaration says.

    Attributes:
        name: its name in config, tables and paths.
        target: ``"package.module:Class"``, or a function of a table.
        version: raise it when a change of code changes numbers.
        arguments: further arguments of the target; a ``dtype`` is given by name.
        file: the .smk file that declares it, for messages.
    """

    name: str
    target: Place
    version: Count
    arguments: Arguments = field(default_factory=dict)
    file: Place = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelSpec(Component):
    """A generator: ``target(weights=..., size_px=..., **arguments)`` is a Generator.

    Attributes:
        weights: diffusers folder, hub repository (with ``revision``), or ``"random"`` (with
            ``architecture``).
        revision: commit of the hub repository; passed on only where given.
        architecture: what to build where weights are random; passed on only there. A model that has
            one gets a twin with random weights, ``<name>_random``.
        encodings: folder that keeps the encodings of prompts (:mod:`harness.build.encodings`), for
            models whose text encoders are large; without one, nothing is kept.
        size_px: width and height of an image.
        steps: sampling steps unless the config says otherwise.
    """

    weights: str
    size_px: Count
    revision: str = ""
    steps: Count = 1
    architecture: str = ""
    encodings: Place = ""

    @property
    def is_random(self) -> bool:
        return self.weights == RANDOM_WEIGHTS

    @property
    def is_local(self) -> bool:
        return not self.is_random and not self.revision


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardSpec(Component):
    """A reward: ``target(**arguments)`` is a Reward.

    Attributes:
        weights_of: the parts of a sum: name of another reward -> its weight. The target then
            gets ``parts``, pairs of a weight and a Reward.
        parts: the parts' own declarations, which :meth:`Registry.reward` fills in.
    """

    weights_of: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, RewardSpec] = field(default_factory=dict)

    @property
    def is_random(self) -> bool:
        """Whether it, or a part of it, costs what the real one costs and judges nothing."""
        own = self.arguments.get("weights") == RANDOM_WEIGHTS
        return own or any(part.is_random for part in self.parts.values())

    def singles(self) -> list[RewardSpec]:
        """This reward, or of a sum all rewards that it is made of, each once."""
        found = [single for part in self.parts.values() for single in part.singles()]
        return list({single.name: single for single in found or [self]}.values())


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MethodSpec(Component):
    """A way of spending compute: ``target(**arguments)`` is a Method.

    Attributes:
        trains: what is trained for it first; the trained network is then the target's first
            argument.
        state: which state of the training it uses: the last one, or the one whose validation reward
            matches hypernoise's.
        checkpoint: instead of a state the optimizer step whose checkpoint it uses.
        needs_reward: whether it asks the reward while it generates.
        search: name of the method that goes on from what this one's network makes; built, it is
            the target's argument ``search``.
        searcher: that method, with the config's arguments; a declaration leaves it out.
        training_seed: the seed that its network is trained with; a declaration leaves it out.
    """

    trains: Trainable | None = None
    state: Literal["final", "matched"] = "final"
    checkpoint: Count | None = None
    needs_reward: bool = False
    search: str = ""
    searcher: MethodSpec | None = None
    training_seed: int | None = None
    file: Place = ""


@dataclass(frozen=True, config=STRICT)
class PromptsSpec:
    """Prompts: ``target(**arguments)`` is a sequence of them.

    Each has ``prompt_id``, ``text`` and ``task``.
    """

    target: str
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class SimilaritySpec:
    """``target(**arguments)`` is a :class:`harness.similarity.protocol.Comparison`."""

    target: str
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BenchmarkSpec(Component):
    """``target(**arguments)`` is a :class:`harness.benchmarks.protocol.Benchmark`.

    Attributes:
        metric: which of the benchmark's metrics tables show; empty where rewards are all that is
            measured.
        n_images: images per prompt.
    """

    metric: Annotated[str, SCORES_ONLY] = ""
    n_images: Count = 4

    @property
    def prompts(self) -> PromptsSpec:
        """Its prompts, for whoever needs no more of it."""
        return PromptsSpec(
            "harness.benchmarks.build:prompts_of", {"benchmark": self.target, **self.arguments}
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TableSpec(Component):
    """A table, figure or page: ``target`` makes it of frames, with ``arguments``.

    The target says by the names of its parameters which frames it needs and what else
    (:mod:`harness.experiment.providers`).

    Attributes:
        sets: names of the config's image sets that it is made of.
        makes: what the target returns.
        label: what the report calls it; without one the report does not show it.
        category: heading in the report, if it is not the common one of tables or figures.
        caption: name of the report's text about it; its own name without one.
        group: target that makes it together with others.
        frames: kinds of frames that it reads though its target has no parameter for them.
        methods: methods that it shows; those of its first set without any.
        place: shows the config's n-th model only, from 1.
        n_images: images of each prompt in a grid.
        trains: shows only the base and methods that use the end of a training of this kind.
        per_model: there is one for every model, under its name and the model's.
    """

    sets: tuple[str, ...] = ("main",)
    makes: Literal["table", "figure", "gallery", "page"] = "table"
    label: str = ""
    category: str = ""
    caption: str = ""
    group: str = ""
    frames: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    place: Count | None = None
    n_images: Count = 1
    trains: str = ""
    per_model: bool = False

    @property
    def stem(self) -> str:
        """Where its files go, without suffix; with a field for the model if ``per_model``."""
        folder = {"figure": "figures", "gallery": "gallery"}.get(self.makes, "tables")
        name = "index" if self.makes == "gallery" else self.name
        return f"results/{folder}/{name}" + ("_{model}" if self.per_model else "")


Spec = TypeVar("Spec", ModelSpec, RewardSpec, MethodSpec, BenchmarkSpec, TableSpec)


class Registry:
    """The declared components; the ``.smk`` files fill it through its ``add_`` functions.

    Every ``add_`` function raises SpecError, naming the file and the nearest valid word, for a
    duplicate name, a target that does not exist, or a keyword that neither the declaration nor
    the target knows. Read the dictionaries with :meth:`find` where the name comes from a user.
    """

    def __init__(self) -> None:
        self.models: dict[str, ModelSpec] = {}
        self.rewards: dict[str, RewardSpec] = {}
        self.methods: dict[str, MethodSpec] = {}
        self.benchmarks: dict[str, BenchmarkSpec] = {}
        self.tables: dict[str, TableSpec] = {}

    def add_model(self, name: str, *, file: str = "", **given: Any) -> ModelSpec:
        """Declare a generator; see :class:`ModelSpec`."""
        passed = {key for key in ("weights", "size_px", "revision", "architecture") if key in given}
        spec = _declared(ModelSpec, name, file, given, passed)
        _check_model_weights(spec)
        _add(self.models, spec)
        if spec.architecture and not spec.is_random:
            twin = name + _RANDOM_ENDING
            _add(self.models, replace(spec, name=twin, weights=RANDOM_WEIGHTS, revision=""))
        return spec

    def add_reward(
        self, name: str, *, file: str = "", parts: Mapping[str, float] | None = None, **given: Any
    ) -> RewardSpec:
        """Declare a reward; see :class:`RewardSpec`.

        Args:
            parts: of a sum of other rewards: name -> weight. They may be declared later;
                :meth:`check_rewards` looks for them.
        """
        if parts is not None:
            if not (isinstance(parts, Mapping) and parts):
                raise SpecError(f"{prefix(file)}reward {name!r} is a sum of no parts: {parts!r}")
            for part, weight in parts.items():
                if type(weight) not in (int, float) or not math.isfinite(weight):
                    raise SpecError(
                        f"{prefix(file)}weight of part {part!r} in reward {name!r} is {weight!r}, "
                        "must be a finite number"
                    )
            given["weights_of"] = parts
        spec = _declared(RewardSpec, name, file, given, set() if parts is None else {"parts"})
        if spec.is_random:
            _check_random_name(name, file)
        return _add(self.rewards, spec)

    def reward(self, name: str) -> RewardSpec:
        """A reward by its name, with the declarations of its parts.

        Raises:
            SpecError: it or a part is unknown, or it is a part of itself.
        """
        return self._with_parts(self.find(self.rewards, "reward", name))

    def check_rewards(self) -> None:
        """Check that the parts of every sum exist; raises as :meth:`reward`."""
        for name in self.rewards:
            self.reward(name)

    def _with_parts(self, spec: RewardSpec, above: tuple[str, ...] = ()) -> RewardSpec:
        if spec.name in above:
            chain = " -> ".join([*above, spec.name])
            raise SpecError(f"{prefix(spec.file)}a reward cannot be a part of itself: {chain}")
        parts = {}
        for name in spec.weights_of:
            part = self.find(self.rewards, f"part of reward {spec.name!r}:", name, spec.file)
            parts[name] = self._with_parts(part, (*above, spec.name))
        if any(part.is_random for part in parts.values()):
            _check_random_name(spec.name, spec.file)
        return replace(spec, parts=parts)

    def add_method(self, name: str, *, file: str = "", **given: Any) -> MethodSpec:
        """Declare a method; see :class:`MethodSpec`. Weights may be ``owner/name@COMMIT``."""
        at = AT_COMMIT.fullmatch(str(given.get("weights")))
        given |= at.groupdict() if at else {}
        own = {"search"} & given.keys()
        return _add(self.methods, _declared(MethodSpec, name, file, given, own))

    def add_benchmark(self, name: str, *, file: str = "", **given: Any) -> BenchmarkSpec:
        """Declare a benchmark; see :class:`BenchmarkSpec`."""
        return _add(self.benchmarks, _declared(BenchmarkSpec, name, file, given))

    def add_table(self, name: str, *, file: str = "", **given: Any) -> TableSpec:
        """Declare a table or figure; see :class:`TableSpec`."""
        return _add(self.tables, _declared(TableSpec, name, file, given))

    @staticmethod
    def find(specs: Mapping[str, Spec], what: str, name: str, file: str = "") -> Spec:
        """The component of that name, e.g. ``find(registry.models, "model", "tiny_sd")``.

        Raises:
            SpecError: there is none; names ``file`` (the config) and the nearest valid name.
        """
        if name not in specs:
            raise unknown(what, name, specs, file)
        return specs[name]


def _declared(
    kind: type[Spec], name: str, file: str, given: Arguments, passed: Collection[str] = ()
) -> Spec:
    """A component; keywords that are no fields of its kind are arguments of its target.

    Args:
        passed: fields that its target is called with too.
    """
    what = f"{_word(kind)} {name!r}"
    filled_in = {"name", "file", "arguments", "searcher", "training_seed"}
    filled_in |= {"parts"} if kind is RewardSpec else set()
    own = {entry.name for entry in fields(kind)} - filled_in
    arguments = {key: value for key, value in given.items() if key not in own}
    made = {key: value for key, value in given.items() if key in own}
    try:
        json.dumps(dict(given), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{prefix(file)}arguments of {what} must be JSON: {error}") from error
    if "target" in made:
        called = {name: made.get(name, ()) for name in passed} | arguments
        check_call(made["target"], called, file=file, valid=own)
    return checked({**made, "name": name, "file": file, "arguments": arguments}, kind, what, file)


def _word(kind: type[Any]) -> str:
    """What messages call a kind of component: ``model``."""
    return kind.__name__.removesuffix("Spec").lower()


def _add(specs: dict[str, Spec], spec: Spec) -> Spec:
    what = _word(type(spec))
    # Names become folders, and Snakemake wildcards that a slash or dot would break.
    if not spec.name.isidentifier():
        raise SpecError(
            f"{prefix(spec.file)}{what} name {spec.name!r} must be letters, digits and underscores"
        )
    if spec.name in specs:
        first = specs[spec.name].file or "another file"
        raise SpecError(f"{prefix(spec.file)}{what} {spec.name!r} is already declared in {first}")
    specs[spec.name] = spec
    return spec


def _check_model_weights(spec: ModelSpec) -> None:
    """Refuse weights that could be others tomorrow, and random ones that do not say so."""
    start = f"{prefix(spec.file)}weights of model {spec.name!r}:"
    if spec.is_random:
        if not spec.name.endswith(_RANDOM_ENDING) or not spec.architecture:
            raise SpecError(
                f"{start} random ones need a model name that ends in {_RANDOM_ENDING!r} and an "
                "architecture"
            )
    elif spec.revision:
        if not COMMIT.fullmatch(spec.revision):
            raise SpecError(
                f"{start} revision {spec.revision!r} is no commit: give its 40 hexadecimal digits, "
                "because branches and tags move"
            )
    elif REPOSITORY.fullmatch(spec.weights) and not Path(spec.weights).is_dir():
        raise SpecError(
            f"{start} there is no folder {spec.weights}. For the hub's repository of that name, "
            "declare the revision too, the 40 hexadecimal digits of a commit; for a folder that is "
            f"made later, write './{spec.weights}'"
        )


def _check_random_name(reward: str, file: str) -> None:
    if not reward.endswith(_RANDOM_ENDING):
        fault = f"random ones need a reward name that ends in {_RANDOM_ENDING!r}"
        raise SpecError(f"{prefix(file)}weights of reward {reward!r}: {fault}")
