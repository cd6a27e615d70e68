"""Trained networks for inference: nothing of peft is left in the passes of the backbone.

LoRA is merged into the weights, once or layer by layer, or kept next to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.utils.hooks import RemovableHandle

from hypernoise.errors import check_choice
from hypernoise.models.protocol import Conditioning, Seeds
from hypernoise.networks.adapter import Adapter
from hypernoise.networks.displacement import displacement
from hypernoise.networks.fine_tuner import FineTuner
from hypernoise.networks.grouped_lora import GroupedLora
from hypernoise.networks.noise_network import NoiseNetwork
from hypernoise.networks.protocol import Drawn, NoiseMover

_IN_PLACE = "in_place"


class MergedNoiseNetwork:
    """A trained noise network for inference, as fast as a plain pass through the backbone.

    Every adapted layer gets a second weight, frozen weight plus LoRA, that takes its place during
    the noise pass; the last layer's is the LoRA branch alone. The LoRA layers are taken out of the
    backbone, so the generator's own passes pay nothing for them either. The displacement equals
    the network's up to rounding; the price is a second copy of the adapted weights. LoRA on grouped
    convolutions is dense, and added to their weight it would make them dense, thousands of times
    as large: there it stays a branch next to the convolution, in the noise pass alone.

    Args:
        network: the noise network; it cannot be used afterwards.
    """

    backbone_passes: ClassVar[int] = 1

    def __init__(self, network: NoiseNetwork) -> None:
        self.generator = network.generator
        self._weights = _SecondWeights(network.adapter, network.generator.last_layer)

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        with self._weights.in_place():
            return displacement(self.generator, noise, conditioning)


class MergedFineTuner:
    """A fine-tuned generator for inference, as fast as the generator itself.

    Its adapted layers get a second weight as those of :class:`MergedNoiseNetwork`, which is in
    place while images are drawn.

    Args:
        tuner: the fine-tuned adapter; it cannot be used afterwards.
    """

    def __init__(self, tuner: FineTuner) -> None:
        self.generator = tuner.generator
        self._weights = _SecondWeights(tuner.adapter)

    def draw(
        self, noise: Tensor, conditioning: Conditioning, steps: int = 1, seeds: Seeds = None
    ) -> Drawn:
        with self._weights.in_place():
            return Drawn(self.generator.sample(noise, conditioning, steps, seeds), None)


class LayerwiseNoiseNetwork:
    """A trained noise network for inference that needs no second copy of the backbone.

    As :class:`MergedNoiseNetwork`, but a layer's merged weight is made when the noise pass reaches
    the layer and dropped behind it. That costs 2 rank operations for each weight and no work on
    activations: less than LoRA's branch wherever an image has more tokens than half the layer's
    width. LoRA is rounded to the backbone's dtype.

    There are no gradients.

    Args:
        network: the noise network; it cannot be used afterwards.
        in_place: leave the weight as it is, too, and add the branch to the layer's output.
    """

    backbone_passes: ClassVar[int] = 1

    def __init__(self, network: NoiseNetwork, in_place: bool = False) -> None:
        self.generator = network.generator
        adapter = network.adapter
        self._forwards: list[tuple[nn.Module, Callable[..., Tensor]]] = []
        make = _branching_forward if in_place else _merging_forward
        with _taken_out(adapter):
            self._branches = _grouped_branches(adapter)
            for name, layer in _plain_layers(adapter):
                base = layer.get_base_layer()
                halves = (getattr(layer, half)[adapter.name] for half in ("lora_B", "lora_A"))
                b, a = (half.weight.detach().flatten(1) for half in halves)
                scaled = b * layer.scaling[adapter.name]
                change = _LowRank(scaled.to(base.weight.dtype), a.to(base.weight.dtype))
                self._forwards.append((base, make(base, change, name == self.generator.last_layer)))

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        with torch.no_grad(), ExitStack() as stack:
            for layer, branch in self._branches:
                stack.enter_context(_added(layer, branch))
            stack.callback(self._restore)
            for layer, forward in self._forwards:
                layer.__dict__["forward"] = forward
            return displacement(self.generator, noise, conditioning)

    def _restore(self) -> None:
        for layer, _ in self._forwards:
            layer.__dict__.pop("forward", None)


def inference_network(network: NoiseMover, merged: bool | str) -> NoiseMover:
    """The form in which a trained network that moves noise runs.

    Args:
        network: the trained network; used up unless ``merged`` is False.
        merged: True: merged once, in a second copy of the adapted weights; ``"per_layer"``: merged
            again in every pass, one layer at a time; ``"in_place"``: a branch next to each layer,
            in the noise pass alone; False: the network as it was trained, with peft's branches.

    Raises:
        ValueError: ``merged`` is another text, or the network is no LoRA on the backbone, which
            alone can be merged.
    """
    if isinstance(merged, str):
        check_choice("value of merged", merged, ("per_layer", _IN_PLACE))
    if not merged:
        return network
    if not isinstance(network, NoiseNetwork):
        raise ValueError(f"merged is {merged!r}, and {type(network).__name__} has no LoRA to merge")
    if isinstance(merged, str):
        return LayerwiseNoiseNetwork(network, in_place=merged == _IN_PLACE)
    return MergedNoiseNetwork(network)


class _SecondWeights:
    """Frozen weights plus LoRA, in a second copy that takes the frozen ones' place on demand.

    Args:
        adapter: LoRA in a backbone, which it is taken out of.
        alone: name of a layer whose second weight is the LoRA alone, without a bias.
    """

    def __init__(self, adapter: Adapter, alone: str = "") -> None:
        self._swaps: list[tuple[nn.Module, _Parameters, _Parameters]] = []
        with _taken_out(adapter):
            self._branches = _grouped_branches(adapter)
            for name, layer in _plain_layers(adapter):
                base = layer.get_base_layer()
                merged = _merged(base, layer.get_delta_weight(adapter.name), name == alone)
                self._swaps.append((base, {key: base._parameters[key] for key in merged}, merged))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the backbone compute with the second weights."""
        with ExitStack() as stack:
            for layer, branch in self._branches:
                stack.enter_context(_added(layer, branch))
            stack.callback(self._restore)
            for layer, _, merged in self._swaps:
                layer._parameters.update(merged)
            yield

    def _restore(self) -> None:
        for layer, own, _ in self._swaps:
            layer._parameters.update(own)


