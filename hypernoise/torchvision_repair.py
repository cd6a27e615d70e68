"""Make ``import torchvision`` work beside a CPU build of torch.

PyPI's torchvision is linked against CUDA. Next to a CPU torch its compiled part cannot load, and
``import torchvision`` fails with ``operator torchvision::nms does not exist``; with it fail
open_clip, lpips, timm and parts of transformers, peft and diffusers. The import only needs two
operator *schemas*; declaring them is enough for transforms and models. The operators themselves
stay unusable, and calling one still raises.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []


def extension_path() -> Path | None:
    """The compiled part of the installed torchvision, or None where there is none."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next((path for path in sorted(folder.glob("_C*.so"))), None)


def extension_loads(path: Path) -> bool:
    """Whether torchvision's compiled part loads into this process's torch."""
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
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    # The library's definitions end with the object.
    _declared.append(library)
    return True
