"""LoRA on a generator's own backbone: as a noise network, and as direct fine-tuning.

The adapter rests switched off, so that the generator is the frozen one for everybody else, and is
switched on for single passes. peft's own switches also set ``requires_grad``; switching off
between the noise pass and the backward pass would then drop every gradient without a word.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hypernoise.choices import check_choice
from hypernoise.grouped_lora import GroupedLora
from hypernoise.lora_keys import by_peft_key, peft_key
from hypernoise.models.protocol import Conditioning, Generator
from hypernoise.weights import check_file

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
#: peft's options under which the same weights mean something else.
_OTHER_LORA = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern")


class Drawn(NamedTuple):
    """Images [B, 3, H, W] in [0, 1], and how far their noise was moved: [B, *noise_shape].

    ``kl`` is the integrand of the moved noise's KL per image, [B] in nats, of networks that know it
    exactly; for others half the squared norm of ``delta`` stands for it.
    """

    images: Tensor
    delta: Tensor | None
    kl: Tensor | None = None


class Trainable(Protocol):
    """What is trained: a way of drawing images that has parameters of its own.

    Attributes:
        kind: its name in declarations (:mod:`hypernoise.kinds`).
        generator: the frozen generator.
        shape: training options that its size follows from -> their values.
    """

    kind: ClassVar[str]
    generator: Generator

    @property
    def shape(self) -> Mapping[str, float]: ...

    @property
    def n_parameters(self) -> int: ...

    def parameters(self) -> list[nn.Parameter]: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None:
        """Read weights of the same shape.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, or of another shape.
        """
        ...

    def draw(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Drawn:
        """Images from noise [B, *noise_shape], differentiable in the adapter's parameters."""
        ...


class Adapter:
    """A named LoRA in a backbone, switched off until :meth:`active`. Made by :func:`attach`.

    Attributes:
        layers: the adapted layers by their name in the backbone.
        skipped: names of the grouped convolutions that are not adapted.
    """

    def __init__(
        self,
        backbone: nn.Module,
        name: str,
        config: LoraConfig,
        layers: Mapping[str, Any],
        skipped: tuple[str, ...],
    ) -> None:
        self.backbone = backbone
        self.name = name
        self.config = config
        self.layers = dict(layers)
        self.skipped = skipped
        self._all = tuple(self.layers.values())

    def named_weights(self) -> dict[str, nn.Parameter]:
        """The adapter's weights under PEFT's names, which leave out the adapter's own."""
        return {
            peft_key(layer_name, half): getattr(layer, half)[self.name].weight
            for layer_name, layer in self.layers.items()
            for half in ("lora_A", "lora_B")
        }

    def parameters(self) -> list[nn.Parameter]:
        return list(self.named_weights().values())

    @property
    def shape(self) -> dict[str, float]:
        """Rank and alpha."""
        return {"rank": self.config.r, "alpha": self.config.lora_alpha}

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def n_grouped_parameters(self) -> int:
        """How many of :attr:`n_parameters` are in grouped convolutions."""
        grouped = (layer for layer in self._all if isinstance(layer, GroupedLora))
        return sum(layer.n_parameters(self.name) for layer in grouped)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Run the backbone with this adapter and no other; ``requires_grad`` stays as it is."""
        before = [(layer._disable_adapters, layer._active_adapter) for layer in self._all]
        names = [self.name]
        for layer in self._all:
            layer.__dict__.update(_disable_adapters=False, _active_adapter=names)
        try:
            yield
        finally:
            for layer, (disabled, active) in zip(self._all, before, strict=True):
                layer.__dict__.update(_disable_adapters=disabled, _active_adapter=active)

    def save(self, folder: Path) -> None:
        """Write the adapter in PEFT's format: ``adapter_config.json``, ``….safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        config = copy.copy(self.config)
        # peft keeps a set, whose order in the file would change from run to run.
        config.target_modules = sorted(self.layers)
        config.save_pretrained(str(folder))
        weights = {key: w.detach().cpu().contiguous() for key, w in self.named_weights().items()}
        save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})

    def load(self, folder: Path) -> None:
        """Read weights that :meth:`save`, PEFT or diffusers wrote (:mod:`hypernoise.lora_keys`).

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, or its adapter has another rank, alpha or layers.
        """
        rank, alpha = saved_rank_and_alpha(folder)
        if (rank, alpha) != (self.config.r, self.config.lora_alpha):
            raise ValueError(
                f"{folder / CONFIG_FILE} has rank {rank} and alpha {alpha:g}; this adapter has "
                f"rank {self.config.r} and alpha {self.config.lora_alpha:g}"
            )
        path = folder / WEIGHTS_FILE
        keys = _saved_keys(folder)
        mine = self.named_weights()
        if differing := sorted(keys.keys() ^ mine.keys()):
            first = differing[0]
            lacking = "this backbone" if first in keys else "the file"
            raise ValueError(
                f"{path} was made for another backbone: {len(differing)} weights differ, first "
                f"{keys.get(first, first)!r}, which {lacking} lacks"
            )
        saved = load_file(path)
        for key, weight in mine.items():
            if weight.shape != saved[keys[key]].shape:
                raise ValueError(
                    f"{path}: {keys[key]!r} has shape {tuple(saved[keys[key]].shape)}, "
                    f"this backbone needs {tuple(weight.shape)}"
                )
        with torch.no_grad():
            for key, weight in mine.items():
                weight.copy_(saved[keys[key]])

    def remove(self) -> None:
        """Take the adapter out; layers without any adapter left become the plain ones again."""
        for layer_name, layer in self.layers.items():
            # peft warns when the adapter that it deletes is the layer's active one.
            layer.__dict__.update(_active_adapter=[])
            layer.delete_adapter(self.name)
            if not layer.lora_A:
                _replace(self.backbone, layer_name, layer.get_base_layer())
        configs: dict[str, Any] = self.backbone.peft_config  # type: ignore[assignment]
        del configs[self.name]
        if not configs:
            del self.backbone.peft_config


