"""What a training's folders say of their networks, for those who use them outside of a run."""

from __future__ import annotations

from pathlib import Path

from harness.build.encodings import EncodedOnce
from harness.experiment.components import ModelSpec
from harness.experiment.jobs import TrainJob
from harness.experiment.publishers import known
from harness.results.training_folder import copy_network
from hypernoise.models.families import FAMILIES
from hypernoise.models.protocol import Generator, StartsAtTimestep
from hypernoise.networks.description import Description
from hypernoise.networks.diffusers_layout import write_for_diffusers
from hypernoise.training.kinds import kind_of
from hypernoise.weights.pins import REPOSITORY
from hypernoise.weights.saved_lora import name_base

#: Weights that come with this project, and under its licence.
_SHIPPED = ("hypernoise/shapeworld/weights/", "Apache-2.0")
#: Arguments of models that only a run has.
_OF_RUNS = ("device", "encodings", "lora", "mode", "vae_savings")


def describe(job: TrainJob, step: int, generator: Generator | None = None) -> Description:
    """What is to be said of a network that a job trained.

    Args:
        step: the optimizer step of its weights.
        generator: that it was trained on, which has its base's weights and says where its noise
            pass starts; without one, that is left out.

    Raises:
        ValueError: without a generator, a family of somebody else's is not known.
    """
    # Lazy import: adapters of a finished training are described without peft's layers.
    from hypernoise.networks import base_weights
    from hypernoise.networks.adapter import adaptable

    model, kind = job.model, str(job.method.trains)
    start, sample = None, {}
    if generator is not None:
        pipeline = type(generator.pipeline).__name__
        layers = adaptable(generator.backbone)[0]
        sample = base_weights.sample(generator.backbone, layers)
        # From Python 3.12 on a protocol does not see what an object takes from another one.
        own = generator.own if isinstance(generator, EncodedOnce) else generator
        start = float(own.first_timestep) if isinstance(own, StartsAtTimestep) else None
    else:
        pipeline = pipeline_of(model.target)
    return Description(
        kind=kind,
        moves_noise=kind_of(kind).moves_noise,
        base=model.weights,
        revision=model.revision,
        base_lora=str(model.arguments.get("lora", "")),
        base_licence=licence_of(model),
        pipeline=pipeline,
        model=model.name,
        arguments={k: v for k, v in model.arguments.items() if k not in _OF_RUNS},
        size_px=model.size_px,
        first_timestep=start,
        method=job.method.name,
        reward=job.reward.name,
        step=step,
        steps=int(job.options["steps"]),
        base_sample=sample,
    )


def pipeline_of(target: str) -> str:
    """The class of the stock pipeline of a family of this project.

    Raises:
        ValueError: the family is another's.
    """
    for pipeline, family in FAMILIES.items():
        if family.target == target:
            return pipeline
    raise ValueError(f"{target} is no family of this project: its pipeline is not known")


def licence_of(model: ModelSpec) -> str:
    """The licence of a model's weights as their publisher names it; empty where it is unknown."""
    if model.weights.startswith(_SHIPPED[0]):
        return _SHIPPED[1]
    return known(model.weights).licence if REPOSITORY.fullmatch(model.weights) else ""


def publish(source: Path, out: Path, told: Description, for_diffusers: bool = False) -> None:
    """Copy a trained network into a folder that says what it is.

    Args:
        for_diffusers: also write a fine-tuning's weights in diffusers' layout, where it has one.

    Raises:
        SpecError: a file is a link out of its folder.
    """
    copy_network(source, out)
    name_base(out, told.base, told.revision)
    told.write(out)
    if for_diffusers and not told.moves_noise:
        write_for_diffusers(out, told.pipeline)
