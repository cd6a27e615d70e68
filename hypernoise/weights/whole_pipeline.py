"""Whether a diffusers folder holds all that its pipeline is loaded from: files, classes, weights.

diffusers and transformers fill a weight that a file lacks with random numbers, or leave it empty.
"""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import safe_open

from hypernoise.text_files import read_json
from hypernoise.weights.folders import INDEX, component_names
from hypernoise.weights.pipelines import COMPONENTS
from hypernoise.weights.whole_network import whole_network

#: Libraries whose classes may be built to see which weights they have.
_LIBRARIES = ("diffusers", "transformers")
#: What holds the words of a tokenizer: any of these.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")


def check_whole(folder: Path, variant: str = "", pipeline_class: Any = None) -> None:
    """Check a local folder, which :func:`hypernoise.weights.folders.check_folder` found readable.

    Args:
        variant: of its files, as ``"fp16"``.
        pipeline_class: the stock pipeline that it is for; any without.

    Raises:
        FileNotFoundError: a config, a vocabulary or the files of a network are missing.
        ValueError: it is another pipeline's, a config is no JSON, there is no file of the variant,
            or a network's weights lack some; the first is named.
    """
    index = read_json(folder / INDEX)
    names = list(component_names(index))
    if pipeline_class is not None:
        _check_class(folder, index, names, pipeline_class)
    if variant and not any(folder.glob(f"*/*.{variant}.*")):
        raise ValueError(f"{folder} has no files of the variant {variant!r}: leave it out")
    for name in names:
        library, kind = index[name][:2]
        inside = folder / name
        if kind.endswith("Scheduler"):
            _read_config(inside / "scheduler_config.json")
        elif "Tokenizer" in kind and not any((inside / file).is_file() for file in _VOCABULARIES):
            raise FileNotFoundError(
                f"{inside} has no vocabulary: one of {', '.join(_VOCABULARIES)} must be there"
            )
        elif library in _LIBRARIES:
            made = getattr(importlib.import_module(library), kind, None)
            # Networks alone have weights; other components have files of their own kinds.
            if hasattr(made, "state_dict"):
                _check_network(inside, made, variant)


def _check_class(folder: Path, index: Any, names: Collection[str], pipeline_class: Any) -> None:
    parameters = inspect.signature(pipeline_class.__init__).parameters
    spared = {"self", *getattr(pipeline_class, "_optional_components", ())}
    required = [n for n, p in parameters.items() if p.default is p.empty and n not in spared]
    said = f"{folder} is a {index.get('_class_name', 'pipeline of no known class')}"
    # Weights of the two are made for one another; encoders and decoders have stand-ins.
    if lacking := [name for name in required if name not in index and name in COMPONENTS]:
        raise ValueError(
            f"{said}, which has no {lacking[0]}, and {pipeline_class.__name__} needs one"
        )
    for name in set(COMPONENTS) & set(names) & parameters.keys():
        hint = str(parameters[name].annotation)
        if hint != str(inspect.Parameter.empty) and index[name][1] not in hint:
            raise ValueError(
                f"{said}, whose {name} is a {index[name][1]}, and {pipeline_class.__name__} takes "
                f"{getattr(parameters[name].annotation, '__name__', hint)}"
            )
    if lacking := [name for name in required if name not in index]:
        raise ValueError(
            f"{said}, which has no {', '.join(lacking)}: {pipeline_class.__name__} needs it"
        )


def _read_config(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    return read_json(path)


def _check_network(folder: Path, made: Any, variant: str) -> None:
    import torch

    config = _read_config(folder / "config.json")
    files = _weight_files(folder, variant) or _weight_files(folder, "")
    if not files:
        others = {path.name.split(".")[-2] for path in folder.glob("*.*.safetensors")}
        hint = "".join(f': say variant="{other}"' for other in sorted(others)[:1])
        raise FileNotFoundError(f"{folder} has no weights without a variant{hint}")
    there: set[str] = set()
    for file in files:
        with safe_open(file, framework="pt") as handle:
            there |= set(handle.keys())
    with torch.device("meta"):
        if getattr(made, "config_class", None):
            network = made(made.config_class.from_dict(config))
        else:
            network = made.from_config(config)
    weights = defaultdict[int, set[str]](set)
    for name, weight in network.state_dict(keep_vars=True).items():
        # Tied weights have several names, and are saved under one.
        weights[id(weight)].add(name)
    # Some files have a word before all names.
    firsts = {f"{name.partition('.')[0]}." for name in there}
    saved = [{name.removeprefix(first) for name in there} for first in ("", *firsts)]
    if not any(all(names & those for names in weights.values()) for those in saved):
        # Old files name weights otherwise: what lacks is for the library to say.
        options = {"variant": variant} if _weight_files(folder, variant) and variant else {}
        whole_network(made, str(folder), use_safetensors=True, **options)


def _weight_files(folder: Path, variant: str) -> list[Path]:
    """Files of a network in the names that the libraries look for, whole or in shards."""
    middle = f".{variant}" if variant else ""
    found: list[Path] = []
    for stem in ("diffusion_pytorch_model", "model"):
        found += [p for p in [folder / f"{stem}{middle}.safetensors"] if p.is_file()]
        # Libraries put the variant behind or before the word index.
        for end in {f".safetensors.index{middle}.json", f"{middle}.safetensors.index.json"}:
            if (index := folder / f"{stem}{end}").is_file():
                found += [folder / name for name in set(read_json(index)["weight_map"].values())]
    return found
