"""The config's reference page and editor schema, made of the classes that check configs.

``make reference`` writes both; a test compares them with the classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.base.atomic_files import write_text
from harness.experiment.config import Config

SCHEMA_FILE = Path("workflows/config/schema.json")
PAGE_FILE = Path("docs/config.md")
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "pattern": "like `{}`",
}
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "keys",
}
_HEAD = """\
# The config

One file says what an experiment is: `workflows/config/tiny.yaml` is the default,
`snakemake --configfile workflows/config/paper.yaml` takes another one. A key that is not here is an
error, and so is a value out of its range; messages name the file, the key and the nearest valid
word.

This page is made of the classes in `harness/experiment/config.py` and
`hypernoise/training/options.py` by `make reference`, and so is the schema that editors check and
complete config files with.

A method is its name, or a variant of it: `reno:learning_rate=0.3`, `hypernoise:rank=8,alpha=16`,
`lora_finetune_final:checkpoint=40`. Arguments are those of the method, options of its training,
arguments of the search that it goes on with (`hypernoise_reno:iterations=5`), or `checkpoint`, an
optimizer step. In a list in brackets, a variant with a comma in it needs quotes.
"""


def schema() -> str:
    """The JSON schema of config files."""
    made = Config.model_json_schema()
    said = (
        "another config, seen from this one's folder or else the working directory, for the keys "
        "and image sets that this one leaves out; `workflows/config/tiny.yaml` is always there"
    )
    made["properties"]["extends"] = {"type": "string", "description": said}
    made["anyOf"] = [{"required": ["extends"]}, {"required": made.pop("required")}]
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def page() -> str:
    """The reference page, as Markdown."""
    made = Config.model_json_schema()
    return "\n".join([_HEAD, *_section("config", made, made["$defs"], set())])


def write(root: Path = Path()) -> None:
    """Write both into a checkout."""
    write_text(root / SCHEMA_FILE, schema())
    write_text(root / PAGE_FILE, page())


def _section(
    title: str, part: Mapping[str, Any], classes: Mapping[str, Any], done: set[str]
) -> Iterator[str]:
    """The table of a class's keys, and after it those of the classes that these lead to."""
    required, below = part.get("required", ()), []
    yield from [f"## `{title}`", "", "| key | value | default | meaning |", "|---|---|---|---|"]
    for key, field in part["properties"].items():
        default = "" if key in required else f"`{json.dumps(field.get('default'))}`"
        said = [field.get("description")] + [classes[n].get("description") for n in _classes(field)]
        meaning = " ".join(str(next(filter(None, said), "")).replace("|", "\\|").split())
        yield f"| `{key}` | {_value(field)} | {default} | {meaning.replace('``', '`')} |"
        below += [(key, name) for name in _classes(field)]
    yield ""
    for key, name in below:
        if name not in done:
            done.add(name)
            yield from _section(key, classes[name], classes, done)


def _value(field: Mapping[str, Any]) -> str:
    """What a key takes, in words."""
    if "anyOf" in field:
        return " or ".join(_value(option) for option in field["anyOf"])
    if "$ref" in field:
        return "a section"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{word}`" for word in field["enum"])
    if isinstance(types := field.get("type"), list):
        return " or ".join(_value({**field, "type": one}) for one in types)
    if types == "array":
        return f"list: {_value(field['items'])}"
    named = [field.get("additionalProperties"), *field.get("patternProperties", {}).values()]
    if any(isinstance(found, dict) for found in named):
        return "by name: " + next(_value(found) for found in named if isinstance(found, dict))
    bounds = [text.format(field[name]) for name, text in _BOUNDS.items() if name in field]
    return ", ".join([_TYPES.get(types or "", "any value"), *bounds])


def _classes(field: Any) -> list[str]:
    """Names of the classes that a key's value is made of."""
    if isinstance(field, dict):
        own = [str(field["$ref"]).rpartition("/")[2]] if "$ref" in field else []
        return own + [name for inner in field.values() for name in _classes(inner)]
    return [name for inner in field for name in _classes(inner)] if isinstance(field, list) else []