def attach(
    backbone: nn.Module,
    name: str,
    rank: int,
    alpha: float,
    exclude: Sequence[str] = (),
    seed: int = 0,
    grouped: bool = False,
) -> Adapter:
    """Put LoRA on every Linear and every ungrouped Conv2d of a backbone, switched off.

    A is Gaussian and B zero, so the adapter changes nothing at first. Its weights are float32
    whatever the backbone's dtype: optimizer steps are lost in half precision.

    Args:
        backbone: UNet or transformer; its own parameters are frozen.
        name: the adapter's name; several adapters may live on one backbone.
        rank: LoRA rank.
        alpha: LoRA alpha; the branch is scaled by alpha / rank.
        exclude: shell patterns of layer names that get no LoRA.
        seed: seed of A.
        grouped: also adapt the grouped convolutions, as peft before 0.16 did
            (:mod:`hypernoise.grouped_lora`). They cost far more than they are worth: meant for
            adapters that have them.

    Raises:
        ValueError: rank < 1, alpha <= 0, or the backbone has an adapter of that name.
    """
    if rank < 1 or alpha <= 0:
        raise ValueError(f"LoRA needs rank >= 1 and alpha > 0, got rank {rank}, alpha {alpha}")
    if name in getattr(backbone, "peft_config", {}):
        raise ValueError(f"the backbone already has an adapter named {name!r}")
    targets, grouped_names = _adaptable(backbone, exclude)
    adapted = {*targets, *grouped_names} if grouped else set(targets)
    others = {p: p.requires_grad for n, p in backbone.named_parameters() if "lora_" in n}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft only ever divides it by the rank
        target_modules=list(targets),
        init_lora_weights="gaussian",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Several adapters on one backbone are meant.
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        torch.manual_seed(seed)
        inject_adapter_in_model(config, backbone, name)
        for layer_name in grouped_names if grouped else ():
            _grouped_lora(backbone, layer_name).add_adapter(name, rank, alpha)
    layers = {n: m for n, m in backbone.named_modules() if isinstance(m, LoraLayer | GroupedLora)}
    layers = {n: m for n, m in layers.items() if name in m.lora_A}
    if set(layers) != adapted:
        raise RuntimeError(f"peft adapted other layers: {sorted(set(layers) ^ adapted)}")
    adapter = Adapter(backbone, name, config, layers, () if grouped else grouped_names)
    for layer in layers.values():
        layer.__dict__.update(_disable_adapters=True)
        layer.lora_A[name].float()
        layer.lora_B[name].float()
    # peft marks only the newest adapter as trainable.
    for parameter, requires_grad in others.items():
        parameter.requires_grad_(requires_grad)
    for parameter in adapter.parameters():
        parameter.requires_grad_(True)
    return adapter


