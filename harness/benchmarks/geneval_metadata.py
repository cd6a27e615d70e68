"""GenEval's metadata of a prompt: one line of ``evaluation_metadata.jsonl``, read and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness.benchmarks.geneval import COLORS, RELATIONS, TASKS, check_word
from harness.benchmarks.protocol import Prompt
from hypernoise.text_files import lines_of

METADATA_KEYS = ("tag", "include", "exclude", "prompt")
_INCLUDE_KEYS = ("class", "count", "color", "position")
_EXCLUDE_KEYS = ("class", "count")


def check_prompts(
    prompts: Sequence[Prompt],
    classes: Collection[str] | None = None,
    colors: Collection[str] = COLORS,
) -> None:
    """Refuse prompts whose metadata no image could be judged by; as :func:`check_metadata`.

    Raises:
        ValueError: names the first of them, too.
    """
    for prompt in prompts:
        try:
            check_metadata(prompt.metadata, classes=classes, colors=colors)
        except ValueError as error:
            raise ValueError(f"metadata of prompt {prompt.text!r}: {error}") from error


def check_metadata(
    metadata: Mapping[str, Any],
    *,
    classes: Collection[str] | None = None,
    colors: Collection[str] = COLORS,
) -> None:
    """Refuse metadata that no image could be judged by.

    Args:
        metadata: one line of ``evaluation_metadata.jsonl``.
        classes: the names that the detector knows; any non-empty name when None.
        colors: the labels that the colour classifier gives.

    Raises:
        ValueError: names the first bad value and the valid ones.
    """
    for key in extra_fields(metadata):
        # The original leaves fields of other tools alone; a misspelt one would be left out so, too.
        if get_close_matches(str(key), METADATA_KEYS, n=1, cutoff=0.85):
            check_word(key, METADATA_KEYS, "metadata field")
    check_word(metadata.get("tag"), TASKS, "tag")
    _check_text(metadata.get("prompt"), "prompt")
    include, exclude = (metadata.get(key, []) for key in ("include", "exclude"))
    for key, clauses in (("include", include), ("exclude", exclude)):
        if not isinstance(clauses, list | tuple):
            raise ValueError(f"{key} is {clauses!r}, must be a list of clauses")
    if not include and not exclude:
        raise ValueError("metadata has neither an include nor an exclude clause")
    for index, clause in enumerate(include):
        where = f"include[{index}]"
        _check_clause(clause, _INCLUDE_KEYS, where, classes)
        if "color" in clause:
            check_word(clause["color"], colors, f"{where} color")
        if "position" in clause:
            position = clause["position"]
            if not isinstance(position, list | tuple) or len(position) != 2:
                raise ValueError(
                    f"{where} position is {position!r}, must be [relation, clause index]"
                )
            relation, reference = position
            check_word(relation, RELATIONS, f"{where} relation")
            if type(reference) is not int or not 0 <= reference < index:
                valid = f"0 to {index - 1}" if index else "none, it is the first clause"
                raise ValueError(f"{where} position refers to clause {reference!r}; valid: {valid}")
    for index, clause in enumerate(exclude):
        _check_clause(clause, _EXCLUDE_KEYS, f"exclude[{index}]", classes)


def extra_fields(metadata: Mapping[str, Any]) -> list[str]:
    """Fields of a prompt that are not GenEval's: other tools' own, which no decision rests on."""
    return [key for key in metadata if key not in METADATA_KEYS]


def load_metadata(
    path: str | Path,
    *,
    classes: Collection[str] | None = None,
    colors: Collection[str] = COLORS,
) -> list[dict[str, Any]]:
    """Read and check a metadata file: one JSON object per line, empty lines skipped.

    Args:
        path: a file in the form of GenEval's ``evaluation_metadata.jsonl``.
        classes, colors: as in :func:`check_metadata`.

    Raises:
        ValueError: a line is no JSON object or fails :func:`check_metadata` (the message
            starts with file and line), or the file holds no prompt.
        OSError: the file cannot be read.
    """
    prompts = []
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"expected a JSON object, got {line[:60]!r}")
            check_metadata(record, classes=classes, colors=colors)
            prompts.append(record)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if not prompts:
        raise ValueError(f"{path}: holds no prompt")
    return prompts


def _check_clause(
    clause: Any, keys: Sequence[str], where: str, classes: Collection[str] | None
) -> None:
    if not isinstance(clause, Mapping):
        raise ValueError(f"{where} is {clause!r}, must be an object with {', '.join(keys)}")
    _check_keys(clause, keys, where)
    _check_text(clause.get("class"), f"{where} class")
    if classes is not None:
        check_word(clause["class"], classes, f"{where} class")
    count = clause.get("count")
    if type(count) is not int or count < 1:
        raise ValueError(f"{where} count is {count!r}, must be a whole number, at least 1")


def _check_keys(mapping: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in mapping:
        check_word(key, keys, f"{where} field")


def _check_text(value: Any, what: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} is {value!r}, must be a non-empty text")
    if re.search(r"[\ud800-\udfff]", value):
        raise ValueError(f"{what} is {value!r}, which has half a character")
