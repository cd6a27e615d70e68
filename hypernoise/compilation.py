"""``torch.compile`` for a generator's backbone and VAE decoder, and for a reward.

The noise network is a pass through the backbone and ReNO's step is generator, reward and their
gradients: so these three compiled functions cover generation, noise network and ReNO's step. What
is between them, the stock pipeline's own loop, stays eager; and so does the VAE decoder wherever a
gradient passes through it: compiled for a CPU by torch 2.13 it returned zeros as its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from hypernoise.errors import check_choice

#: How to run -> torch.compile's mode. ``"cuda_graphs"`` also replays recorded kernel launches.
MODES = {"eager": None, "compiled": "default", "cuda_graphs": "reduce-overhead"}
#: Of one function: for each batch size with and without gradients, of a network and its base.
_RECOMPILATIONS = 64
#: Attribute of what runs compiled, so that a pipeline is not compiled twice.
_MARK = "_hypernoise_compiled"


class Compiled:
    """Compiled functions that take the place of eager ones inside :meth:`active`.

    Results are those of the eager functions up to the order of float operations. Compilation
    happens at the first call, once per shape of the arguments.

    Args:
        pipeline: a stock pipeline; its UNet or transformer and its VAE's decoder are compiled.
        mode: one of :data:`MODES`.
        reward: a reward whose ``score`` is compiled, if given.

    Raises:
        ValueError: unknown mode, CUDA graphs are asked for without a GPU, or the pipeline runs
            compiled already: its "eager" would be no such thing.
    """

    def __init__(self, pipeline: Any, mode: str, reward: Any = None) -> None:
        check_choice("mode", mode, MODES)
        if mode == "cuda_graphs" and not torch.cuda.is_available():
            raise ValueError("cuda_graphs needs a GPU; on a CPU run 'compiled' or 'eager'")
        self._swaps: list[tuple[Any, str, Callable[..., Any]]] = []
        found = [getattr(pipeline, name, None) for name in ("unet", "transformer")]
        backbones = [network for network in found if isinstance(network, nn.Module)]
        if any(getattr(network, _MARK, False) for network in backbones):
            raise ValueError(
                "this pipeline runs compiled already: leave `mode` out of the model's declaration"
            )
        if mode == "eager":
            return
        owners = [(network, "forward") for network in backbones]
        owners += [(reward, "score")] if reward is not None else []
        self._swaps = [(owner, name, _compiled(owner, name, mode)) for owner, name in owners]
        decoder = getattr(getattr(pipeline, "vae", None), "decoder", None)
        if decoder is not None:
            eager, compiled = decoder.forward, _compiled(decoder, "forward", mode)

            @wraps(eager)
            def unless_gradients(inputs: Tensor, *arguments: Any, **keywords: Any) -> Any:
                has_gradient = torch.is_grad_enabled() and inputs.requires_grad
                return (eager if has_gradient else compiled)(inputs, *arguments, **keywords)

            self._swaps.append((decoder, "forward", unless_gradients))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Run compiled inside, and do not pass eager calls off as compiled ones.

        Raises:
            torch._dynamo.exc.FailOnRecompileLimitHit: something is compiled again and again; torch
                would go on eagerly, with no more than a warning.
        """
        limited: AbstractContextManager[Any] = nullcontext()
        if self._swaps:
            # Lazy import: torch._dynamo takes seconds, and an eager run does not need it.
            from torch._dynamo import config

            limited = config.patch(
                recompile_limit=_RECOMPILATIONS, fail_on_recompile_limit_hit=True
            )
        self.install()
        try:
            with limited:
                yield
        finally:
            for owner, name, _ in self._swaps:
                vars(owner).pop(name, None)
                vars(owner).pop(_MARK, None)

    def install(self) -> None:
        """Run compiled from now on."""
        for owner, name, function in self._swaps:
            setattr(owner, name, function)
            setattr(owner, _MARK, True)


def _compiled(owner: Any, name: str, mode: str) -> Callable[..., Any]:
    # Batch sizes are few; a graph for each is faster than one for all.
    eager = getattr(owner, name)
    function: Any = torch.compile(eager, mode=MODES[mode], dynamic=False)
    if mode != "cuda_graphs":
        return function  # type: ignore[no-any-return]

    @wraps(eager)
    def call(*arguments: Any, **keywords: Any) -> Any:
        # The next replay writes into the same memory.
        return _cloned(function(*arguments, **keywords))

    return call


def _cloned(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, tuple):
        return tuple(_cloned(item) for item in output)
    raise TypeError(f"a compiled network returned {type(output).__name__}, expected tensors")
