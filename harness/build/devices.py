"""Where things run, in which precision, and how much memory is free there."""

from __future__ import annotations

import psutil
import torch

from harness.base.errors import unknown

GIB = 2**30
_DEVICES = ("cpu", "cuda")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def default_device() -> str:
    """The device that a job runs on: the GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(device: str) -> None:
    """Check a device that a user names; empty is :func:`default_device`.

    Raises:
        ValueError: it is unknown, or there is no GPU.
    """
    if not device:
        return
    # Events and synchronisation are those of the current GPU, which is the first that is visible.
    hint = "; which GPU is CUDA_VISIBLE_DEVICES' to say" if device.startswith("cuda:") else ""
    if device not in _DEVICES:
        raise ValueError(f"unknown device {device!r}; there are {', '.join(_DEVICES)}{hint}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and torch finds no GPU")


def dtype_of(name: object, file: str) -> torch.dtype:
    """The dtype of a name that declarations use; SpecError for an unknown one."""
    if name not in _DTYPES:
        raise unknown("dtype", name, _DTYPES, file)
    return _DTYPES[str(name)]


def free_memory_bytes(device: str) -> int:
    """Memory that is free on a device: the GPU's, or the machine's."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
