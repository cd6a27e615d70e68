"""What a config file may say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from experiments import CONFIG_FOLDER, FILE, load

from harness.base.errors import SpecError
from harness.experiment import reference
from harness.experiment.config import read
from harness.experiment.config_files import extended


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIG_FOLDER.glob("*.yaml")))
def test_a_shipped_config_is_sound(name: str) -> None:
    read(load(name), name)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["modles"], ["tiny_sd"], ["unknown config key 'modles'", "'models'"]),
        (["training", "default", "step"], 3, ["'step'", "'training.default'", "'steps'"]),
        (["training", "default", "steps"], 0, ["training.default.steps", "0", "at least 1"]),
        (["training", "reno", "rank"], 0, ["training.reno.rank", "at least 1"]),
        (["training"], {}, ["'training'", "lacks the layer 'default'"]),
        (["training"], {"default": {"steps": 2}}, ["lacks 'checkpoint_every', 'validate_every'"]),
        (["steps", "tiny_sd"], 0, ["steps.tiny_sd", "at least 1"]),
        (["models"], [], ["models", "at least 1 item"]),
        (["models"], ["tiny_sd", "tiny_sd"], ["names 'tiny_sd' twice"]),
        (["methods"], ["reno:a=1,b=2", "reno:b=2,a=1"], ["names 'reno:a=1,b=2' twice"]),
        (["methods"], ["reno:a"], ["'methods'", "'reno:a'", "is not 'argument=value'"]),
        (["timing", "batchsizes"], [3], ["'batchsizes'", "'batch_sizes'"]),
        (["timing", "repeats"], 2, ["timing.repeats", "at least 3"]),
        (["training", "default", "precision"], "fp16", ["training.default.precision", "bf16"]),
        (["image_sets", "more"], {"benchmrk": "a"}, ["'image_sets.more'", "'benchmark'"]),
        (["image_sets", "more-1"], {}, ["image_sets", "more-1"]),
        (["similarities"], {"lpips": {"target": "a:b"}}, ["similarities", "lpips"]),
        (["gpus"], "all", ["'gpus' is 'all'", "'auto'", "whole number"]),
        (["seed"], ..., ["config lacks 'seed'"]),
        (["training_seeds"], [], ["training_seeds", "at least 1 item"]),
        (["training_seeds"], [0, 1, 0], ["names 0 twice"]),
        (["training_seeds"], [0, -1], ["training_seeds.1", "-1", "at least 0"]),
        (["training_seeds"], [0.5], ["training_seeds.0", "0.5", "whole number"]),
        (["training_seeds"], 3, ["training_seeds", "3"]),
    ],
)
def test_a_fault_in_the_config_is_named_with_its_file(
    path: list[str], value: Any, words: list[str]
) -> None:
    inner = broken = copy.deepcopy(load("tiny.yaml"))
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    with pytest.raises(SpecError) as fault:
        read(broken, FILE)
    for word in [FILE, *words]:
        assert word in str(fault.value)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("../mine", ("../mine",)), (["../mine"], ("../mine",)), (["a", "b"], ("a", "b"))],
)
def test_folders_of_components_are_a_text_or_a_list(given: Any, wanted: tuple[str, ...]) -> None:
    assert read(load("tiny.yaml") | {"components": given}, FILE).components == wanted
    schema = json.loads(reference.schema())["properties"]["components"]
    assert set(schema["type"]) == {"array", "string"}


def test_a_folder_of_components_is_named_once() -> None:
    with pytest.raises(SpecError, match="names 'a' twice"):
        read(load("tiny.yaml") | {"components": ["a", "a"]}, FILE)


def test_every_fault_has_a_line_of_its_own() -> None:
    broken = {**load("tiny.yaml"), "seed": -1, "batch_size": 0}
    with pytest.raises(SpecError) as fault:
        read(broken, FILE)
    lines = str(fault.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{FILE}: config key ") for line in lines)


def test_a_config_leaves_keys_and_image_sets_to_the_one_that_it_extends(tmp_path: Path) -> None:
    files = {
        "a.yaml": {"models": ["one"], "timing": {"repeats": 3}, "image_sets": {"x": {}, "y": {}}},
        "b.yaml": {
            "extends": "a.yaml",
            "timing": {"threads": 2},
            "image_sets": {"y": {"steps": [1]}},
        },
        "c.yaml": {"extends": "c.yaml"},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(yaml.safe_dump(content))
    found = extended({"extends": "b.yaml", "seed": 2}, tmp_path)
    assert found == {
        "models": ["one"],
        "timing": {"threads": 2},
        "image_sets": {"x": {}, "y": {"steps": [1]}},
        "seed": 2,
    }
    with pytest.raises(SpecError, match=r"c\.yaml, which another one extends, extends itself"):
        extended({"extends": "c.yaml"}, tmp_path)
    with pytest.raises(SpecError, match=r"d\.yaml, which another one extends, is missing"):
        extended({"extends": "d.yaml"}, tmp_path)


@pytest.mark.parametrize(
    ("key", "one", "other"), [("components", "a", "b"), ("trackers", "tensorboard", "wandb")]
)
def test_names_are_a_list_or_one_text(key: str, one: str, other: str) -> None:
    shipped = load("tiny.yaml")
    for given, found in ((one, (one,)), ([one], (one,)), ([one, other], (one, other)), ([], ())):
        assert getattr(read(shipped | {key: given}, "tiny.yaml"), key) == found
    for wrong, said in ((3, "must be a valid array"), ([one, one], f"names '{one}' twice")):
        with pytest.raises(SpecError, match=rf"tiny\.yaml: config key '{key}' is .*, {said}"):
            read(shipped | {key: wrong}, "tiny.yaml")
