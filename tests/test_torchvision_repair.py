from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hypernoise import torchvision_repair

# Whether this machine's torchvision is broken is found out in a process of its own: a library
# that has been loaded, or a schema that has been declared, cannot be taken back.
_REPAIRED = """
import hypernoise
from hypernoise.torchvision_repair import repair
repaired = repair()
import torch, torchvision
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
        cwd=Path(__file__).parents[1],
        check=False,
    )


def test_torchvision_imports_and_only_a_broken_one_is_repaired() -> None:
    plain = python("import torchvision")
    repaired = python(_REPAIRED)
    assert repaired.returncode == 0, repaired.stderr
    is_broken = plain.returncode != 0
    # A working torchvision keeps its own operators; in a repaired one they still raise.
    assert repaired.stdout.split("\n")[0] == ("True True None" if is_broken else "False False [0]")


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