@contextmanager
def _taken_out(adapter: Adapter) -> Iterator[None]:
    """Take LoRA out of its backbone once it has been read, also where memory ends before that."""
    try:
        yield
    finally:
        adapter.remove()


def _grouped_branches(adapter: Adapter) -> list[tuple[nn.Module, nn.Module]]:
    """Grouped convolutions with the LoRA that stays next to them."""
    grouped = [x for x in adapter.layers.values() if isinstance(x, GroupedLora)]
    return [(layer.get_base_layer(), layer.frozen_branch(adapter.name)) for layer in grouped]


def _plain_layers(adapter: Adapter) -> list[tuple[str, Any]]:
    """The other adapted layers, whose LoRA can be merged into their weight."""
    return [(n, x) for n, x in adapter.layers.items() if not isinstance(x, GroupedLora)]


_Parameters = dict[str, nn.Parameter | None]


def _merged(base: nn.Module, change: Tensor, is_last: bool) -> _Parameters:
    frozen = cast(Tensor, base.weight)
    weight = change if is_last else frozen.float() + change.float()
    # detach: with nothing to convert, `to` would hand over a tensor that remembers the LoRA.
    merged = nn.Parameter(weight.detach().to(frozen.dtype), requires_grad=False)
    return {"weight": merged, "bias": None} if is_last else {"weight": merged}


class _LowRank(NamedTuple):
    """The factors of a weight's change: [outputs, rank], LoRA's scale in it, and [rank, rest]."""

    b: Tensor
    a: Tensor


def _merging_forward(base: nn.Module, change: _LowRank, is_last: bool) -> Callable[..., Tensor]:
    own = dict(base._parameters)

    def forward(*inputs: Tensor) -> Tensor:
        frozen = cast(Tensor, own["weight"])
        flat = frozen.flatten(1)
        merged = change.b @ change.a if is_last else torch.addmm(flat, change.b, change.a)
        base._parameters["weight"] = merged.view_as(frozen)  # type: ignore[assignment]
        if is_last:
            base._parameters["bias"] = None
        try:
            return cast(Tensor, type(base).forward(base, *inputs))
        finally:
            base._parameters.update(own)

    return forward


def _branching_forward(base: nn.Module, change: _LowRank, is_last: bool) -> Callable[..., Tensor]:
    if isinstance(base, nn.Conv2d):
        layer: Any = base
        a, b = change.a.view(-1, *layer.weight.shape[1:]), change.b[:, :, None, None]

        def branch(x: Tensor) -> Tensor:
            return conv2d(conv2d(x, a, None, layer.stride, layer.padding, layer.dilation), b)
    else:

        def branch(x: Tensor) -> Tensor:
            return linear(linear(x, change.a), change.b)

    def forward(x: Tensor) -> Tensor:
        if is_last:
            return branch(x)
        out = cast(Tensor, type(base).forward(base, x))
        return out.add_(branch(x))

    return forward


def _added(layer: nn.Module, branch: nn.Module) -> RemovableHandle:
    return layer.register_forward_hook(lambda _module, inputs, out: out + branch(*inputs))
