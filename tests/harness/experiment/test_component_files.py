"""Component files without Snakemake, and methods with arguments in their names."""

from __future__ import annotations

import os
import sys
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


def own(folder: Path, *modules: str) -> Path:
    """A folder of components that holds some empty modules."""
    (folder / "rewards").mkdir(parents=True)
    (folder / "rewards" / "none.smk").touch()
    for name in modules:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "module",
    # Without __init__.py, Python would join both to one package.
    ["my_package/__init__.py", "my_package/rewards.py", "helpers.py"],
)
def test_folders_of_components_may_not_hold_modules_of_one_name(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    one, two = (own(tmp_path / name, module) for name in ("one", "two"))
    named = f"components folder {one}: .*two/.* is a module .*rename {one}/{module[:7]}"
    with pytest.raises(SpecError, match=named):
        declared(own(tmp_path / "checkout"), one, two)
    assert str(one) not in sys.path
    declared(own(tmp_path / "again"), one, one)


@pytest.mark.parametrize("module", ["statistics.py", "sys.py", "harness/mine.py", "yaml.py"])
def test_no_module_of_a_folder_of_components_has_the_name_of_what_is_there(
    tmp_path: Path, module: str
) -> None:
    name = Path(module).parts[0].removesuffix(".py")
    with pytest.raises(SpecError, match=f"is a module '{name}' too, .*rename {tmp_path}/own/"):
        declared(own(tmp_path / "checkout"), own(tmp_path / "own", module))


def test_a_folder_of_components_whose_name_no_path_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"own.1 has '{os.pathsep}' in its name"):
        declared(own(tmp_path / "checkout"), own(tmp_path / f"own{os.pathsep}1", "mine.py"))


def test_files_that_are_no_modules_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    folder = own(tmp_path / "own", "yaml/notes.txt", "docs/conf.py", "mine.py", "__init__.py")
    declared(own(tmp_path / "checkout"), folder)
    assert str(folder) in sys.path


def test_a_declaration_that_cannot_be_read_names_its_file_and_its_place(tmp_path: Path) -> None:
    rewards = own(tmp_path / "checkout") / "rewards"
    rewards.mkdir(exist_ok=True)
    (rewards / "a.smk").write_text('add_rewrad("a", target="b:C")\n')
    said = rf"rewards/a\.smk: there is no add_rewrad: a file in {rewards} declares with add_reward"
    with pytest.raises(SpecError, match=said):
        declared(tmp_path / "checkout")
    (rewards / "a.smk").write_text('add_reward("a", target="broken_reward:C", version=1)\n')
    (tmp_path / "broken_reward.py").write_text("class C:\n    def score(:\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(tmp_path))
        with pytest.raises(SpecError, match=r"a\.smk: .*\(broken_reward\.py, line 2\)"):
            declared(tmp_path / "checkout")


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