def _grouped_lora(backbone: nn.Module, layer_name: str) -> GroupedLora:
    layer = backbone.get_submodule(layer_name)
    if isinstance(layer, GroupedLora):
        return layer
    wrapped = GroupedLora(cast(nn.Conv2d, layer))
    _replace(backbone, layer_name, wrapped)
    return wrapped


def _replace(backbone: nn.Module, layer_name: str, layer: nn.Module) -> None:
    parent_name, _, child = layer_name.rpartition(".")
    setattr(backbone.get_submodule(parent_name), child, layer)


def _adaptable(
    backbone: nn.Module, exclude: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the layers that take LoRA, and of the grouped convolutions."""
    targets, grouped = [], []
    inside: tuple[str, ...] = ()
    for name, module in backbone.named_modules():
        if inside and name.startswith(inside):
            continue
        layer = module
        if isinstance(module, LoraLayer | GroupedLora):
            layer = module.get_base_layer()
            inside = (f"{name}.",)
        if any(fnmatch(name, pattern) for pattern in exclude):
            continue
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            grouped.append(name)
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            targets.append(name)
    return tuple(targets), tuple(grouped)


class NoiseNetwork:
    """f(x0, c): the generator's backbone with LoRA, its last layer reduced to the LoRA branch.

    The frozen weight and bias of the last layer are left out, so that f = 0 before training
    (arXiv 2508.09968, section 3.3). One pass at the largest timestep gives f.

    Args:
        generator: the frozen generator.
        rank: LoRA rank.
        alpha: LoRA alpha.
        name: the adapter's name in the backbone.
        seed: seed of the LoRA's initial weights.
        grouped: see :func:`attach`.

    Raises:
        ValueError: the backbone's last layer cannot take LoRA, or ``name`` is taken.
    """

    kind: ClassVar[str] = "hypernoise"

    def __init__(
        self,
        generator: Generator,
        rank: int,
        alpha: float,
        name: str = "hypernoise",
        seed: int = 0,
        grouped: bool = False,
    ) -> None:
        self.generator = generator
        self.adapter = attach(generator.backbone, name, rank, alpha, seed=seed, grouped=grouped)
        last = self.adapter.layers.get(generator.last_layer)
        if not isinstance(last, LoraLayer):
            self.adapter.remove()
            raise ValueError(
                f"the last layer {generator.last_layer!r} is neither a Linear nor an ungrouped "
                "Conv2d of the backbone"
            )
        self._last = last.get_base_layer()

    @property
    def n_parameters(self) -> int:
        return self.adapter.n_parameters

    @property
    def shape(self) -> dict[str, float]:
        """Rank and alpha of the LoRA."""
        return self.adapter.shape

    def parameters(self) -> list[nn.Parameter]:
        return self.adapter.parameters()

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The displacement f(x0, c) of noise [B, *noise_shape]: same shape, float32.

        A backbone that has been made float64 gives float64.
        """
        with self.adapter.active(), _zero_output(self._last):
            return _at_least_single(self.generator.predict(noise, conditioning))

    def draw(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Drawn:
        """Images of the frozen generator from the moved noise x0 + f(x0, c)."""
        delta = self.delta(noise, conditioning)
        images = self.generator.sample(noise + delta, conditioning, steps, seeds)
        return Drawn(images, delta)

    def save(self, folder: Path) -> None:
        """Write the LoRA in PEFT's format."""
        self.adapter.save(folder)

    def load(self, folder: Path) -> None:
        """Read a LoRA of the same shape; see :meth:`Adapter.load` for the errors."""
        self.adapter.load(folder)


class MergedNoiseNetwork:
    """A trained noise network for inference, as fast as a plain pass through the backbone.

    Every adapted layer gets a second weight, frozen weight plus LoRA, that takes its place during
    the noise pass; the last layer's is the LoRA branch alone. The LoRA layers are taken out of the
    backbone, so the generator's own passes pay nothing for them either. The displacement equals
    the network's up to rounding; the price is a second copy of the adapted weights. LoRA on grouped
    convolutions is dense, and added to their weight it would make them dense, thousands of times
    as large: there it stays a branch beside the convolution, in the noise pass alone.

    Args:
        network: the noise network; it cannot be used afterwards.
    """

    def __init__(self, network: NoiseNetwork) -> None:
        self.generator = network.generator
        adapter = network.adapter
        self._swaps: list[tuple[nn.Module, _Parameters, _Parameters]] = []
        self._branches = _grouped_branches(adapter)
        for name, layer in _plain_layers(adapter):
            base = layer.get_base_layer()
            is_last = name == self.generator.last_layer
            merged = _merged(base, layer.get_delta_weight(adapter.name), is_last)
            self._swaps.append((base, {key: base._parameters[key] for key in merged}, merged))
        adapter.remove()

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """As :meth:`NoiseNetwork.delta`."""
        with ExitStack() as stack:
            for layer, branch in self._branches:
                stack.enter_context(_added(layer, branch))
            stack.callback(self._restore)
            for layer, _, merged in self._swaps:
                layer._parameters.update(merged)
            return _at_least_single(self.generator.predict(noise, conditioning))

    def _restore(self) -> None:
        for layer, own, _ in self._swaps:
            layer._parameters.update(own)


class LayerwiseNoiseNetwork:
    """A trained noise network for inference that needs no second copy of the backbone.

    As :class:`MergedNoiseNetwork`, but a layer's merged weight is made when the noise pass reaches
    the layer and dropped behind it. That costs 2 rank operations for each weight and no work on
    activations: less than LoRA's branch wherever an image has more tokens than half the layer's
    width. LoRA is rounded to the backbone's dtype.

    Args:
        network: the noise network; it cannot be used afterwards.
    """

    def __init__(self, network: NoiseNetwork) -> None:
        self.generator = network.generator
        adapter = network.adapter
        self._forwards: list[tuple[nn.Module, Callable[..., Tensor]]] = []
        self._branches = _grouped_branches(adapter)
        for name, layer in _plain_layers(adapter):
            base = layer.get_base_layer()
            change = _low_rank(layer, adapter.name, base.weight.dtype)
            is_last = name == self.generator.last_layer
            self._forwards.append((base, _merging_forward(base, change, is_last)))
        adapter.remove()

    def delta(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """As :meth:`NoiseNetwork.delta`, without gradients."""
        with torch.no_grad(), ExitStack() as stack:
            for layer, branch in self._branches:
                stack.enter_context(_added(layer, branch))
            stack.callback(self._restore)
            for layer, forward in self._forwards:
                layer.__dict__["forward"] = forward
            return _at_least_single(self.generator.predict(noise, conditioning))

    def _restore(self) -> None:
        for layer, _ in self._forwards:
            layer.__dict__.pop("forward", None)


def _grouped_branches(adapter: Adapter) -> list[tuple[nn.Module, nn.Module]]:
    """Grouped convolutions with the LoRA that stays beside them."""
    grouped = [x for x in adapter.layers.values() if isinstance(x, GroupedLora)]
    return [(layer.get_base_layer(), layer.frozen_branch(adapter.name)) for layer in grouped]


def _plain_layers(adapter: Adapter) -> list[tuple[str, Any]]:
    """The other adapted layers, whose LoRA can be merged into their weight."""
    return [(n, x) for n, x in adapter.layers.items() if not isinstance(x, GroupedLora)]


def _at_least_single(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


_Parameters = dict[str, nn.Parameter | None]


class _LowRank(NamedTuple):
    """The factors of a weight's change: [outputs, rank], LoRA's scale in it, and [rank, rest]."""

    b: Tensor
    a: Tensor


def _low_rank(layer: Any, name: str, dtype: torch.dtype) -> _LowRank:
    b, a = (getattr(layer, half)[name].weight.detach() for half in ("lora_B", "lora_A"))
    return _LowRank((b.flatten(1) * layer.scaling[name]).to(dtype), a.flatten(1).to(dtype))


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


def inference_network(
    network: NoiseNetwork, merged: bool | str
) -> NoiseNetwork | MergedNoiseNetwork | LayerwiseNoiseNetwork:
    """The form in which a trained noise network runs.

    Args:
        network: the trained network; used up unless ``merged`` is False.
        merged: True: merged once, in a second copy of the adapted weights; ``"per_layer"``: merged
            again in every pass, one layer at a time; False: a branch beside each layer.

    Raises:
        ValueError: ``merged`` is another text.
    """
    if isinstance(merged, str):
        check_choice("value of merged", merged, ("per_layer",))
        return LayerwiseNoiseNetwork(network)
    return MergedNoiseNetwork(network) if merged else network


def _merged(base: nn.Module, change: Tensor, is_last: bool) -> _Parameters:
    frozen = cast(Tensor, base.weight)
    weight = change if is_last else frozen.float() + change.float()
    # detach: with nothing to convert, `to` would hand over a tensor that remembers the LoRA.
    merged = nn.Parameter(weight.detach().to(frozen.dtype), requires_grad=False)
    return {"weight": merged, "bias": None} if is_last else {"weight": merged}


def _zero_output(layer: nn.Module) -> RemovableHandle:
    return layer.register_forward_hook(lambda _module, _inputs, out: torch.zeros_like(out))


def _added(layer: nn.Module, branch: nn.Module) -> RemovableHandle:
    return layer.register_forward_hook(lambda _module, inputs, out: out + branch(*inputs))


class FineTuner:
    """Direct fine-tuning: the same LoRA, but active while the generator draws its images.

    Args:
        generator: the generator; unchanged outside :meth:`active` and :meth:`draw`.
        rank: LoRA rank.
        alpha: LoRA alpha.
        name: the adapter's name in the backbone.
        seed: seed of the LoRA's initial weights.
        grouped: see :func:`attach`.
    """

    kind: ClassVar[str] = "lora_finetune"

    def __init__(
        self,
        generator: Generator,
        rank: int,
        alpha: float,
        name: str = "lora_finetune",
        seed: int = 0,
        grouped: bool = False,
    ) -> None:
        self.generator = generator
        self.adapter = attach(generator.backbone, name, rank, alpha, seed=seed, grouped=grouped)

    @property
    def n_parameters(self) -> int:
        return self.adapter.n_parameters

    @property
    def shape(self) -> dict[str, float]:
        """Rank and alpha of the LoRA."""
        return self.adapter.shape

    def parameters(self) -> list[nn.Parameter]:
        return self.adapter.parameters()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the generator the fine-tuned one."""
        with self.adapter.active():
            yield

    def draw(
        self,
        noise: Tensor,
        conditioning: Conditioning,
        steps: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Drawn:
        """Images of the fine-tuned generator; the noise is not moved."""
        with self.active():
            return Drawn(self.generator.sample(noise, conditioning, steps, seeds), None)

    def save(self, folder: Path) -> None:
        """Write the LoRA in PEFT's format."""
        self.adapter.save(folder)

    def load(self, folder: Path) -> None:
        """Read a LoRA of the same shape; see :meth:`Adapter.load` for the errors."""
        self.adapter.load(folder)


#: What can be trained, by the name that configurations use.
KINDS: Mapping[str, type[NoiseNetwork] | type[FineTuner]] = {
    NoiseNetwork.kind: NoiseNetwork,
    FineTuner.kind: FineTuner,
}


def build(
    kind: str,
    generator: Generator,
    rank: int,
    alpha: float,
    seed: int = 0,
    name: str = "",
    grouped: bool = False,
) -> NoiseNetwork | FineTuner:
    """An untrained noise network or fine-tuner; ``name`` defaults to a free one.

    ``grouped`` is that of :func:`attach`.

    Raises:
        ValueError: unknown kind.
    """
    check_choice("kind of training", kind, KINDS)
    free = name or _free_name(generator, kind)
    return KINDS[kind](generator, rank, alpha, free, seed, grouped)


def load_trained(
    kind: str, generator: Generator, folder: Path, name: str = ""
) -> NoiseNetwork | FineTuner:
    """A trained noise network or fine-tuner, with the rank and alpha that it was saved with.

    Grouped convolutions are adapted where the saved one adapted them, as those of peft before 0.16
    do, the published HyperNoise adapters among them.

    Args:
        kind: ``"hypernoise"`` or ``"lora_finetune"``.
        generator: the generator that it was trained on.
        folder: PEFT folder; :mod:`hypernoise.lora_keys` has the names that its weights may have.
        name: the adapter's name in the backbone; by default a free one, so that several trained
            adapters can share a generator.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: unknown kind, a truncated file, or an adapter for another backbone.
    """
    rank, alpha = saved_rank_and_alpha(folder)
    saved = _saved_keys(folder)
    _, grouped_names = _adaptable(generator.backbone)
    grouped = any(peft_key(layer, "lora_A") in saved for layer in grouped_names)
    trained = build(kind, generator, rank, alpha, name=name, grouped=grouped)
    try:
        trained.load(folder)
    except (FileNotFoundError, ValueError):
        trained.adapter.remove()
        raise
    return trained


def saved_rank_and_alpha(folder: Path) -> tuple[int, float]:
    """Rank and alpha of a saved LoRA.

    Raises:
        FileNotFoundError: there is no ``adapter_config.json``.
        ValueError: it is not a LoRA's, or a LoRA's of another kind than ours.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no adapter in {folder}: {CONFIG_FILE} is missing")
    try:
        config = json.loads(path.read_text())
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the configuration of a LoRA: {error}") from error
    for option in _OTHER_LORA:
        if config.get(option):
            raise ValueError(f"{path} has {option} {config[option]!r}; only plain LoRA is known")
    return rank, alpha


def _saved_keys(folder: Path) -> dict[str, str]:
    """The keys of a saved LoRA's file by PEFT's names for them."""
    path = folder / WEIGHTS_FILE
    check_file(path)
    with safe_open(path, framework="pt") as handle:
        return by_peft_key(handle.keys(), path)


def saved_n_parameters(folder: Path) -> int:
    """Number of parameters of a saved LoRA, from the file's header."""
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as handle:
        keys = handle.keys()
        return sum(math.prod(handle.get_slice(key).get_shape()) for key in keys)


def _free_name(generator: Generator, kind: str) -> str:
    taken = getattr(generator.backbone, "peft_config", {})
    numbered = (f"{kind}_{n}" for n in range(2, len(taken) + 3))
    return next(name for name in (kind, *numbered) if name not in taken)
