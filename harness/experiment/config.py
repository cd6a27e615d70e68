"""What a config file may say: one class per section, which checks, describes and documents it.

:mod:`harness.experiment.reference` makes the editor's schema and ``docs/config.md`` of these
classes. Names of components are not checked here, but against the registry
(:mod:`harness.experiment.checks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    create_model,
)
from pydantic.fields import FieldInfo

from harness.experiment.validation import checked
from harness.experiment.variants import Variant
from hypernoise.networks.audit_options import AuditOptions
from hypernoise.options import Count, Natural
from hypernoise.training.kinds import KINDS

#: The set of the config's own benchmark, models and methods.
MAIN = "main"
#: In layered sections: the layer that applies everywhere.
DEFAULT = "default"
#: The training option that a config's training seeds, and those of its trials, stand for.
SEED = "seed"


_Value = TypeVar("_Value", str, int)


def _numbers(given: Any) -> Any:
    """A list as it is, but whole numbers that Snakemake's ``--config key=[0,1]`` gives as texts."""
    if not isinstance(given, list):
        return given
    return tuple(int(n) if isinstance(n, str) and n.isdecimal() else n for n in given)


def _unique(names: tuple[_Value, ...]) -> tuple[_Value, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"names {name!r} twice")
    return names


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Names = Annotated[tuple[str, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
UniqueNames = Annotated[Names, AfterValidator(_unique)]
#: ``name`` or ``name:argument=value,...`` each.
Methods = Annotated[
    Names,
    AfterValidator(lambda methods: tuple(str(Variant.parse(text)) for text in methods)),
    AfterValidator(_unique),
]
#: Of names that may be missing, and of which one needs no brackets.
_ONE_OR_SEVERAL = (
    Field(json_schema_extra={"uniqueItems": True, "type": ["array", "string"]}),
    AfterValidator(_unique),
    BeforeValidator(lambda given: tuple(given) if isinstance(given, list) else given),
    BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
)
Arguments = dict[str, Any]
#: Names, divided by spaces where they vary together -> their values.
Grid = dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]]


class Section(BaseModel):
    """Keys of a config, each with its type, range and meaning."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


class Called(Section):
    """A target, called with arguments."""

    target: Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")]
    """``package.module:name``."""
    arguments: Arguments = {}
    """Its arguments."""


class Prompts(Section):
    """Prompts of trainings."""

    train: Called | None = None
    """What is trained on."""
    validation: Called | None = None
    """What progress is measured on, and checkpoints are chosen by."""


class SetTiming(Section):
    """How the methods of one image set are timed, where it differs from section ``timing``."""

    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    """Images made by one call; tables show the largest."""
    repeats: Annotated[int, Field(ge=3)] | None = None
    """Timings of a fast method; a slow one gets fewer, but six, or as many as are named here."""
    modes: tuple[Literal["eager", "compiled", "cuda_graphs"], ...] | None = None
    """How networks run; without it as they are declared."""
    untrained_rank: Count | None = None
    """LoRA rank of untrained networks, which are timed in place of trained ones: their calls cost
    the same."""
    peak_memory: bool | None = None
    """Measure what a call holds in memory, by one call more of each method."""
    operations: bool | None = None
    """Count the operations of a call, by one call more of each method."""


class Timing(SetTiming):
    """How methods are timed."""

    benchmark: str
    """Whose prompts are used."""
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Images made by one call; tables show the largest."""
    repeats: Annotated[int, Field(ge=3)]
    """Timings of a fast method; a slow one gets fewer, but six, or as many as are named here."""
    threads: Count
    """Torch's threads within an operator; the job has the machine to itself anyway."""


class Swapped(Section):
    """Controls: methods once more with another reward, and images against other prompts."""

    methods: Methods
    """Methods that are there a second time, with ``reward``."""
    reward: str
    """A reward that has nothing to do with what a prompt asks for."""
    prompts: Literal["within_task", "between_tasks"]
    """The prompt that images are scored against as well as their own: another one of the same task,
    or one of another task."""


