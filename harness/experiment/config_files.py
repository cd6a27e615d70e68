"""Config files: read strictly, and with what they leave to others that they extend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import SpecError
from harness.base.own_code import shipped
from harness.experiment.validation import strange
from hypernoise.text_files import read_text


def load_yaml(file: Path) -> dict[str, Any]:
    """The keys of a YAML file; one that stands there twice would silently be the second.

    Raises:
        SpecError: it is missing, not UTF-8, no YAML, has no keys, or has one twice; names the file
            and the line.
    """
    if not file.is_file():
        raise SpecError(f"config file {file} is {'a folder' if file.is_dir() else 'missing'}")
    loader = None
    try:
        loader = yaml.SafeLoader(read_text(file))
        node = loader.get_single_node()
        for key in _doubles(node, set()):
            line = key.start_mark.line + 1
            raise SpecError(f"{file}, line {line}: key {key.value!r} stands there twice")
        content = loader.construct_document(node) if node else None
        for path, what in strange(content):
            raise SpecError(f"{file}: {'.'.join(path) or 'it'} {what}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise SpecError(f"{file}{place}: no YAML: {error.problem or error.context}") from error
    except RecursionError:
        raise SpecError(f"{file}: it holds itself, or is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        raise SpecError(text if str(file) in text else f"{file}: no YAML: {text}") from error
    finally:
        if loader:
            loader.dispose()
    if not isinstance(content, dict):
        said = "is empty" if content is None else f"is {str(content)[:60]!r}"
        raise SpecError(f"config file {file} {said}: it has no keys, as in `seed: 0`")
    return content


def _doubles(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    """Keys that stand a second time in the same mapping, as far down as it goes."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for inner in node.value:
            yield from _doubles(inner, seen)
    elif isinstance(node, yaml.MappingNode):
        keys: set[tuple[str, str]] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in keys:
                    yield key
                keys.add((key.tag, key.value))
            yield from _doubles(value, seen)


def extended(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A config with the keys and image sets that it does not give itself from the file that it
    ``extends``.

    Args:
        config: its ``extends``, if it has one, is the name of another config file.
        folder: where that file is, unless it comes with the code (:func:`base_of`).

    Raises:
        SpecError: the file is missing or no config, or configs extend one another in a circle.
    """
    for base in _bases(config, folder).values():
        sets = [given.get("image_sets", {}) for given in (base, config)]
        own = {key: given for key, given in config.items() if key != "extends"}
        config = {**{k: v for k, v in base.items() if k != "extends"}, **own}
        if all(isinstance(given, Mapping) for given in sets) and any(sets):
            config["image_sets"] = {**sets[0], **sets[1]}
    return dict(config)


def base_of(config: Mapping[str, Any], folder: Path) -> Path:
    """The file that a config extends: seen from its folder, or else from the working directory; of
    ``workflows/config`` there is always that which comes with the code."""
    file, named = folder / str(config["extends"]), shipped(str(config["extends"]))
    return named if named.is_file() and not file.is_file() else file


def sources(contents: Mapping[Path, Mapping[str, Any]]) -> dict[str, str]:
    """Key -> the config file that gives it, of several that are merged and may extend others.

    Args:
        contents: file -> content, the last one last.

    Raises:
        SpecError: as :func:`extended`.
    """
    found: dict[str, str] = {}
    for file, own in contents.items():
        bases = _bases(own, file.parent)
        for name, content in [*reversed(bases.items()), (file, own)]:
            for key, given in content.items():
                merged = isinstance(given, Mapping) and key in found
                merges = merged and (name == file or key == "image_sets")
                found[key] = f"{found[key]}, {name}" if merges else str(name)
    return found


def _bases(config: Mapping[str, Any], folder: Path) -> dict[Path, Mapping[str, Any]]:
    """The files that a config extends, from the nearest on; raises as :func:`extended`."""
    found: dict[Path, Mapping[str, Any]] = {}
    while "extends" in config:
        file = base_of(config, folder)
        if file in found or not file.is_file():
            fault = "extends itself" if file in found else "is missing"
            raise SpecError(f"config file {file}, which another one extends, {fault}")
        config, folder = load_yaml(file), file.parent
        found[file] = config
    return found
