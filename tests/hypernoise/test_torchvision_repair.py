from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from paths import REPOSITORY

from hypernoise import torchvision_repair

# Whether this machine's torchvision is broken is found out in a process of its own: a library
# that has been loaded, or a schema that has been declared, cannot be taken back.
_REPAIRED = """
import hypernoise, torch, torchvision
from hypernoise.torchvision_repair import repair
repaired = repair()
from torchvision.transforms.functional import resize
from torchvision.models import resnet18
assert resize(torch.zeros(1, 3, 8, 8), [4, 4]).shape == (1, 3, 4, 4)
assert resnet18(weights=None).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
try:
    kept = torchvision.ops.nms(boxes, torch.tensor([1.0, 0.5]), 0.5).tolist()
except RuntimeError:
    kept = None
print(repaired, repair(), kept)
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )


def test_torchvision_imports_and_only_a_broken_one_is_repaired() -> None:
    plain = python("import torchvision")
    repaired = python(_REPAIRED)
    assert repaired.returncode == 0, repaired.stderr
    is_broken = plain.returncode != 0
    # A working torchvision keeps its own operators; in a repaired one they still raise.
    assert repaired.stdout.split("\n")[0] == ("True True None" if is_broken else "False False [0]")


@pytest.mark.parametrize("package", ["harness", "hypernoise"])
def test_a_package_is_light_and_its_modules_may_be_imported_in_any_order(package: str) -> None:
    done = python(f"import sys, {package}; print('torch' in sys.modules); import torchvision")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_whoever_looks_for_torchvision_first_repairs_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torchvision_repair, "repair", lambda: calls.append("repaired"))
    finder = torchvision_repair.BeforeTorchvision()
    for name in ("torch", "torchvision.transforms", "torchvision", "torchvision"):
        assert finder.find_spec(name, None) is None
        assert calls == ([] if name != "torchvision" else ["repaired"])


def test_nothing_is_declared_beside_a_working_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_repair, "_declared", [])
    monkeypatch.setattr(torchvision_repair, "extension_loads", lambda _path: True)
    assert torchvision_repair.repair() is False
    assert torchvision_repair._declared == []


def test_nothing_is_declared_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_repair, "_declared", [])
    monkeypatch.setattr(torchvision_repair.importlib.util, "find_spec", lambda _name: None)
    assert torchvision_repair.extension_path() is None
    assert torchvision_repair.repair() is False


def test_a_file_that_is_no_library_does_not_load(tmp_path: Path) -> None:
    broken = tmp_path / "_C.so"
    broken.write_bytes(b"not a library")
    assert torchvision_repair.extension_loads(broken) is False