class ImageSet(Section):
    """Images that are scored, timed and shown together. What is not given is the config's own."""

    benchmark: str = ""
    """Whose prompts images are made for."""
    models: UniqueNames = ()
    """Generators."""
    methods: Methods = ()
    """Methods, with arguments of their own where they differ, as in ``reno:learning_rate=0.3``."""
    steps: Annotated[tuple[Count, ...], AfterValidator(_unique)] = ()
    """Sampling steps; without them the model's own."""
    reward: str = ""
    """What methods are trained on or search, and what the metric ``train_reward`` is."""
    swapped: Swapped | None = None
    """What the images are controlled by."""
    timing: SetTiming | None = None
    """How its methods are timed, where that differs."""


class Audit(Section):
    """The KL terms that the training of noise networks drops, at several checkpoints."""

    prompts: Called
    """What networks are audited on."""
    n_images: Count
    """Noises per prompt."""
    checkpoints: Count
    """Checkpoints, evenly over the training; the kept one is audited too."""
    precision: Literal["float32", "float64"]
    """Precision of weights, noise and products with the Jacobian."""
    options: AuditOptions = AuditOptions()
    """How much work an audit takes."""


class Tuning(Section):
    """Target ``tuning``: as many validation trials for every kind of network and every search."""

    benchmark: str
    """Whose images trials are scored on, one of validation prompts."""
    models: UniqueNames = ()
    """Generators; without it the config's."""
    trials: Count
    """Settings that each kind of network, and each search, is tried with."""
    seeds: Annotated[tuple[Natural, ...], Field(min_length=1), AfterValidator(_unique)]
    """Training seeds of each setting; best none that results are reported of."""
    seed: Natural = 0
    """Seed of the draw of settings, where a grid has more of them than there are trials."""
    criterion: Literal["benchmark", "reward"]
    """What chooses a setting, of every kind: the benchmark's mean, or the validation reward of the
    kept checkpoint (of a search, of its images). Tables show what either would have chosen."""
    grids: Annotated[dict[str, Grid], Field(min_length=1)]
    """Kind of network -> training options and the values that are tried. Names divided by spaces
    vary together: ``rank alpha: [[8, 16], [32, 64]]``. Other options are those of ``training``."""
    searches: dict[str, Grid] = {}
    """Method that searches -> its arguments and the values that are tried, as in ``grids``. All
    settings of a search score equally many images. Other arguments are those of ``arguments``."""


class Pretrain(Section):
    """Target ``pretrain``: the embedded world's own weights, from nothing."""

    folder: str
    """Where they go; the shipped ones are in hypernoise/shapeworld/weights."""
    generators: UniqueNames
    """Models that are made."""
    matchers: UniqueNames
    """Rewards that are made from the generators' images."""
    judges: UniqueNames
    """Rewards that are made without them."""
    changes: dict[str, Arguments] = {}
    """Name -> fields of its recipe to change, for a try."""


def _optional(option: FieldInfo) -> FieldInfo:
    found = copy(option)
    found.default = None if option.is_required() else option.default
    return found


if TYPE_CHECKING:
    TrainingLayer: TypeAlias = Section
else:
    # The options of all kinds of networks, none of them required.
    TrainingLayer = create_model(
        "TrainingLayer",
        __base__=Section,
        __doc__="Training options.",
        **{
            name: (option.annotation, _optional(option))
            for kind in KINDS.values()
            for name, option in kind.options.model_fields.items()
        },
    )


def _has_default(layers: Mapping[str, Any]) -> Mapping[str, Any]:
    if DEFAULT not in layers:
        raise ValueError(f"lacks the layer {DEFAULT!r}")
    return layers


def _trains(layers: Mapping[str, BaseModel]) -> Mapping[str, BaseModel]:
    missing = {"steps", "checkpoint_every", "validate_every"} - layers[DEFAULT].model_fields_set
    if missing:
        raise ValueError(f"layer {DEFAULT!r} lacks {', '.join(map(repr, sorted(missing)))}")
    return layers


