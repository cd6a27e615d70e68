"""Stand-ins of the files that benchmarks publish: a few prompts of our own in each file's form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from harness.benchmarks.dpg import NAME as DPG
from harness.benchmarks.geneval2 import DATA as GENEVAL2
from harness.benchmarks.geneval_coco import METADATA as GENEVAL
from harness.benchmarks.hpsv2 import N_PROMPTS
from harness.benchmarks.tasks import STYLES
from harness.benchmarks.training_prompts import CATEGORIES, PICK_A_PIC, SPLITS

_THINGS = ("cat", "train")
_FEW = 4


def contents() -> dict[str, str]:
    """A file's name in a data folder -> its content."""
    found = {
        GENEVAL: _json_lines(_geneval()),
        GENEVAL2: _json_lines(map(_geneval2, _THINGS)),
        DPG: "\n".join(_dpg()),
        "abc6k/ABC-6K.txt": _lines("a red {} and a blue one, number {}", _FEW),
        PICK_A_PIC: _lines("a portrait of a {}, oil on canvas, number {}", _FEW),
    }
    for style in STYLES:
        texts = [f"a {style} of thing number {number}" for number in range(N_PROMPTS)]
        found[f"hpsv2/{style}.json"] = json.dumps(texts)
    for category in CATEGORIES:
        for split in SPLITS:
            text = f"a {category.replace('_', ' ')} {{}} of the {split} list, number {{}}"
            found[f"t2i_compbench/{category}_{split}.txt"] = _lines(text, _FEW)
    return found


def _lines(text: str, n: int) -> str:
    return "".join(f"{text.format(_THINGS[place % 2], place)}\n" for place in range(n))


def _json_lines(records: Iterable[Any]) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def _geneval() -> list[dict[str, Any]]:
    """Two prompts of each of GenEval's tasks."""
    found = []
    for thing in _THINGS:
        one, other = {"class": thing, "count": 1}, {"class": "bench", "count": 1}
        red, blue = {**one, "color": "red"}, {**other, "color": "blue"}
        left = {**one, "position": ["left of", 0]}
        several = {"include": [{**one, "count": 2}], "exclude": [{**one, "count": 3}]}
        found += [
            _record("single_object", f"a photo of a {thing}", [one]),
            _record("two_object", f"a photo of a {thing} and a bench", [one, other]),
            {**several, "tag": "counting", "prompt": f"a photo of two {thing}s"},
            _record("colors", f"a photo of a red {thing}", [red]),
            _record("position", f"a photo of a {thing} left of a bench", [other, left]),
            _record("color_attr", f"a photo of a red {thing} and a blue bench", [red, blue]),
        ]
    return found


def _record(task: str, prompt: str, include: list[dict[str, Any]]) -> dict[str, Any]:
    return {"tag": task, "include": include, "prompt": prompt}


def _geneval2(thing: str) -> dict[str, Any]:
    asked = [[f"How many {thing}s are there?", "two"], [f"Is there a {thing}?", "Yes"]]
    skills = ["count", "object"]
    return {"prompt": f"two {thing}s", "atom_count": 2, "vqa_list": asked, "skills": skills}


def _dpg() -> list[str]:
    rows = ["item_id,text,proposition_id,dependency,tuple,question_natural_language"]
    for number, thing in enumerate(("boat", *_THINGS)):
        start = f"{number}.txt,A large {thing} stands there."
        rows += [
            f"{start},1,0,entity - whole ({thing}),Is there a {thing}?",
            f"{start},2,1,attribute - size ({thing} large),Is the {thing} large?",
        ]
    return rows
