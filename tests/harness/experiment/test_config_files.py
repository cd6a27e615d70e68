"""Config files are read strictly, and what is wrong is blamed on whoever gave it."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path
from typing import Any

import pytest
from experiments import load
from paths import REPOSITORY

from harness.base.errors import SpecError
from harness.cli.command_line import main
from harness.experiment.component_files import declared
from harness.experiment.config import read
from harness.experiment.config_files import extended, load_yaml
from harness.experiment.variants import Variant
from harness.experiment.workflow import open_experiment

BASE = REPOSITORY / "workflows" / "config" / "tiny.yaml"


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("seed: 0\nseed: 7\n", ["line 2", "'seed'", "twice"]),
        ("a:\n  - {rank: 1, 'rank': 2}\n", ["line 2", "'rank'", "twice"]),
        ('{"seed": 0,\n "seed": 7}', ["line 2", "'seed'", "twice"]),
        ("\tseed: 0\n", ["line 1", "no YAML"]),
        ("seed: [0\n", ["no YAML"]),
        ("a: !!python/object:os.system {}\n", ["no YAML"]),
        ("a: \x07\n", ["no YAML"]),
        ("", ["is empty", "no keys"]),
        ("1: 2\n", ["key 1", "no text"]),
        ("a: {b: {on: 1}}\n", ["a.b", "key True", "no text"]),
        ("a: [2026-01-01]\n", ["a.0", "date"]),
        ("a: !!set {b}\n", ["a is", "set"]),
        ("a: &x [*x]\n", ["holds itself"]),
        ("? [1, 2]\n: 3\n", ["line 1", "unhashable"]),
        ("- a\n", ["['a']", "no keys"]),
        (b"reward: caf\xe9\n", ["line 1", "UTF-8"]),
    ],
)
def test_a_config_that_is_not_sound_is_named_with_its_file(
    tmp_path: Path, content: str | bytes, words: list[str]
) -> None:
    file = written(tmp_path / "mine.yaml", content)
    written(tmp_path / "other.yaml", "extends: mine.yaml\n")
    with pytest.raises(SpecError) as own:
        load_yaml(file)
    with pytest.raises(SpecError) as base:
        extended(load_yaml(tmp_path / "other.yaml"), tmp_path)
    for word in [str(file), *words]:
        assert word in str(own.value)
        assert word in str(base.value)


def test_every_verb_that_takes_a_config_names_the_file_that_is_not_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    file = written(tmp_path / "mine.yaml", "\tseed: 0\n")
    for verb in (["pin"], ["plan"], ["rehearse"], ["explain", "tiny_sd", "base", "matcher"]):
        assert main([*verb, "--configfile", str(file)]) == 2
        assert str(file) in capsys.readouterr().err
        assert main([*verb, "--configfile", str(tmp_path / "lost.yaml")]) == 2
        assert "lost.yaml is missing" in capsys.readouterr().err


def test_a_merge_key_and_a_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    text = "\ufeffa: &a {rank: 1, alpha: 2}\nb:\n  <<: *a\n  rank: 3\n"
    found = load_yaml(written(tmp_path / "a.yaml", text))
    assert found == {"a": {"rank": 1, "alpha": 2}, "b": {"rank": 3, "alpha": 2}}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("training.default.rank", 8.0, ["8.0", "whole number", "write 8"]),
        ("training.default.steps", 250.0, ["250.0", "whole number", "write 250"]),
        ("batch_size", 32.0, ["32.0", "whole number", "write 32"]),
        ("timing.repeats", 20.0, ["20.0", "whole number"]),
        ("training.default.temperature", float("inf"), ["inf", "finite"]),
        ("training.default.grad_clip", float("-inf"), ["-inf", "finite"]),
        ("training.default.learning_rate", float("nan"), ["nan", "finite"]),
        ("arguments.reno.learning_rate", float("nan"), ["nan", "finite"]),
        ("training.default.seed", 12345678901234567890123, ["64 bits"]),
        ("seed", 2**63, ["64 bits"]),
        ("training_seeds", [1, 2**64], ["64 bits"]),
        ("training.default.learning_rate", "7e-4", ["'7e-4'", "write 7.0e-4"]),
        ("training.default.learning_rate", "1.5e3", ["write 1.5e+3"]),
        ("training.default.learning_rate", "0.1", ["without quotes: write 0.1"]),
    ],
)
def test_a_number_that_is_none_is_named_with_key_file_and_what_to_write(
    path: str, value: Any, words: list[str]
) -> None:
    broken = copy.deepcopy(load("tiny.yaml"))
    *above, last = path.split(".")
    inner = broken
    for key in above:
        inner = inner.setdefault(key, {})
    inner[last] = value
    with pytest.raises(SpecError) as fault:
        read(broken, "mine.yaml")
    for word in ["mine.yaml", path, *words]:
        assert word in str(fault.value)


def test_what_only_yaml_can_say_is_named_wherever_it_is_from() -> None:
    broken = load("tiny.yaml") | {"seed": datetime.date(2026, 1, 1)}
    with pytest.raises(SpecError, match=r"--config seed: .*seed is .*, a date"):
        read(broken, "mine.yaml", {"seed": "--config seed"})


def test_numbers_of_method_variants_are_finite() -> None:
    for value in ("1e999", "-1e999"):
        with pytest.raises(SpecError, match=f"learning_rate is {value}, must be a finite number"):
            Variant.parse(f"reno:learning_rate={value}")


def test_a_key_is_blamed_on_the_file_or_option_that_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    base = written(tmp_path / "base.yaml", BASE.read_text().replace("seed: 0", "seed: -1", 1))
    own = written(tmp_path / "own.yaml", "extends: base.yaml\nbatch_size: 0\n")
    with pytest.raises(SpecError) as fault:
        open_experiment(load_yaml(own), [str(own)])
    lines = sorted(str(fault.value).splitlines())
    assert [line.partition(": ")[0] for line in lines] == [str(base), str(own)]
    given = {"models": "tiny_sd", "training": {}}
    config = {**extended(load_yaml(BASE), BASE.parent), **given}
    with pytest.raises(SpecError) as fault:
        open_experiment(config, [str(BASE)], given)
    lines = str(fault.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("--config models, training: config key ") for line in lines)
    with pytest.raises(SpecError, match=r"tiny\.yaml, --config models: .*'tiny_ds'"):
        config = {**extended(load_yaml(BASE), BASE.parent), "models": ["tiny_ds"]}
        open_experiment(config, [str(BASE)], {"models": ["tiny_ds"]})


def test_of_several_config_files_each_extends_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    written(tmp_path / "a" / "base.yaml", BASE.read_text())
    first = written(tmp_path / "a" / "first.yaml", "extends: base.yaml\nbatch_size: 7\n")
    second = written(tmp_path / "b" / "second.yaml", "models: [tiny_sd]\n")
    merged = load_yaml(first) | load_yaml(second)
    experiment = open_experiment(merged, [str(first), str(second)])
    assert experiment.config.batch_size == 7
    assert experiment.config.models == ("tiny_sd",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nosuch_module", "No module named 'nosuch_module'"),
        ("1 / 0", "division by zero"),
        ("open('nosuch')", "nosuch"),
        ("{}['a']", "'a'"),
    ],
)
def test_whatever_a_declaration_does_wrong_is_named_with_its_file(
    tmp_path: Path, text: str, said: str
) -> None:
    file = written(tmp_path / "models" / "mine.smk", text)
    with pytest.raises(SpecError) as fault:
        declared(tmp_path)
    assert str(fault.value).startswith(f"{file}: ")
    assert said in str(fault.value)