class Config(Section):
    """One experiment. Every key of a config, with its unit; a key that is not here is an error.

    A config may leave keys to another one, named by ``extends`` and in the same folder:
    ``extends: tiny.yaml``.
    """

    seed: Natural
    """Experiment seed; the noise of an image follows from it, its prompt and its index."""
    models: UniqueNames
    """Generators to compare, by the names in workflows/models."""
    methods: Methods
    """Methods to compare, by the names in workflows/methods, with arguments of their own where they
    differ."""
    reward: str
    """The reward that is trained on and searched, by its name in workflows/rewards."""
    judges: dict[Name, str]
    """Metric -> another reward than the one that methods see; best none of its parts. Tables show
    every judge, in this order."""
    benchmark: str
    """What images are made for, by its name in workflows/benchmarks."""
    tables: UniqueNames
    """Tables and figures of `rule all`, by the names in workflows/tables."""
    steps: dict[str, Count]
    """Model -> sampling steps, where they are not the model's own."""
    batch_size: Count
    """Images that are generated together."""
    training: Annotated[
        dict[str, TrainingLayer],
        AfterValidator(_has_default),
        AfterValidator(_trains),
    ]
    """Training options in layers. A layer's name is "default" or names of models, rewards, methods
    and kinds of networks, divided by spaces; it applies where all of them do. The more names and
    arguments of methods, the stronger; of two with as many, the later."""
    training_seeds: Annotated[
        tuple[Natural, ...],
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_unique),
        AfterValidator(lambda seeds: tuple(sorted(seeds))),
        BeforeValidator(_numbers),
    ] = ()
    """Seeds that every trained method of every image set is trained with, a network each; without
    the key there is one network, of the training option ``seed``. Tables show means over networks,
    and intervals contain what differs between them; fine-tuning is matched seed by seed. Figures of
    images and timings are of the smallest seed's network. A method that names its own ``seed`` is
    that one network."""
    validation_images: Count
    """Images per validation prompt that are made to measure progress during training."""
    prompts: Annotated[dict[str, Prompts], AfterValidator(_has_default)]
    """Prompts of trainings, in layers as for ``training``."""
    arguments: dict[str, Arguments]
    """Arguments of methods, in layers as for ``training``; each layer's name holds one method. They
    go before those in workflows/methods."""
    timing: Timing
    """How methods are timed."""
    image_sets: dict[Name, ImageSet] = {}
    """Images of their own that tables and figures are made of (workflows/tables says which). Each
    set is also a target of its name, with a table of its scores."""
    similarities: dict[
        Annotated[str, StringConstraints(pattern="_(distance|similarity)$")], Called
    ] = {}
    """Metric -> what compares two images of a prompt; the metric's name ends in _distance (higher
    is more diverse) or _similarity (lower is more diverse)."""
    features: dict[Name, Called] = {}
    """Name -> feature network in which distances of sets of images are measured."""
    reference_images: str = ""
    """Folder of images that every method's are compared with, beside the base's own of other noise;
    relative to the working directory."""
    tuning: Tuning | None = None
    """Target ``tuning``: as many validation trials for every kind of network and every search."""
    audit: Audit
    """Target ``audit``: the KL terms that the training of noise networks drops."""
    pretrain: Pretrain
    """Target ``pretrain``: the embedded world's own weights, from nothing."""
    components: Annotated[tuple[str, ...], *_ONE_OR_SEVERAL] = ()
    """Folders of your own components beside workflows, relative to the working directory, as one
    text or a list; ``--config components=FOLDER`` says the same. Python files there run: name only
    folders that you trust."""
    trackers: Annotated[
        tuple[Literal["tensorboard", "wandb", "trackio"], ...], *_ONE_OR_SEVERAL
    ] = ()
    """Where trainings can be watched, as one text or a list: ``tensorboard`` (into
    results/tensorboard), ``wandb``, ``trackio``, whose packages have to be installed. They change
    nothing: rows are in results/training as ever, and nothing is trained again."""
    rehearsal: bool = False
    """Weights are stand-ins (`python -m harness rehearse`): tables and figures say so, and show no
    published number."""
    shards: Literal["auto"] | Count = 1
    """Shards that making a method's images is cut into, at most one for each batch; "auto" is as
    many as keep each under two hours by the paper's seconds. Results are those of the whole."""
    processes: Count
    """Processes that train one network together, each with ``gpus`` GPUs; they share every batch,
    and their number changes results by rounding only."""
    gpus: Literal["auto"] | Natural
    """GPUs that one job asks for; "auto" is 1 where nvidia-smi is found, else 0. How many of them
    the jobs of this machine share is the limit ``--resources local_gpu=N``."""


def read(
    config: Mapping[str, Any], file: str, sources: Mapping[str, str] = MappingProxyType({})
) -> Config:
    """A config, checked.

    Args:
        file: is blamed for keys that ``sources`` does not have.
        sources: key -> what gave it.

    Raises:
        SpecError: names the file, the key, and what would be valid; one line per fault.
    """
    return checked(dict(config), Config, "config", file, sources)
