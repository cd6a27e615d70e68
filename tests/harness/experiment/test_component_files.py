"""Component files without Snakemake, and methods with arguments in their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import SpecError
from harness.experiment.component_files import declared
from harness.experiment.components import Registry
from harness.experiment.methods import method_variant


def test_component_files_are_read_without_snakemake(tmp_path: Path) -> None:
    folder = tmp_path / "rewards"
    folder.mkdir()
    text = 'add_reward("red", target="harness_toys:Redness", version=1)\n'
    (folder / "red.smk").write_text(text)
    assert set(declared(tmp_path).rewards) == {"red"}
    (folder / "red.smk").write_text(text + "rule weights:\n    x")
    with pytest.raises(SpecError, match=r"red\.smk: a rule belongs in workflows/rules"):
        declared(tmp_path)
    (folder / "red.smk").write_text('add_reward("red", target="harness_toys:Rednes", version=1)')
    with pytest.raises(SpecError, match=r"red\.smk.*Rednes.*Redness"):
        declared(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        declared(tmp_path / "nowhere")


def test_a_method_can_be_named_with_its_arguments() -> None:
    registry = Registry()
    registry.add_method("reno", target="hypernoise.methods.reno:Reno", version=1, iterations=50)
    spec = method_variant(registry, "reno:iterations=2,learning_rate=0.5")
    assert spec.name == "reno:iterations=2,learning_rate=0.5"
    assert spec.arguments == {"iterations": 2, "learning_rate": 0.5}
    with pytest.raises(SpecError, match="unknown method 'ren'; did you mean 'reno'"):
        method_variant(registry, "ren:iterations=2")
    with pytest.raises(SpecError, match="'iterations' is not 'argument=value'"):
        method_variant(registry, "reno:iterations")
