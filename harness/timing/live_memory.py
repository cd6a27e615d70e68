"""Memory that tensors hold, counted as a program runs: really, or on tensors without values.

Own rather than ``torch.distributed._tools.mem_tracker``: that one hooks every module and looks at
all of them after every operation, and cannot run schedulers, whose values decide what comes next.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

#: What storages are for: ``FORWARD`` is what was made outside a backward pass, ``BACKWARD`` within.
KINDS = (NETWORKS, TRAINED, FORWARD, BACKWARD) = ("networks", "trained", "forward", "backward")
_MIB = 2**20
#: What a GPU's autocast computes in float32, of torch's list what the published networks run.
_IN_FLOAT32: Mapping[Any, Sequence[str]] = {
    functional: ("group_norm", "layer_norm", "normalize", "softmax"),
    torch: ("exp", "pow", "rsqrt", "softmax"),
    Tensor: ("__pow__", "exp", "pow", "rsqrt", "softmax"),
}


class _Storage(NamedTuple):
    kind: str
    n_bytes: int


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that counts the CPU's storages while they live.

    Kernels' own buffers are not seen, nor what the allocator wastes.

    Attributes:
        peak: bytes by kind (:data:`KINDS`) at the moment when most were held.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages: dict[int, _Storage] = {}
        self._held = dict.fromkeys(KINDS, 0)
        self.peak = dict(self._held)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        is_backward = torch._C._current_graph_task_id() >= 0
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf, BACKWARD if is_backward else FORWARD)
        return out

    def assign(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Say what tensors are for that exist already."""
        for tensor in tensors:
            self._add(tensor, kind)
            address = tensor.untyped_storage()._cdata
            if address in self._storages:
                old = self._storages[address]
                self._held[old.kind] -= old.n_bytes
                self._held[kind] += old.n_bytes
                self._storages[address] = old._replace(kind=kind)

    def forget_peak(self) -> None:
        """Let the peak be what is held now."""
        self.peak = dict(self._held)

    def _add(self, tensor: Tensor, kind: str) -> None:
        storage = tensor.untyped_storage()
        if tensor.device.type != "cpu" or storage._cdata in self._storages:
            return
        self._storages[storage._cdata] = _Storage(kind, storage.nbytes())
        weakref.finalize(storage, self._free, storage._cdata)
        self._held[kind] += storage.nbytes()
        if sum(self._held.values()) > sum(self.peak.values()):
            self.peak = dict(self._held)

    def _free(self, address: int) -> None:
        kind, n_bytes = self._storages.pop(address)
        self._held[kind] -= n_bytes


def peak_memory_mib(call: Callable[[], Any], device: str) -> float:
    """The most that a call holds in tensors at a time, besides what was there before it, in MiB.

    On a GPU what its allocator counts; on a CPU the storages that operations make, which is without
    kernels' own buffers.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return float(torch.cuda.max_memory_allocated() - before) / _MIB
    memory = LiveMemory()
    # A view of a weight would count as something new.
    memory.assign((o for o in gc.get_objects() if issubclass(type(o), Tensor)), NETWORKS)
    memory.forget_peak()
    with memory:
        call()
    return (memory.peak[FORWARD] + memory.peak[BACKWARD]) / _MIB


class _RealValues(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes what involves no tensor without values: seeds and schedules are looked at."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(isinstance(tensor, FakeTensor) or tensor.is_meta for tensor in tensors):
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)


def _in_float32(plain: Any) -> Any:
    """A function as a GPU's autocast runs it, where the CPU's is on."""

    def single(tensor: Tensor) -> Tensor:
        return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor

    @wraps(plain)
    def run(*args: Any, **kwargs: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            args, kwargs = tree_map_only(Tensor, single, (args, kwargs))
        return plain(*args, **kwargs)

    return run


@contextmanager
def without_values(gpu: bool = False) -> Iterator[None]:
    """Let tensors without values meet real ones, from which more without values follow.

    Tensors that are made from nothing stay real: it is weights that have to be without values, as
    ``network.to_empty(device="cpu")`` makes them in here. Attention takes the fused kernel, which
    keeps no attention matrix; the GPU's do not, either. A fake GPU would be nearer the truth, but
    autograd refuses one where torch is built without CUDA.

    Args:
        gpu: round as the autocast of a GPU does, which keeps more in float32 than the CPU's.
    """
    with ExitStack() as stack:
        if gpu:
            # A mode for functions would be off in the backward pass, where blocks are repeated.
            for owner, names in _IN_FLOAT32.items():
                for name in names:
                    plain = getattr(owner, name)
                    stack.enter_context(patch.object(owner, name, _in_float32(plain)))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(_RealValues())  # type: ignore[no-untyped-call]
        yield
