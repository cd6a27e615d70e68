"""Checks of weight files before any work starts."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open


def check_folder(weights: str) -> None:
    """Check that a local diffusers folder is whole; hub names pass.

    Raises:
        FileNotFoundError: a file that the folder's index names is missing.
        ValueError: a safetensors file is truncated or no safetensors file.
    """
    folder = Path(weights)
    looks_local = folder.is_absolute() or weights.startswith(".") or folder.exists()
    if not looks_local:
        return
    index = folder / "model_index.json"
    if not index.is_file():
        raise FileNotFoundError(f"no diffusers pipeline in {folder}: {index.name} is missing")
    components = json.loads(index.read_text())
    for name, entry in components.items():
        # An optional component that the checkpoint lacks is recorded as [null, null].
        if name.startswith("_") or not isinstance(entry, list) or entry[0] is None:
            continue
        _check_component(folder / name)


def _check_component(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder.parent} names a component {folder.name!r} that is missing"
        )
    is_model = (folder / "config.json").is_file()
    files = sorted(folder.glob("*.safetensors"))
    if is_model and not files:
        raise FileNotFoundError(f"no safetensors weights in {folder}")
    for path in files:
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
