"""Generators: checked without being loaded, and loaded.

What only generators need is imported where they are built: diffusers and transformers take
seconds, and scoring jobs do without them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness.base.errors import each, retold
from harness.base.import_strings import resolve
from harness.build.devices import GIB, default_device, dtype_of, free_memory_bytes
from harness.build.targets import call_target, check_target
from harness.experiment.components import ModelSpec
from hypernoise.models.protocol import ChecksSources, Generator
from hypernoise.weights.pinned_files import PinnedFile, check_safetensors_file
from hypernoise.weights.pins import located
from hypernoise.weights.pipelines import check_pipeline


def check_generator(spec: ModelSpec) -> None:
    """Find a wrong declaration, or weights that cannot be had or used, before anything is loaded.

    Raises:
        SpecError: the target does not take an argument, or a dtype is unknown.
        FileNotFoundError: a folder or file is missing.
        ValueError: a file is truncated or pickled, the hub does not give the revision, the
            architecture is unknown, or the device has too little memory for the weights.
    """
    check_target(spec.target, _arguments(spec), spec.file, does=("encode", "sample"))
    checks: list[Callable[[], object]] = []
    if spec.architecture:
        checks.append(partial(check_memory, spec, default_device()))
    if not spec.is_random:
        family = resolve(spec.target)
        # One that is put together from several repositories replaces what its folder lacks.
        pipeline_class = getattr(family, "pipeline_class", None)
        pipeline_class = None if isinstance(family, ChecksSources) else pipeline_class
        variant = str(spec.arguments.get("variant", ""))
        place = (spec.weights, spec.revision, variant, pipeline_class)
        checks.append(partial(check_pipeline, *place))
        if lora := str(spec.arguments.get("lora", "")):
            checks.append(partial(check_lora, lora, spec))
        # A family that is put together from several repositories knows which.
        if isinstance(family, ChecksSources):
            checks.append(partial(family.check_sources, **spec.arguments))

    def blamed(check: Callable[[], object]) -> None:
        try:
            check()
        except (FileNotFoundError, ValueError) as error:
            raise retold(error, f"weights of model {spec.name!r}: {error}") from error

    each([partial(blamed, check) for check in checks])


def check_lora(place: str, spec: ModelSpec) -> None:
    """Check the file of a LoRA that a model is fused with; one that is here, against its backbone.

    Raises:
        ValueError, FileNotFoundError: it cannot be had, or as
            :func:`hypernoise.weights.foreign_lora.read`.
    """
    check_safetensors_file(place)
    file = PinnedFile.parse(place)
    if not file.is_local:
        return
    # Lazy import: it brings diffusers and peft.
    from hypernoise.models.backbones import empty_backbone
    from hypernoise.weights.foreign_lora import read

    pipeline_class = resolve(spec.target).pipeline_class
    given = (spec.weights, spec.revision, spec.architecture)
    read(Path(file.place), empty_backbone(pipeline_class, *given), pipeline_class)


def build_generator(spec: ModelSpec, device: str) -> Generator:
    """Load a generator, frozen, with encodings on disk if its declaration names a folder.

    Raises: as :func:`check_generator`.
    """
    from diffusers.utils import logging

    from harness.build.encodings import encoded_once
    from hypernoise.weights.whole_network import hush_transformers

    logging.disable_progress_bar()
    hush_transformers()
    generator: Generator = call_target(spec.target, _arguments(spec), device, spec.file)
    return encoded_once(generator, spec, device)


def generator_files(spec: ModelSpec) -> list[str]:
    """What a generator reads on this machine, for :func:`harness.experiment.identity.job_hash`."""
    places = [spec.weights] if spec.is_local else []
    places.append(str(spec.arguments.get("lora", "")))
    return [place for place in places if place and located(place).exists()]


def check_memory(spec: ModelSpec, device: str) -> None:
    """Check that a device has room for the weights of a model whose architecture is known.

    Raises:
        ValueError: it has not, or the architecture is unknown.
    """
    from hypernoise.models.random_weights import n_parameters

    needed = sum(n_parameters(spec.architecture).values())
    dtype = dtype_of(spec.arguments.get("dtype", "float32"), spec.file)
    needed_gib = needed * dtype.itemsize / GIB
    free_gib = free_memory_bytes(device) / GIB
    if needed_gib > free_gib:
        raise ValueError(
            f"{needed / 1e9:.1f} billion parameters in {dtype} take {needed_gib:.1f} GiB, "
            f"and {device} has {free_gib:.1f} GiB free: stop what else uses it, take a larger "
            "device, or a smaller model"
        )


def text_encoder_bytes(spec: ModelSpec) -> int:
    """What the text encoders take of a model that keeps encodings on disk, and that keep their
    place while it is trained; 0 for others, and where the architecture is not known."""
    from hypernoise.models.random_weights import n_parameters

    if not (spec.encodings and spec.architecture):
        return 0
    parts = n_parameters(spec.architecture).items()
    size = dtype_of(spec.arguments.get("dtype", "float32"), spec.file).itemsize
    return size * sum(n for name, n in parts if name.startswith("text_encoder"))


def _arguments(spec: ModelSpec) -> dict[str, Any]:
    given = {"weights": spec.weights, "size_px": spec.size_px, **spec.arguments}
    if spec.revision:
        given["revision"] = spec.revision
    if spec.is_random:
        given["architecture"] = spec.architecture
    return given
