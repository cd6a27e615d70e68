"""A noise network that is not in the backbone: branches beside its layers, in the noise pass alone.

In somebody else's pipeline there is other LoRA, which diffusers loads, weights, fuses and takes out
as it likes, and there is offloading and compilation. A network that is no part of the backbone
stays out of all of that, and it of the network: the noise pass has the base's own weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.utils.hooks import RemovableHandle

from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.networks import base_weights
from hypernoise.networks.displacement import displacement
from hypernoise.networks.grouped_lora import GroupedLora
from hypernoise.weights.saved_lora import (
    PEFT_PREFIX,
    WEIGHTS_FILE,
    peft_key,
    saved_keys,
    saved_rank_and_alpha,
)


class BranchNetwork:
    """A trained noise network (arXiv 2508.09968, section 3.3) beside a generator's backbone.

    The displacement equals that of :class:`hypernoise.networks.noise_network.NoiseNetwork` with
    the same weights, in the backbone's dtype. There are no gradients.

    Args:
        generator: the generator that it was trained on; nothing of it is changed.
        folder: PEFT's folder, as :mod:`hypernoise.weights.saved_lora` reads it.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is truncated, or the LoRA is for another backbone.
    """

    kind: ClassVar[str] = "hypernoise"
    backbone_passes: ClassVar[int] = 1

    def __init__(self, generator: Generator, folder: Path) -> None:
        self.generator = generator
        self.backbone = uncompiled(generator.backbone)
        rank, alpha = saved_rank_and_alpha(folder)
        self._scale = alpha / rank
        path, keys = folder / WEIGHTS_FILE, saved_keys(folder)
        weights = load_file(path)
        names = (key.removeprefix(PEFT_PREFIX).rpartition(".lora_")[0] for key in keys)
        layers = list(dict.fromkeys(names))
        self._halves: dict[str, tuple[Tensor, Tensor]] = {}
        for name in layers:
            stored = [keys.get(peft_key(name, half), "") for half in ("lora_A", "lora_B")]
            a, b = map(weights.get, stored)
            fault = misfit(self.backbone, name, rank, a, b)
            if fault or a is None or b is None:
                raise ValueError(f"{path} was made for another backbone: layer {name} {fault}")
            self._halves[name] = (a, b)
        if generator.last_layer not in self._halves:
            raise ValueError(
                f"{path} is no noise network: it does not adapt {generator.last_layer!r}, the last "
                "layer"
            )
        # What was never reached in training adds nothing, and need not be reached here.
        self._moving = [name for name, (_, b) in self._halves.items() if b.any()]
        self._base = base_weights.sample(self.backbone, layers, most=len(layers))

    def check_base(self) -> None:
        """Check that the backbone's own weights are those that it had at the beginning.

        Raises:
            ValueError: they are not: a LoRA was fused and then taken out of sight.
        """
        if layers := base_weights.changed(self._base, self.backbone):
            raise ValueError(
                f"the weights of {len(layers)} layers, {layers[0]} first, are others than when the "
                "noise network was loaded, and its pass needs the base's own. If a LoRA was fused: "
                "unload_lora_weights() makes it a part of the weights, so unfuse_lora() before it; "
                "set_adapters() leaves the weight that it was fused with in them, so set that "
                "again, and unfuse_lora() before another. check_base=False takes the weights as "
                "they are"
            )

    @torch.no_grad()
    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The displacement f(x0, c) of noise [B, *noise_shape]: same shape, float32.

        Raises:
            RuntimeError: an adapted layer was not reached, so that its branch would be missing.
        """
        reached: set[str] = set()
        with ExitStack() as stack:
            stack.enter_context(without_lora(self.backbone))
            stack.enter_context(eager())
            for name in dict.fromkeys([*self._moving, self.generator.last_layer]):
                layer = base_weights.own_layer(self.backbone, name)
                stack.enter_context(layer.register_forward_hook(self._branch(name, reached)))
            moved = displacement(self.generator, noise, conditioning)
        if missing := [name for name in self._moving if name not in reached]:
            raise RuntimeError(
                f"{len(missing)} layers of the noise network were not reached, {missing[0]} first: "
                "something took their place, such as fuse_qkv_projections(); undo that"
            )
        return moved

    def _branch(self, name: str, reached: set[str]) -> Callable[..., Tensor]:
        is_last = name == self.generator.last_layer

        def add(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
            reached.add(name)
            x = inputs[0]
            # Moved once, and kept where they are needed.
            a, b = (half.to(x) for half in self._halves[name])
            self._halves[name] = a, b
            if isinstance(layer, nn.Conv2d):
                inner = conv2d(x, a, None, layer.stride, layer.padding)
                branch = conv2d(inner, b) * self._scale
            else:
                branch = linear(linear(x, a), b) * self._scale
            return branch if is_last else out + branch

        return add


def uncompiled(network: nn.Module) -> nn.Module:
    """A network without the wrapper that ``torch.compile(network)`` is."""
    inner = getattr(network, "_orig_mod", network)
    return inner if isinstance(inner, nn.Module) else network


@contextmanager
def without_lora(network: nn.Module) -> Iterator[None]:
    """Let a network compute with its own weights, whatever LoRA is switched on or fused in it.

    Raises:
        ValueError: what is fused in it cannot be taken off a layer's output.
    """
    with ExitStack() as stack:
        for name, layer in list(network.named_modules()):
            if not isinstance(layer, BaseTunerLayer | GroupedLora):
                continue
            if getattr(layer, "merged", False):
                stack.enter_context(unfused(name, layer))
            else:
                stack.callback(layer.__dict__.update, _disable_adapters=layer._disable_adapters)
                layer.__dict__.update(_disable_adapters=True)
        yield


def unfused(name: str, layer: Any) -> RemovableHandle:
    """Take fused LoRA off the output of a layer: peft, switched off, would unfuse it for good."""
    fused = layer.merged_adapters
    if not base_weights.is_plain(layer):
        raise ValueError(
            f"{', '.join(fused)}, which is more than plain LoRA, is fused into {name}; "
            "the noise pass needs the base's own weights: unfuse_lora()"
        )

    def subtract(_: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        for adapter in fused:
            a, b = layer.lora_A[adapter], layer.lora_B[adapter]
            out = out - (b(a(inputs[0].to(a.weight.dtype))) * layer.scaling[adapter]).to(out.dtype)
        return out

    handle: RemovableHandle = layer.get_base_layer().register_forward_hook(subtract)
    return handle


def eager() -> AbstractContextManager[Any]:
    """Run what is compiled as it is written: compiled code does not see the branches."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def misfit(backbone: nn.Module, name: str, rank: int, a: Tensor | None, b: Tensor | None) -> str:
    """Why LoRA does not fit a layer; empty if it does."""
    try:
        layer = base_weights.own_layer(backbone, name)
    except AttributeError:
        return "is not there"
    wanted: tuple[tuple[int, ...], tuple[int, ...]]
    if isinstance(layer, nn.Conv2d):
        wanted = (rank, layer.in_channels, *layer.kernel_size), (layer.out_channels, rank, 1, 1)
    elif isinstance(layer, nn.Linear):
        wanted = (rank, layer.in_features), (layer.out_features, rank)
    else:
        return f"is a {type(layer).__name__}, which takes no LoRA"
    got = tuple(() if half is None else tuple(half.shape) for half in (a, b))
    return "" if got == wanted else f"needs the shapes {wanted}, the file has {got}"
