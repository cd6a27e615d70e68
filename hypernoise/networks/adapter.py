"""A LoRA in a backbone: put in, switched on for single passes, saved, loaded, taken out.

The adapter rests switched off, so that the generator is the frozen one for everybody else, and is
switched on for single passes. peft's own switches also set ``requires_grad``; switching off
between the noise pass and the backward pass would then drop every gradient without a word.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import nn

from hypernoise.networks.grouped_lora import GroupedLora
from hypernoise.weights.foreign_lora import ForeignLora, load
from hypernoise.weights.saved_lora import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_numbers,
    peft_key,
    saved_keys,
    saved_rank_and_alpha,
)

#: Layers with LoRA.
_LORA = (LoraLayer, GroupedLora)


def active_in(layer: Any) -> list[str]:
    """The adapters of a layer that are switched on, unless all are off."""
    active = layer._active_adapter
    return [active] if isinstance(active, str) else list(active)


def _switches(layer: Any) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in ("_disable_adapters", "_active_adapter")}


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
        """Run the backbone with this adapter and no other; ``requires_grad`` stays as it is.

        Raises:
            RuntimeError: it was taken out of the backbone, as ``unload_lora_weights`` does with
                all adapters, or another one is fused into a layer, where none is heard then.
        """
        if self.name not in getattr(self.backbone, "peft_config", {}):
            raise RuntimeError(f"the adapter {self.name!r} was taken out of its backbone")
        if any(getattr(layer, "merged", False) for layer in self._all):
            raise RuntimeError(
                f"an adapter is fused into layers of {self.name!r}, which is not heard then: "
                "unfuse_lora()"
            )
        before = [_switches(layer) for layer in self._all]
        names = [self.name]
        for layer in self._all:
            layer.__dict__.update(_disable_adapters=False, _active_adapter=names)
        try:
            yield
        finally:
            for layer, switches in zip(self._all, before, strict=True):
                layer.__dict__.update(switches)

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
        """Read weights that :meth:`save`, PEFT or diffusers wrote.

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
        keys = saved_keys(folder)
        mine = self.named_weights()
        if differing := sorted(keys.keys() ^ mine.keys()):
            has_both = {key.replace("lora_A", "lora_B") for key in keys} <= keys.keys()
            if has_both and keys.keys() < mine.keys() and len(keys) % 2 == 0:
                # Two weights each.
                raise ValueError(
                    f"{path} adapts {len(keys) // 2} of {len(mine) // 2} layers, and a training "
                    "adapts all of them: an adapter of somebody else is declared as a method "
                    "(`python -m harness adapter`)"
                )
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
        check_numbers(saved, path)
        with torch.no_grad():
            for key, weight in mine.items():
                weight.copy_(saved[keys[key]])

    def remove(self) -> None:
        """Take the adapter out; layers without any adapter left become the plain ones again.

        Where somebody else took it out, nothing is left to do.
        """
        if self.name not in getattr(self.backbone, "peft_config", {}):
            return
        for layer_name, layer in self.layers.items():
            # peft warns when the adapter that it deletes is the layer's active one.
            layer.__dict__.update(_active_adapter=[x for x in active_in(layer) if x != self.name])
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

    Adapters that are there already stay on or off as they are.

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
            (:mod:`hypernoise.networks.grouped_lora`). They cost far more than they are worth:
            meant for adapters that have them.

    Raises:
        ValueError: rank < 1, alpha <= 0, or the backbone has an adapter of that name.
    """
    if rank < 1 or alpha <= 0:
        raise ValueError(f"LoRA needs rank >= 1 and alpha > 0, got rank {rank}, alpha {alpha}")
    if name in getattr(backbone, "peft_config", {}):
        raise ValueError(f"the backbone already has an adapter named {name!r}")
    targets, grouped_names = adaptable(backbone, exclude)
    adapted = {*targets, *grouped_names} if grouped else set(targets)
    adapted_before = [layer for layer in backbone.modules() if isinstance(layer, _LORA)]
    states: dict[nn.Module, dict[str, Any]] = {layer: _switches(layer) for layer in adapted_before}
    # Where this adapter is alone, others may come later, and be switched on: none is, but may be.
    resting = next(iter(states.values()), {"_disable_adapters": False, "_active_adapter": []})
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
            convolution = backbone.get_submodule(layer_name)
            if not isinstance(convolution, GroupedLora):
                convolution = GroupedLora(cast(nn.Conv2d, convolution))
                _replace(backbone, layer_name, convolution)
            convolution.add_adapter(name, rank, alpha)
    found: dict[str, Any] = {n: m for n, m in backbone.named_modules() if isinstance(m, _LORA)}
    layers = {n: m for n, m in found.items() if name in m.lora_A}
    # peft switches the newest adapter on, and all others off.
    for layer in found.values():
        layer.__dict__.update(states.get(layer, resting))
    if set(layers) != adapted:
        raise RuntimeError(f"peft adapted other layers: {sorted(set(layers) ^ adapted)}")
    adapter = Adapter(backbone, name, config, layers, () if grouped else grouped_names)
    for layer in layers.values():
        layer.lora_A[name].float()
        layer.lora_B[name].float()
    # peft marks only the newest adapter as trainable.
    for parameter, requires_grad in others.items():
        parameter.requires_grad_(requires_grad)
    for parameter in adapter.parameters():
        parameter.requires_grad_(True)
    return adapter


def put_in(lora: ForeignLora, backbone: Any, name: str, scale: float = 1.0) -> Adapter:
    """Put a LoRA of other people into a backbone, switched off; its weights are frozen.

    Args:
        lora: of :func:`hypernoise.weights.foreign_lora.read`.
        backbone: diffusers' UNet or transformer.
        name: beginning of the adapter's name in it.
        scale: what its difference is multiplied by, besides alpha and rank.

    Raises:
        ValueError: its options contradict its weights.
    """
    name = free_name(backbone, name)
    layers = load(lora, backbone, name)
    for layer in layers.values():
        layer.set_scale(name, scale)
        layer.__dict__.update(_disable_adapters=True)
    return Adapter(backbone, name, backbone.peft_config[name], layers, ())


def free_name(backbone: nn.Module, kind: str) -> str:
    """A name that no adapter of the backbone has: the kind's, or that with a number."""
    taken = getattr(backbone, "peft_config", {})
    numbered = (f"{kind}_{n}" for n in range(2, len(taken) + 3))
    return next(free for free in (kind, *numbered) if free not in taken)


def _replace(backbone: nn.Module, layer_name: str, layer: nn.Module) -> None:
    parent_name, _, child = layer_name.rpartition(".")
    setattr(backbone.get_submodule(parent_name), child, layer)


def adaptable(
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
