"""Gradient checkpointing: blocks keep their inputs only, and run again in the backward pass.

Adapters are switched on for single passes, and the backward pass comes when they are off again.
So a block's switches are noted as it runs, and it is repeated with them as they were.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any

from diffusers import AutoencoderDC, AutoencoderKLQwenImage
from torch import nn
from torch.utils.checkpoint import checkpoint

from hypernoise.models.protocol import Generator

#: What adapters switch in a module: themselves, hooks that leave out or add an output, and weights.
_SWITCHES = ("_disable_adapters", "_active_adapter", "_forward_hooks", "_parameters")


@contextmanager
def gradient_checkpointing(generator: Generator) -> Iterator[None]:
    """Compute activations of a generator's backbone and VAE again in the backward pass.

    Costs about one more forward pass per backward pass; gradients stay the same. Nothing changes
    in passes without gradients.

    Raises:
        ValueError: see :func:`check_repeatable`.
    """
    check_repeatable(generator)
    with ExitStack() as stack:
        for model in _models(generator):
            blocks = _blocks(model)
            if not blocks:
                model.enable_gradient_checkpointing(_repeatable)
                stack.callback(model.disable_gradient_checkpointing)
            for block, method in blocks:
                setattr(block, method, partial(_repeatable, block, run=getattr(block, method)))
                stack.callback(delattr, block, method)
        yield


def check_repeatable(generator: Generator) -> None:
    """Check that a generator's blocks can be repeated.

    Raises:
        ValueError: a class does not support it, or it is enabled already.
    """
    for model in _models(generator):
        name = type(model).__name__
        if not (getattr(model, "_supports_gradient_checkpointing", False) or _blocks(model)):
            raise ValueError(f"{name} does not support gradient checkpointing")
        if model.is_gradient_checkpointing:
            raise ValueError(f"gradient checkpointing is enabled on the {name} already")


def _models(generator: Generator) -> tuple[Any, Any]:
    return generator.backbone, generator.pipeline.vae


def _blocks(model: nn.Module) -> tuple[tuple[nn.Module, str], ...]:
    """The blocks, and what of each runs, of a VAE that diffusers has no gradient checkpointing
    for."""
    if isinstance(model, AutoencoderKLQwenImage):
        # Its blocks share a cache of a video's frames, which is emptied before the first of them.
        return ((model, "_decode"),)
    if not isinstance(model, AutoencoderDC):
        return ()
    decoder: Any = model.get_submodule("decoder")
    return tuple((block, "forward") for block in decoder.up_blocks)


def _repeatable(block: nn.Module, *inputs: Any, run: Callable[..., Any] | None = None) -> Any:
    """Run a block, or ``run`` in its place, so that its backward pass can repeat it."""
    noted = _Switches(block)
    return checkpoint(
        run or block, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), noted)
    )


class _Switches:
    """A context in which a module's switches are what they were when this was made."""

    def __init__(self, module: nn.Module) -> None:
        self._noted = [(part, _switches(part, copied=True)) for part in module.modules()]
        self._before: list[dict[str, Any]] = []

    def __enter__(self) -> None:
        self._before = [_switches(part) for part, _ in self._noted]
        for part, noted in self._noted:
            part.__dict__.update(noted)

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for (part, _), before in zip(self._noted, self._before, strict=True):
            part.__dict__.update(before)


def _switches(part: nn.Module, copied: bool = False) -> dict[str, Any]:
    own = {name: part.__dict__[name] for name in _SWITCHES if name in part.__dict__}
    return {name: copy.copy(value) for name, value in own.items()} if copied else own
