"""``python -m harness adapter FOLDER --model MODEL``: what an adapter is, and how to declare it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.base.import_strings import resolve
from harness.experiment.component_files import declared
from harness.results import frames
from harness.results.training_folder import NETWORK_FILES, STEPS_FILE
from hypernoise.methods.given_adapter import GivenAdapter
from hypernoise.models.backbones import empty_backbone
from hypernoise.networks.adapter import adaptable
from hypernoise.networks.description import read_description
from hypernoise.training.kinds import KINDS, is_noise_network
from hypernoise.weights.foreign_lora import ForeignLora
from hypernoise.weights.pins import AT_COMMIT

_TARGET = f"{GivenAdapter.__module__}:{GivenAdapter.__name__}"
_SCHEDULER = (
    "a distillation LoRA (LCM, Lightning, Hyper, DMD2) also wants its own scheduler and steps, "
    "which a method leaves as the model has them: compare at the steps that it was made for"
)


def run(adapter: str, model: str, file: str, components: Sequence[Path]) -> None:
    """Print what an adapter is, as a method of a model, and the line that declares it.

    Args:
        adapter: a folder, a safetensors file, or ``owner/name@COMMIT`` of the hub.
        model: name of a declared model; its weights are not needed.
        file: the adapter's file, where there are several.
        components: where models are declared.

    Raises:
        FileNotFoundError: the adapter, or a file of it, is missing.
        ValueError: it cannot be used on the model: the first reason is said.
    """
    registry = declared(*components)
    spec = registry.find(registry.models, "model", model)
    at = AT_COMMIT.fullmatch(adapter)
    given: dict[str, Any] = at.groupdict() if at else {"weights": adapter}
    given |= {"file": file} if file else {}
    method = GivenAdapter(**given)
    method.check()
    family = resolve(spec.target)
    backbone = empty_backbone(family.pipeline_class, spec.weights, spec.revision, spec.architecture)
    found = method.read_for(family.pipeline_class, backbone)
    if found is None:
        kind, lines = "hypernoise", ["LoRA of every layer, grouped convolutions among them"]
    else:
        kind, lines = kind_of(found), described(found, backbone, spec.weights)
    moves_noise = is_noise_network(kind)
    print("\n".join([*lines, *verdict(kind, found, family.last_layer)]))
    said = "".join(f", {name}={value!r}" for name, value in given.items())
    said += ", moves_noise=True" if moves_noise else ""
    print("declare it in workflows/methods/their_lora.smk:")
    print(f'add_method("their_lora", target="{_TARGET}"{said}, version=1)')


def kind_of(found: ForeignLora) -> str:
    """The kind of network that a training of this project says it made; else ``""``.

    Weights alone do not tell a noise network from a fine-tuning of the same layers.
    """
    if (told := read_description(found.path.parent)) is not None:
        return told.kind
    steps = found.path.with_name(STEPS_FILE)
    if found.path.name not in NETWORK_FILES or not steps.is_file():
        return ""
    method = frames.read_provenance(steps)["spec"]["method"]
    return str(method["trains"])


def described(found: ForeignLora, backbone: Any, base: str) -> list[str]:
    """An adapter's layout, layers, rank, alpha, options and base, a line each."""
    downs = {layer: found.weight(layer, "lora_A") for layer in found.layers}
    ranks = Counter(down.shape[0] for down in downs.values() if down is not None)
    n_parameters = sum(weight.numel() for weight in found.weights.values())
    layers = ", ".join(
        f"{n} {end}" for end, n in Counter(map(kind_of_layer, found.layers)).most_common()
    )
    alphas = sorted(set(found.alphas.values())) or [found.options.get("lora_alpha", "that of rank")]
    options = {k: v for k, v in found.options.items() if k not in ("r", "lora_alpha") and v}
    dtypes = {str(weight.dtype).removeprefix("torch.") for weight in found.weights.values()}
    made_on = found.base or "it does not say"
    return [
        f"file      {found.path} ({found.layout}'s layout)",
        f"layers    {len(found.layers)} of {len(adaptable(backbone)[0])} of the {found.component}: "
        f"{layers}",
        f"weights   {n_parameters:,} parameters, {', '.join(sorted(dtypes))}",
        f"rank      {', '.join(map(str, sorted(ranks)))}; alpha {', '.join(map(str, alphas))}",
        f"options   {json.dumps(options) if options else 'none but these'}",
        f"base      {made_on} (every layer fits {base})",
    ]


def kind_of_layer(layer: str) -> str:
    """What layers of one kind are called: without the numbers of blocks."""
    names = layer.split(".")
    return ".".join(names[-2:] if names[-1].isdigit() else names[-1:])


def verdict(kind: str, found: ForeignLora | None, last_layer: str) -> list[str]:
    """What an adapter is for, in lines."""
    if kind:
        what = "a noise network" if KINDS[kind].moves_noise else "a fine-tuning"
        return [f"kind      {what} ({kind})"]
    lines = [f"kind      fine-tuning or distillation; {_SCHEDULER}"]
    if found is not None and last_layer in found.layers:
        lines.append(
            "          it adapts the last layer, too: if it was published as a noise network "
            "(HyperNoise), add moves_noise=True"
        )
    return lines
