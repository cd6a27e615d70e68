"""Where the time of one call goes: stock modules wrapped while it runs, none of them copied.

A stage's span is taken on the outside of a call: the backbone's ``forward``, the VAE's ``decode``,
the reward's ``score``, torch's backward pass. Of nested calls the outermost counts, so that a
backbone pass of the noise network is the noise network's, and one that gradient checkpointing
repeats is the backward pass's. What is left, samplers and bookkeeping, is no stage's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch.backends import mha
from torch.profiler import record_function
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

from harness.results.stage_names import BACKBONE, BACKWARD, NOISE_NETWORK, REWARD, TEXT, VAE
from hypernoise.models.protocol import Generator
from hypernoise.rewards.protocol import Reward

aten = torch.ops.aten
#: Matrix products and convolutions that torch's counter takes for nothing: no count is better than
#: one that leaves them out. None of the declared networks runs them.
_WITHOUT_FORMULA = (
    *("_addmm_activation", "_grouped_mm", "_int_mm", "_scaled_grouped_mm", "_weight_int4pack_mm"),
    *("_weight_int8pack_mm", "addbmm", "addmv", "mv", "_trilinear", "_convolution_double_backward"),
    *("_cudnn_rnn", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "mkldnn_rnn_layer"),
    *("_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
    "_scaled_dot_product_fused_attention_overrideable",
)


class Meter(NamedTuple):
    """A quantity that grows while a call runs: time, or floating-point operations.

    Attributes:
        mark: notes its state; must not wait for a GPU.
        between: what lies between two marks, in the meter's unit.
        settle: waits until marks can be compared.
        around: what every part runs in, by its name.
    """

    mark: Callable[[], Any]
    between: Callable[[Any, Any], float]
    settle: Callable[[], None] = lambda: None
    around: Callable[[str], AbstractContextManager[Any]] = nullcontext


def stopwatch(device: str) -> Meter:
    """Seconds: CUDA events on a GPU, which the host does not wait for; a monotonic clock else."""
    if not device.startswith("cuda"):
        return Meter(time.perf_counter, lambda start, end: float(end - start))

    def mark() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    return Meter(mark, lambda start, end: start.elapsed_time(end) / 1000, torch.cuda.synchronize)


def ranges(device: str) -> Meter:
    """Seconds, and a range of each part in the trace of torch's profiler.

    On a GPU the host waits at both ends of a part: its ranges are then as long as the GPU's work.
    """
    if not device.startswith("cuda"):
        return stopwatch(device)._replace(around=record_function)

    @contextmanager
    def waited_for(name: str) -> Iterator[None]:
        torch.cuda.synchronize()
        with record_function(name):
            yield
            torch.cuda.synchronize()

    return stopwatch(device)._replace(around=waited_for)


@contextmanager
def flop_counter() -> Iterator[FlopCounterMode]:
    """Torch's counter, for what runs inside, with what it leaves out at the time of writing.

    It has no formula for the CPU's attention operator, and none for the fused multi-head attention
    and encoder layers of ``torch.nn``, which are off inside, so that their parts are counted.
    Counts are those of the same operators on a GPU. An operator of :data:`_WITHOUT_FORMULA` makes
    the count NaN.

    It goes without torch's sums by module: for these the counter hooks into gradients, and fails
    where a module's input is the very noise whose gradient is asked for.
    """
    counter = FlopCounterMode(display=False)
    unknown = (getattr(aten, name) for name in _WITHOUT_FORMULA if hasattr(aten, name))
    # Torch's own formulas come last: a later release may know more operators.
    counter.flop_registry = {
        aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
        **dict.fromkeys(unknown, lambda *_, **__: math.nan),
        **counter.flop_registry,
    }
    counter.mod_tracker = _Everything()  # type: ignore[assignment]
    is_fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with counter:
            yield counter
    finally:
        mha.set_fastpath_enabled(is_fast)


class _Everything:
    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


def flop_meter(counter: FlopCounterMode) -> Meter:
    """Floating-point operations, two per multiply-add, as torch counts them."""
    return Meter(counter.get_total_flops, lambda start, end: float(end - start))


class Spans:
    """Sums up a meter by stage."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._spans: list[tuple[str, Any, Any]] = []
        self._is_inside = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A part that does not overlap with other stages: within another it counts as that."""
        if self._is_inside:
            yield
            return
        self._is_inside = True
        try:
            with self.whole(name):
                yield
        finally:
            self._is_inside = False

    @contextmanager
    def whole(self, name: str) -> Iterator[None]:
        """A part that holds stages."""
        start = self._meter.mark()
        try:
            with self._meter.around(name):
                yield
        finally:
            self._spans.append((name, start, self._meter.mark()))

    def settle(self) -> None:
        """Wait until what runs has been measured: a GPU's work, for which nothing else waits."""
        self._meter.settle()

    def take(self) -> dict[str, float]:
        """Sum of each stage since the last call, in the meter's unit."""
        self.settle()
        sums: dict[str, float] = {}
        for name, start, end in self._spans:
            sums[name] = sums.get(name, 0.0) + self._meter.between(start, end)
        self._spans.clear()
        return sums


@contextmanager
def watched(spans: Spans, generator: Generator, reward: Reward | None = None) -> Iterator[None]:
    """Note the stages of everything that runs inside."""
    vae = generator.pipeline.components.get("vae")
    places: list[tuple[Any, str, str]] = [
        (generator, "encode", TEXT),
        # Generators predict for noise networks alone; they sample through their pipeline.
        (generator, "predict", NOISE_NETWORK),
        (generator.backbone, "forward", BACKBONE),
        (torch.autograd, "grad", BACKWARD),
        (torch.autograd, "backward", BACKWARD),
    ]
    places += [(vae, "decode", VAE)] if hasattr(vae, "decode") else []
    if reward is not None:
        places += [(reward, "encode", TEXT), (reward, "score", REWARD)]
    with ExitStack() as stack:
        for owner, name, stage in places:
            noted = _noted(spans, stage, getattr(owner, name))
            # An instance's own attribute is put back, or taken away where its class has it.
            stack.enter_context(patch.object(owner, name, noted))
        yield


def _noted(spans: Spans, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        with spans.stage(stage):
            return function(*arguments, **keywords)

    return call
