"""Checks of weights before any work starts: whole, safetensors, and where they are said to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hypernoise.text_files import read_json

INDEX = "model_index.json"
_SHARDS = "*.safetensors.index.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")


def check_folder(weights: str) -> None:
    """Check that a local diffusers folder is whole.

    Raises:
        FileNotFoundError: there is no such folder, or a file that its index names is missing.
        ValueError: a safetensors file is truncated or no safetensors file, or the weights are
            pickled.
    """
    folder = Path(weights)
    index = folder / INDEX
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder} with a diffusers pipeline (a repository of the hub would need a "
            "revision: the 40 hexadecimal digits of a commit)"
        )
    if not index.is_file():
        raise FileNotFoundError(f"no diffusers pipeline in {folder}: {INDEX} is missing")
    for name in component_names(read_json(index)):
        check_component(folder / name)


def component_names(index: Mapping[str, Any]) -> Iterator[str]:
    """The components that a pipeline's ``model_index.json`` names: folders next to it.

    Raises:
        ValueError: a name would lead elsewhere.
    """
    for name, entry in index.items():
        # An optional component that the checkpoint lacks is recorded as [null, null].
        if not name.startswith("_") and isinstance(entry, list) and entry[0] is not None:
            if not name.isidentifier():
                raise ValueError(f"{INDEX} names a component {name!r}, which is no folder's name")
            yield name


def check_safetensors(where: str, files: Iterable[str]) -> None:
    """Check the names of a network's files.

    Raises:
        FileNotFoundError: no file has weights.
        ValueError: only pickles do.
    """
    names = list(files)
    if any(name.endswith(".safetensors") for name in names):
        return
    if pickles := [name for name in names if name.endswith(PICKLES)]:
        raise ValueError(
            f"{where} has pickled weights only ({pickles[0]}); they can run code when they are "
            "loaded, so they are not: convert them to safetensors"
        )
    raise FileNotFoundError(f"no safetensors weights in {where}")


def check_component(folder: Path) -> None:
    """Check one component of a pipeline in its folder; raises as :func:`check_folder`."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder.parent} names a component {folder.name!r} that is missing"
        )
    if (folder / "config.json").is_file():
        check_safetensors(str(folder), (path.name for path in sorted(folder.iterdir())))
    files = set(folder.glob("*.safetensors"))
    for index in folder.glob(_SHARDS):
        for name in set(read_json(index)["weight_map"].values()):
            if Path(name).name != name:
                raise ValueError(f"{index} names {name!r}, which is not in its folder")
            files.add(folder / name)
    for path in sorted(files):
        check_file(path)


def check_file(path: Path) -> None:
    """Check one safetensors file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or no safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weight file {path} is missing")
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        raise ValueError(f"weight file {path} is truncated or not safetensors: {error}") from error
