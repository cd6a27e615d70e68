"""A device that is not there: tensors say that they are on it, and are computed with on the CPU.

As on a GPU, an operation on a tensor of the device and one of the CPU is an error, and so is
``numpy()`` of a tensor that was not fetched. torch's own fake tensors have no values, and jobs look
at values. The device calls itself a second CPU: torch takes no other kind without its driver.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

DEVICE = torch.device("cpu:1")
_COPIES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
#: A GPU's tensors are indexed by those of the CPU, too.
_INDEXED = ("index", "index_put", "index_put_")


class OnDevice(torch.Tensor):
    """A tensor on the device; ``held`` is where its values are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, requires_grad: bool = False) -> OnDevice:
        made: OnDevice = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            requires_grad=requires_grad,
            device=DEVICE,
        )
        made.held = held
        return made

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if function is torch.Tensor.tolist:
                return args[0].held.tolist()
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(function, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Tensors that are made on the device from nothing."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(function, args, kwargs or {})


class _Constructors(TorchFunctionMode):
    """Tensors that are made on the device from numbers, which no dispatch sees."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = dict(kwargs or {})
        is_new = function in (torch.tensor, torch.as_tensor) and given.get("device") is not None
        if is_new and torch.device(given["device"]) == DEVICE:
            return function(*args, **given | {"device": "cpu"}).to(DEVICE)
        return function(*args, **given)


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    on = [leaf for leaf in given if isinstance(leaf, OnDevice)]
    # As on a GPU, a scalar of the CPU is taken along.
    off = [leaf for leaf in given if not isinstance(leaf, OnDevice) and leaf.ndim]
    may_index = function.overloadpacket.__name__ in _INDEXED and isinstance(args[0], OnDevice)
    if on and off and function not in _COPIES and not may_index:
        raise RuntimeError(f"{function}: a tensor on the device and one on {off[0].device}")
    wanted = kwargs.get("device")
    goes_on = bool(on) if wanted is None else torch.device(wanted) == DEVICE
    if function is torch.ops.aten.copy_.default:
        goes_on = isinstance(args[0], OnDevice)
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain, named = tree_map_only(OnDevice, lambda tensor: tensor.held, (args, kwargs))
    known = {id(tensor.held): tensor for tensor in on}

    def wrapped(value: Any) -> Any:
        if not goes_on or not isinstance(value, torch.Tensor) or isinstance(value, OnDevice):
            return value
        return known.get(id(value)) if id(value) in known else OnDevice(value)

    return tree_map(wrapped, function(*plain, **named))


@contextmanager
def entered() -> Iterator[None]:
    """Tensors can be made on the device, and networks moved to it, inside."""
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    # A parameter that is moved is another tensor; without this it would keep its own class.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _Factories(), _Constructors():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)


@contextmanager
def as_default(monkeypatch: Any) -> Iterator[None]:
    """Jobs inside run on the device."""
    for name, module in list(sys.modules.items()):
        if name.startswith("harness.") and hasattr(module, "default_device"):
            monkeypatch.setattr(module, "default_device", lambda: str(DEVICE))
    with entered():
        yield
