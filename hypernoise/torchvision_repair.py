"""Make ``import torchvision`` work with a CPU build of torch.

PyPI's torchvision is linked against CUDA. Next to a CPU torch its compiled part cannot load, and
``import torchvision`` fails with ``operator torchvision::nms does not exist``; with it fail
open_clip, lpips, timm and parts of transformers, peft and diffusers. The import only needs two
operator *schemas*; declaring them is enough for transforms and models. The operators themselves
stay unusable, and calling one still raises.

Both packages install :class:`BeforeTorchvision` when they are imported, which imports nothing: the
repair waits for whoever looks for torchvision first.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []


class BeforeTorchvision:
    """A finder of modules that finds none, and repairs torchvision before others look for it."""

    def __init__(self) -> None:
        self._is_waiting = True

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None; as :class:`importlib.abc.MetaPathFinder` says."""
        if name == "torchvision" and self._is_waiting:
            # The repair looks for torchvision, too.
            self._is_waiting = False
            repair()
        return None


def install() -> None:
    """Let the first search for torchvision repair it, unless it is loaded or waited for already."""
    waiting = any(isinstance(finder, BeforeTorchvision) for finder in sys.meta_path)
    if not waiting and "torchvision" not in sys.modules:
        sys.meta_path.insert(0, BeforeTorchvision())


def extension_path() -> Path | None:
    """The compiled part of the installed torchvision, or None where there is none."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next((path for path in sorted(folder.glob("_C*.so"))), None)


def extension_loads(path: Path) -> bool:
    """Whether torchvision's compiled part loads into this process's torch."""
    import torch

    try:
        torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True


def repair() -> bool:
    """Declare torchvision's operator schemas if, and only if, its extension cannot load.

    A working torchvision is left alone. Safe to call more than once.

    Returns:
        True where the schemas were declared, by this call or an earlier one.
    """
    if _declared:
        return True
    path = extension_path()
    if path is None or extension_loads(path):
        return False
    import torch

    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    # The library's definitions end with the object.
    _declared.append(library)
    return True
